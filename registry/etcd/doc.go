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
//	written       the head: no value; every write of a server puts and compares it
//	lock          exists while an import writes a new epoch; other writes wait for it
//	import        the format of all this, 2 (see Upgrades)
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
// Modified of an object is the revision of its key in etcd, and the store's index
// is etcd's revision. Both are the same on all nodes of one etcd, and grow with
// every write. Writes that were made in one transaction have the same index.
//
// # What is not in effect
//
// A key or value that is wrong, or that conflicts with another, is quarantined: it
// is logged once, and counted and listed in the Status. The next good value ends
// that. Everything else is applied. Of several objects that want the same id, address
// or name, this one is in effect:
//
//  1. the one that the last write of a server put: its revision is that of the head;
//  2. else the one whose value is oldest (revision, create revision, key).
//
// This depends only on what is in etcd, so all nodes decide alike, also one that has
// just started. And what a node has acknowledged stays in effect, whatever is put by
// hand under other keys: what comes later is younger. What was put by hand before, and
// was not in effect when the server decided, is older: it came just before the write, or
// its app did not exist. Therefore a server puts such a key again, unchanged, before the
// next write (putUnchanged in write.go). An import writes what is not in effect last, so
// that it stays younger.
//
// A server does not compare the keys that it writes. A value that is put by hand under
// the same key, milliseconds before, is overwritten.
//
// # A write, from PUT to the next query
//
//  1. Write queues the call (queueAndWait), and waits. One goroutine of the node, the
//     committer, takes the queue (nextGroup, all in write.go).
//  2. addLocked passes the registry, with the writes before it in the group, to decide,
//     which returns events. planLocked applies them to a transaction of the store that
//     will be aborted: this checks them, and finds the changes. The planner turns the
//     changes into keys to put and to delete (plan.go). The group ends with the first
//     write that does not fit, or that touches a key which the group has.
//  3. commit sends one transaction to etcd for the group. It succeeds if the head is
//     unchanged: then no server has written since the group was decided. Every
//     transaction puts the head.
//  4. If it did not succeed, lost waits until the watch has brought the write that came
//     first, and up to 4 ms more, and the group's writes are decided again.
//  5. The watch brings the write back: follow calls apply, which enters the keys of
//     one revision into the mirror; settle decides which objects are in effect and
//     returns events; Tx.ApplyAt and Tx.Commit change the store (watch.go, mirror.go).
//     Machines that this node has just written are not parsed again.
//  6. The store publishes the commit, which compiles the answers. From then on queries
//     see the change.
//  7. made, which has waited for that revision in waitOn, wakes the callers, and the
//     writes are acknowledged.
//
// What is put by hand takes steps 5 and 6 only.
//
// Some writes take part in a group without changing anything: decide failed, or there is
// nothing to change, or only a lease is renewed. They are right if the group's
// transaction succeeds, since it compares the head. For a group of such writes alone the
// head is read, and they are decided once more when the store has that (confirm).
//
// What takes more than one transaction is done by the goroutine that called Write, so
// that other writes do not wait (finish): leases are granted before a write is decided
// again, and renewed after it; and large writes are made.
//
// # Imports
//
// A write that does not fit into one transaction (128 operations, 1.5 MiB) is
// written under a new epoch (import.go). writeLarge takes the key lock, with a
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
// A machine that stays for a limited time has an etcd lease of its own. Putting it
// again, through any node, renews the lease and changes no key. etcd counts whole
// seconds, grants no less than two (one and a half election timeouts; less is a
// fault), and ends a lease within half a second of its time; a new leader may begin
// all leases anew. A lease ends only when etcd deletes the key: while etcd is away no
// lease can be renewed, and a node that ended leases by its own clock would remove
// every such machine from the answers soon after etcd failed.
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
//
// # Upgrades
//
// In format 1, every id, address and name had a key that named its owner, a claim, and
// the key import existed while an import was under way. Load upgrades a registry of
// format 1 (prepare in upgrade.go). First it puts import for good, so that servers of
// older versions read, renew leases and answer, but write nothing: their clients get 503,
// "an import is under way". Then it puts again what the claims excluded, so that what was
// in effect stays, and deletes the claims. (Of objects that exclude each other and were
// all put by hand, none has a claim, and another may be in effect afterwards.) Claims with
// leases stay until these end, since old servers renew a lease only while its claims
// exist; new servers ignore them. So servers can be replaced one after the other, while
// clients write through the new ones. There is no way back but a backup.
package etcd
