// Package registry keeps the facts: networks, apps, machines, WireGuard peers,
// Flycast addresses, regions. It knows no DNS.
//
// There is one way in, Store.Apply, and one writer at a time. A commit applies
// all of its events or none of them, and is handed to the commit hook before
// Apply returns: when Apply has returned, whatever reads the hook's product
// sees the change. Readers take a Snapshot, which never changes and needs no
// lock.
//
// The objects handed out (Machine, App, Peer, …) are shared between all
// readers: nobody may change them.
//
// # Tables and keys
//
// Facts live in go-memdb tables. Its radix trees copy keys into every index
// entry, so keys are short and binary: networks are 4 octets, an app is a
// number of 4 octets that the store gives it, addresses go without their
// leading fdaa.
//
//	machines  id        app, machine id      the app's machines, by id
//	          machine   machine id           not gone; unique in the registry
//	          address   address              not gone; unique with peers and Flycast
//	          network   network, machine id  not gone
//	          region    app, region          not gone
//	          group     app, process group   not gone
//	          metadata  app, key, value      not gone; one entry for each pair
//	apps      id        network, name
//	          number    app
//	peers     id        network, name
//	          address   address
//	flycast   id        address, which begins with the network
//	          app       app
//	networks  id        network
//	          name      name
//	regions   id        code
//	rtts      id        from, to
package registry
