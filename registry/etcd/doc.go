// Package etcd stores the registry of many nodes in one etcd. Every node has the
// whole registry in memory, writes through its own Keeper, and follows what the
// other nodes write.
//
// A write that was acknowledged is visible on the node that took it, and within
// a second on all others that can reach etcd. While etcd is away, every node goes
// on with the last state and refuses writes.
//
// # Keys and values
//
// People may read and write them with etcdctl. Below the prefix, /internaldns, are
//
//	registry      a random name: a registry with another name is another registry
//	epoch         the epoch that counts, 1 at first
//	written       no value; every write puts it, so its revision is that of the last write
//	import        present while a new epoch is written; other writes wait for it
//
// and below the epoch, so that a machine's key is
// /internaldns/1/machines/fdaa:0:18/web/148e21dad76789,
//
//	apps/NETWORK/APP              {}
//	machines/NETWORK/APP/ID       the machine's object, octet for octet
//	machines/NETWORK/APP/ID/2     … another machine of that id, which is gone; and so on
//	flycast/NETWORK/APP/ADDRESS   {}
//	peers/NETWORK/PEER            {"address": "fdaa:…", "region": "ams"}
//	networks/NETWORK              {"name": "acme"}
//	regions/CODE                  {"name": "…", "latitude": 52.3, "longitude": 4.9}
//	rtts/FROM/TO                  milliseconds
//
// NETWORK is the beginning of the network's addresses, always in three parts:
// fdaa:0:18. Names are in lower case, and addresses in the form of RFC 5952. A
// character that a path cannot hold is escaped in an ID as in a URL.
//
// Keys of the last three kinds are claims. They make ids, addresses and names
// unique: every write of this package puts the claims of what it puts, and compares
// them. Objects that are put by hand need no claims; the next write of the object
// through a node adds them. A claim has no effect if its owner does not exist or
// does not want what is claimed.
//
// Modified of an object is the revision of its key in etcd, and the store's index
// is etcd's revision. Both are the same on all nodes of one etcd, and grow with
// every write.
//
// # What is not in effect
//
// A key or value that is wrong, or that conflicts with another, is quarantined: it
// is logged once, and counted and listed in the Status. The next good value ends
// that. Everything else is applied. If two objects want the same id, address or
// name, the one that has the claim is in effect; without a claim, the one whose key
// is older (create revision, then key). That depends only on what is in etcd, so
// all nodes decide alike, and what a node has acknowledged stays in effect,
// whatever is put by hand.
//
// # A write, from PUT to the next query
//
//  1. Write calls plan, which locks the keeper and passes the store's snapshot to
//     decide. decide returns events (write.go).
//  2. planLocked applies the events to a transaction of the store that it aborts:
//     this checks them and finds the changes. It turns the changes into a batch:
//     the keys to put and to delete, and the revisions that must not have changed
//     (batch.go).
//  3. If decide failed or nothing changes, catchUp asks etcd for the revision of
//     the last write, waits until the store has it, and Write decides once more.
//     So a write sees everything that was acknowledged before it began.
//  4. If an import is under way, unlocked waits until it is over. Writes that only
//     renew leases do not wait.
//  5. lease renews or grants the leases of the batch (lease.go).
//  6. commit sends one transaction to etcd. It succeeds if the epoch, the apps of
//     machines and all keys that the batch touches are unchanged, and no import is
//     under way.
//  7. If it did not succeed, lost waits until the watch has brought the write that
//     came first, and Write begins again at step 1.
//  8. The watch brings the write back: follow calls apply, which enters the keys of
//     one revision into the mirror; settle decides which objects are in effect and
//     returns events; Tx.ApplyAt and Tx.Commit change the store (watch.go, mirror.go).
//  9. The store calls its onCommit function, which compiles the answers. From then
//     on queries see the change.
//  10. commit, which has waited for that revision in waitOn, returns, and the write
//     is acknowledged.
//
// What is put by hand takes steps 8 and 9 only.
//
// # Imports
//
// A write that does not fit into one transaction (128 operations, 1.5 MiB) is
// written under a new epoch (import.go). writeLarge takes the key import, with a
// lease of five seconds that it renews. writeEpoch copies everything there with the
// changes, and one transaction then changes the key epoch, so that no node ever
// sees a part of the import. That transaction fails if something was put into the
// old epoch by hand meanwhile; it may miss what was deleted by hand in the last
// milliseconds before. The next import, or the next Load, deletes what a crashed
// import left. Objects that are copied count as modified. An app is deleted with
// all its machines in one transaction, however many they are.
//
// # Leases
//
// A machine that stays for a limited time has an etcd lease of its own, which its
// claims share. Putting it again, through any node, renews the lease and makes no
// commit. etcd counts whole seconds, grants no less than two (one and a half
// election timeouts; less is a fault), and ends a lease within half a second of its
// time; a new leader may begin all leases anew. A lease ends only when etcd deletes
// the key: while etcd is away no lease can be renewed, and a node that ended leases
// by its own clock would remove every such machine from the answers soon after etcd
// failed.
//
// # When etcd fails
//
//   - Away: probe asks etcd twice a second. After two probes in a row without an
//     answer the Status says so, writes get ErrUnavailable, and answers go on from
//     the last state. When etcd answers again the watch goes on where it was.
//   - Restarted, or with another leader: the same, usually without a missed probe.
//   - Compacted: if etcd no longer has the revisions that the watch needs, relist
//     reads the whole registry and applies the difference in one commit. A listing
//     that lacks more than half of a network's machines is asked for once more, a
//     second later, before it is applied.
//   - Restored from a backup, without its data, or another etcd: the cluster, the
//     registry's name or the revision does not fit. The node freezes: it serves the
//     last state and refuses writes until etcd is as before or the program starts
//     again. An empty etcd never empties the registry of a running node.
//   - Full: writes get ErrFull; reading and following go on.
package etcd
