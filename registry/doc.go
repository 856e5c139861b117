// Package registry keeps the facts: networks, apps, machines, WireGuard peers,
// Flycast addresses, regions. It knows no DNS.
//
// There is one way in, Store.Apply, and one writer at a time. A commit applies
// all of its events or none of them, and is handed to the commit hook before
// Apply returns: when Apply has returned, whatever reads the hook's product
// sees the change. Readers take a Snapshot, which never changes and needs no
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
// in its radix tree, so there are few, and keys are short and binary: networks
// are 4 octets, an app is a number of 4 octets that the store gives it,
// addresses go without their leading fdaa. Machines, and the pairs of their
// metadata, stand in runs of up to 64 neighbours (runs.go); a machine that is in
// four orders takes about 50 octets there, where entries of its own would take
// 1,900.
//
//	machines  by id        id                             unique in the registry; gone ones: id, app, sum
//	          by address   address                        not gone; unique with peers and Flycast
//	          by network   network, machine id            not gone
//	          by place     app, metadata row, region, id  by app, app and region, metadata row
//	metadata  id           app, sum                       a row for all machines of the app that have it
//	pairs     by pair      app, sum of a pair, row        by metadata pair, and by process group
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
// a machine that stops or starts costs its four places, however much is known
// about it.
//
// # A commit
//
//	Store.Apply
//	 └ plan.read      notes what the events delete and put, beside what stands there
//	 └ plan.check     all faults at once; nothing has been written yet
//	 └ plan.changes   what is different afterwards; nothing: no commit
//	 └ writer.write   one memdb transaction, which cannot fail
//	 └ Tx.Commit      the snapshot becomes the current one, and
//	    └ the commit hook
package registry
