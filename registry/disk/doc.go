// Package disk stores a registry in a directory, in a bbolt database.
//
// When Keeper.Write has returned without an error, the write is on the disk: no
// crash and no loss of power loses it. A damaged database is refused, with all its
// faults, and nothing of it is served. Queries never wait for the disk. While the
// disk is full or fails, writes are refused, the registry stays in memory, and
// leases end in time. When the disk works again, writes are made again without a
// restart.
//
// # What a write passes
//
//	Write                 queues the write, and waits
//	Run → turn            takes up to 512 waiting writes as a group
//	 └ commit             calls decide of each, with what the writes before it did; applies its
//	    │                 events to a registry.Tx that no reader sees; adds the leases that are over
//	    ├ persist         starts an attempt, and waits for it for up to 10 s
//	    │  └ database     one bbolt transaction: pages, fdatasync, meta page, fdatasync. Now the
//	    │                 group is durable
//	    ├ Tx.Commit       compiles the names, and shows them to queries. Now the group is visible
//	    └ answer          Write returns
//
// A write that decide or the registry refuses leaves the other writes of its group
// as they are.
//
// # What a start reads
//
//	Load                  locks the directory, and makes the database if there is none
//	 ├ read               syncs the file, since the last process may have been killed before its sync
//	 │  ├ pages.go        both meta pages; then every page of every bucket, and the list of free pages
//	 │  └ read.go         the checksum of every record, their number, the sum of all checksums
//	 ├ replay             puts all facts into the store, in one commit
//	 └ settle             gives the file to bbolt, and makes a commit, which ends leases that are over
//
// # When the disk fails
//
// A failed transaction may be on the disk or not. The kernel may have dropped what
// it could not write, and reports that once only: a second fdatasync would succeed
// and mean nothing. So the file is closed, its pages are dropped from the page
// cache, and all of it is read again (recover). It must hold either the commit before
// or the one that failed; memory follows it. Then a commit shows that the disk works.
// This is tried after 250 ms, then at growing intervals of up to 5 s, and of up to 1 s
// while writers come; after a long reading, as long as that took.
//
// A disk that does not answer within 10 s counts as one that fails, or sooner, if a
// lease has ended for 800 ms. The commit may still be made later; memory then follows.
// An import takes some seconds by itself, and leases that end meanwhile wait for it.
//
// # Leases
//
// Within a process leases end by the monotonic clock. On the disk they have the time
// of day of their end. After a restart no lease lasts longer than its whole length,
// and a lease stays over if its end is before the latest time in the database, even
// if the clock was set back. While the disk fails, machines whose leases end are
// removed from memory alone (expireInMemory). The index after a restart counts one
// commit for each of these, so that no index means two things.
//
// # Format
//
// DIR/registry.db is a bbolt database with pages of 4,096 octets and these buckets.
// Numbers are big-endian, and followed here by their length in octets. A varint is
// encoding/binary's Uvarint. A text or a list is a varint of its length in octets, and
// the octets. A network is 4 octets. An address is a text of 0, 4 or 16 octets and a
// zone. Names and ids in keys have no length before them.
//
//	bucket    key                            value
//	meta      "format"                       "internaldns registry, format 1"
//	          "state"                        index 8, records 8, sum of their checksums 8, time of day in ns 8
//	          "sample"                       an object that the program knows, compressed
//	networks  network                        text name
//	apps      network, name                  varint modified
//	machines  network, app, 0, 0, id         varint modified, octet flags (1 skip, 2 gone), if gone text id,
//	          network, app, 0, 1, sum 16       text state, text region, address, list of metadata (text key, text
//	                                           value), octet encoding of the object (0 none, 1 registry.Raw), object
//	peers     network, name                  varint modified, address, text region
//	flycast   address 16                     network of the app, text app
//	regions   code                           text name, latitude 8, longitude 8 (IEEE 754)
//	rtts      from, 0, to                    varint milliseconds
//	leases    network, app, 0, 0, id         text id, varint length in ns, time of day of the end in ns 8
//	          network, app, 0, 1, SHA-256      (ids longer than 255 octets)
//
// Gone machines may share an id. The key of one has the first 16 octets of a SHA-256
// of its whole record, with the object before compression.
//
// Every value but the format begins with a CRC-32C of the lengths of bucket name and
// key, 4 octets each, the bucket name, the key, and the rest of the value. bbolt has
// checksums of its meta pages alone. The state therefore has the number of records and
// the sum of their checksums: so a missing record, and one of an earlier commit, are
// found like a changed one.
//
// Objects are compressed with a dictionary (registry.Raw). The sample, read back at
// every start, shows that this version has the same dictionary.
//
// To change anything above, give the format a new number, and read the old ones too.
// A file of an unknown format is refused, and the error names both.
//
// # Why pages are read here
//
// bbolt maps its file into memory and trusts what it finds. Some damage gets through
// bbolt and through the checksums of records unseen (bbolt 1.5.0, under
// debug.SetPanicOnFault; damage_test.go has each case):
//
//   - A page with a wrong number of further pages, and a list of free pages that names
//     one in use, read well. A later write then frees or overwrites the other page,
//     and acknowledged records are lost.
//   - A damaged key in a branch page reads well. A later write does not find its
//     record below it, and adds it a second time.
//   - A branch page that is below itself is followed without end, until memory is
//     used up.
//
// Only a reading of every page finds these. So pages.go reads them, and hands over
// the records of the pages that it has checked. bbolt is given a file only to write
// it, and only when it was read here without a fault. bbolt's own check (Tx.Check) is
// no replacement: it runs in a goroutine of its own, in which a fault ends the
// process, and NoFreelistSync has the same goroutine at every start.
package disk
