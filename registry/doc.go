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
// # Indexes
//
// A Snapshot is a few persistent trees (package index): a commit makes new ones, which
// share with the old ones all nodes but those on the way to a change.
//
// All kinds of facts but machines are in one tree by key (factIndex). Some kinds have a
// second order.
//
//	all       key          kind, network, name, …
//	networks  name
//	peers     address
//	flycast   number of the app
//	networks  network      how many objects are in it, and the last commit that changed an answer
//
// Machines are many and change often, so their trees are smaller (machineIndex). One
// tree has the machines by their numbers. The others sort the numbers by keys of 8
// octets: an entry takes 20 octets, and a machine that stops or starts changes none of
// them.
//
//	by id        hash of the id                        unique in the registry; gone ones: of app and id
//	by address   hash of the /112, rest of the address not gone; unique with peers and Flycast
//	by network   network, id                           not gone
//	by app       app, metadata row, region             by app, app and region, metadata row
//	metadata     app, sum                              a row for all machines of the app that have it
//	pairs        sum of a pair, metadata row           by metadata pair, and by process group
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
//	 └ writer.write   makes the new snapshot, which cannot fail
//	 └ Tx.Commit      for each commit, in this order:
//	    └ publish     DNS answers from it
//	    └ current     readers of the store find it
//	    └ notify      clients that watch the API learn of it
package registry
