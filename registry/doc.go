// Package registry holds the facts: networks, apps, machines, WireGuard peers,
// Flycast addresses, regions and the round trips between regions. It reads and writes
// no DNS messages. What it knows of DNS is which names can be labels (checkName) and
// which changes an answer can depend on (Changes.Networks).
//
// Store.Apply is the only way in, and there is one writer at a time. A commit applies
// all of its events or none of them. It is published, which is when DNS answers from
// it, then shown to readers, then reported to Notify's function; all of that is done
// when Apply returns. Readers take a Snapshot, which never changes and needs no lock.
//
// A Keeper, which stores facts for longer than a process lives, does one thing between
// deciding and showing: a Tx makes commits that no reader sees yet, and the Keeper
// writes them down before it commits the Tx.
//
// The objects handed out (Machine, App, Peer, …) are shared by all readers, who must
// not change them.
//
// # Tables and keys
//
// All kinds of facts but machines are in go-memdb tables, which kinds.go lists. An
// entry of an index takes about 450 octets in its radix tree, and a change of one
// copies 3 kB of it. So there are few indexes, and keys are short and binary: a
// network is 4 octets, an app is a number of 4 octets that the store gives it, an
// address goes without its leading fdaa.
//
// Machines are too many for that, and change too often. They are in a machineIndex,
// which a Snapshot holds beside its tables: persistent trees (package index) of the
// machines by their numbers, and of the numbers in each order, by a key of 8 octets. So
// a machine that stops or starts is written in one tree and in no table, and an entry
// of an order takes 20 octets.
//
//	machines  by id        hash of the id                        unique in the registry; gone ones: of app and id
//	          by address   hash of the /112, rest of the address not gone; unique with peers and Flycast
//	          by network   network, id                           not gone
//	          by app       app, metadata row, region             by app, app and region, metadata row
//	          metadata     app, sum                              a row for all machines of the app that have it
//	          pairs        sum of a pair, metadata row           by metadata pair, and by process group
//	          networks     network                               number of objects; the last commit that changed an answer
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
// The machines of an app mostly have the same few metadata, release by release. So
// metadata is a tree of its own, which holds and indexes each only once. A machine
// that stops or starts costs the same, however much metadata it has.
//
// # A commit
//
//	Store.Apply
//	 └ plan.read      notes what the events delete and put, beside what the registry holds
//	 └ plan.check     finds all faults at once; nothing has been written yet
//	 └ plan.changes   what is different afterwards; nothing: no commit
//	 └ writer.write   makes a new snapshot, which cannot fail: the machine index, and in
//	                  one memdb transaction the tables, if any of them changes
//	 └ Tx.Commit      for each commit, in this order:
//	    └ publish     DNS answers from it
//	    └ current     readers of the store find it
//	    └ notify      clients that watch the API learn of it
package registry
