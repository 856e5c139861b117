// Package disk keeps a registry in a directory of this machine, in a bbolt
// database.
//
// What Keeper.Write has acknowledged is on disk: no crash and no loss of power
// takes it away. A database that is damaged is refused, all faults named, and
// nothing of it is served. Answers never wait for the disk: when it is full or
// fails, writes are refused, the registry in memory stands, leases end in time,
// and when the disk is back, writes go on without a restart.
//
// # A write
//
// Writers wait in a queue. Run takes all that wait, asks each what it wants,
// given what the ones before it did, writes all of that in one transaction of
// bbolt (two fdatasyncs: the pages, then the page that leads to them), lets
// readers see it, and answers. A write that is refused leaves the others alone.
//
// # When the disk fails
//
// After a failed transaction nobody knows what is on disk, and the kernel, which
// may have dropped what it could not write, says so only once. So the file is
// closed, never to be synced again as it was; what the kernel remembers of it is
// dropped, too; it is read anew, whole, and must hold either the commit before
// or the one that failed. Memory is brought to say the same, and a commit that
// changes nothing shows that the disk is back. That is tried at least once a
// second when somebody writes, and every 5 s when nobody does.
//
// A disk that does not answer counts as one that fails: after some seconds, or
// as soon as a lease that ends cannot wait. What it was given may then be made
// all the same, and memory follows when it is. Only an import, which takes some
// seconds by itself, has leases wait for it.
//
// # Leases
//
// Within one process leases end by the monotonic clock. On disk they have the
// time of day at which they end; a restart gives none more than its whole length,
// and none that was over by the latest time that the database has seen comes
// back. If the disk fails, machines whose leases end leave memory all the same.
// The index that the registry has after a restart allows for one commit for each
// of those, so no index is ever shown for two things.
//
// # Format
//
// DIR/registry.db is a bbolt database (pages of 4,096 octets) with these buckets.
// Numbers are big-endian, varint is encoding/binary's Uvarint, text and list are
// a varint of their length in octets, and as many octets. A network is 4 octets,
// address a text of 0, 4 or 16 octets and a zone. Strings in keys are as they
// are.
//
//	meta      "format"                       "internaldns registry, format 1"
//	          "state"                        index 8, records 8, sum of their checksums 8, time of day in ns 8
//	          "sample"                       an object known to the program, compressed
//	networks  network                        text name
//	apps      network, name                  varint modified
//	machines  network, app, 0, 0, id         varint modified, octet flags (1 skip, 2 gone), if gone text id,
//	          network, app, 0, 1, sum 16       text state, text region, address, list of metadata: text key, text
//	                                           value; octet encoding of the object (0 none, 1 registry.Raw), object
//	peers     network, name                  varint modified, address, text region
//	flycast   address 16                     network of the app, text app
//	regions   code                           text name, latitude 8, longitude 8 (IEEE 754)
//	rtts      from, 0, to                    varint milliseconds
//	leases    network, app, 0, 0, id         text id, varint length in ns, time of day of the end in ns 8
//	          network, app, 0, 1, SHA-256      (ids longer than 255 octets)
//
// Gone machines may share an id, so the key of one has the first 16 octets of a
// SHA-256 of all that is in its record, with the object as it came.
//
// Every value but the format begins with a CRC-32C of: the lengths of bucket name
// and key, 4 octets each, bucket name, key, and the rest of the value. bbolt has
// no checksums of its own beyond its two meta pages, so the state also says how
// many records there are and what their checksums add up to: a record that is
// missing, or of another time, is found like one that is changed.
//
// Objects are stored as registry.Raw, which needs the dictionary they were
// compressed with. The sample, read back at every start, shows that it is the
// same: a version with another would refuse the database by name.
//
// A file of another format is refused with a message that says so. It takes a new
// format to change anything above; a version that has one reads the ones before.
//
// # Reading
//
// bbolt maps its file into memory and trusts what it finds there. Some damage gets
// through it, and through the checksums of the records, unseen (bbolt 1.5.0, with
// debug.SetPanicOnFault; damage_test.go has each case):
//
//   - A page that says that further pages belong to it, and a list of free pages
//     that names one in use, read well. A later write frees or overwrites the
//     other page, and acknowledged records are lost.
//   - A damaged key in a branch page reads well. A later write of a record that is
//     there already does not find it, and adds it a second time.
//   - A branch page that is below itself is followed without end, until memory is
//     used up.
//
// All of these can only be found by reading every page. So this package does that
// itself (pages.go), and takes the records from the pages that it has checked. bbolt
// is given a file only to write it, and only after it was read here without a
// fault. bbolt's own check (Tx.Check) is no replacement: it runs in a goroutine in
// which a panic ends the process.
package disk
