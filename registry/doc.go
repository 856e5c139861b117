// Package registry keeps the facts: networks, apps, machines, WireGuard peers,
// Flycast addresses, regions. It knows no DNS.
//
// There is one way in, Store.Apply, and one writer at a time. A commit applies
// all of its events or none of them. It is published, which is when DNS answers
// from it, then shown to readers, then reported to Notify's function; all of that
// is done when Apply returns. Readers take a Snapshot, which never changes and needs no
// lock.
//
// Sources that keep facts for longer than a process lives (see Keeper) put a
// step between deciding and showing: a Tx makes commits that nobody sees, so that
// they can be written down first.
//
// The objects handed out (Machine, App, Peer, …) are shared between all
// readers: nobody may change them.
//
// # Tables and keys
//
// Facts live in go-memdb tables. Each entry of an index takes about 450 octets
// in its radix tree, and a change of one copies 3 kB of it, so there are few, and
// keys are short and binary: networks are 4 octets, an app is a number of 4
// octets that the store gives it, addresses go without their leading fdaa.
//
// Machines are too many for that, and change too often. They are the fleet
// (fleet.go), which a Snapshot holds beside its tables: persistent trees (package
// index) of the machines by their numbers, and for each order of the numbers by a key of
// 8 octets. So a machine that stops or starts is written in one tree and in no
// table, and a place in an order takes 20 octets.
//
//	fleet     by id        hash of the id                        unique in the registry; gone ones: of app and id
//	          by address   hash of the /112, rest of the address not gone; unique with peers and Flycast
//	          by network   network, id                           not gone
//	          by app       app, metadata row, region             by app, app and region, metadata row
//	          metadata     app, sum                              a row for all machines of the app that have it
//	          pairs        sum of a pair, metadata row           by metadata pair, and by process group
//	          indexes      network                               the last commit that changed an answer
//	apps      id           network, name
//	peers     id           network, name
//	          address      address
//	flycast   id           address, which begins with the network
//	          app          app, address
//	networks  id           network
//	          name         name
//	regions   id           code
//	rtts      id           from, to
//
// The machines of an app mostly have the same few metadata, release by release.
// So metadata is a table of its own, in which each is kept and indexed once, and
// a machine that stops or starts costs the same, however much is known about it.
//
// # A commit
//
//	Store.Apply
//	 └ plan.read      notes what the events delete and put, beside what stands there
//	 └ plan.check     all faults at once; nothing has been written yet
//	 └ plan.changes   what is different afterwards; nothing: no commit
//	 └ writer.write   a new snapshot, which cannot fail: the fleet, and in one
//	                  memdb transaction the tables, if any of them changes
//	 └ Tx.Commit      for each commit, in this order:
//	    └ publish     DNS answers from it
//	    └ current     readers of the store find it
//	    └ notify      clients that watch the API learn of it
package registry
