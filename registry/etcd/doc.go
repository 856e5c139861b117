// Package etcd keeps the registry of many nodes in one etcd. Every node has all
// of it in memory, writes through its own Keeper, and follows what the others
// write.
//
// A write that was acknowledged is visible on the node that took it, and within
// a second on all others that etcd can reach. When etcd is away, every node goes
// on with the last state and refuses writes.
//
// # Keys and values
//
// They are for people with etcdctl, too. Below the prefix, /internaldns, stand
//
//	registry      a random name: another one is another registry
//	epoch         the epoch that counts, 1 at first
//	written       its revision is that of the last write; no value
//	import        there while a new epoch is written; holds off other writes
//
// and below the epoch, so that a machine is
// /internaldns/1/machines/fdaa:0:18/web/148e21dad76789,
//
//	apps/NETWORK/APP              {}
//	machines/NETWORK/APP/ID       the machine's object, octet for octet
//	machines/NETWORK/APP/ID/2     … another of that id, which is gone; and so on
//	flycast/NETWORK/APP/ADDRESS   {}
//	peers/NETWORK/PEER            {"address": "fdaa:…", "region": "ams"}
//	networks/NETWORK              {"name": "acme"}
//	regions/CODE                  {"name": "…", "latitude": 52.3, "longitude": 4.9}
//	rtts/FROM/TO                  milliseconds
//	ids/ID                        the key of the machine that has the id
//	addresses/ADDRESS             the key of what has the address
//	names/NAME                    the key of the network that has the name
//
// NETWORK is how its addresses begin: fdaa:0:18, always in three parts. Names
// are in lower case, addresses as RFC 5952 has them, and what a path cannot hold
// in an ID is written as in a URL. The last three kinds are claims. Writes of this
// package keep them, and with them ids, addresses and names are unique; whoever
// puts objects by hand need not, and the next write through a node adds them. A
// claim whose owner is not there, or does not want it, is nobody's.
//
// Modified of an object is the revision of its key, and the store's index that of
// etcd: both are the same for all who use one etcd, and grow with every write.
//
// # What is not in effect
//
// A key or value that is wrong, or excludes another, is quarantined: named in the
// log once, counted and listed in the Status, and mended by the next good value. The
// rest is applied. Of two objects that want the same, the one that has the claim is
// in effect, else the one whose key is older (create revision, then key). That
// follows from what stands in etcd alone, so all nodes agree; and what a node has
// acknowledged stays in effect, whatever is put by hand.
//
// # A write
//
//	Write
//	 └ plan      decide on what this node has; the changes as keys (batch.go)
//	 └ lease     renew or grant, if the write says how long machines stay
//	 └ commit    one transaction: if all keys that it touches, the apps of machines
//	 │           and the epoch are as they were, and no import is under way
//	 └ wait      until this node's watch has brought it
//
// When it loses to another write, it waits until this node has that, and decides
// again. When it decides for an error or no change, it first asks etcd for the last
// write and waits for that: an acknowledged write is seen by all that begin later.
// What is put by hand is seen when the watch brings it, milliseconds later.
//
// What does not fit into one transaction (128 operations, 1.5 MiB) is written
// under a new epoch: everything is copied there with the changes, and one
// transaction makes it count, so that nobody ever sees a part of it. Meanwhile the
// key import, with a lease of five seconds, makes other writes wait, but for those
// that only renew leases, and the transaction makes sure that nothing was put into
// the old epoch by hand (it is not told what was deleted by hand in its last
// milliseconds). What a crashed import leaves is deleted by the next one, or the
// next Load. Objects that are copied count as modified. An app is deleted with all
// its machines in one transaction, however many they are.
//
// # Leases
//
// A machine that stays for a while only has an etcd lease of its own, and its
// claims have the same. Putting it again renews that, through any node, and makes
// no commit. etcd counts whole seconds, grants no less than two (one and a half
// election timeouts; less is a fault), and ends a lease within half a second of its
// time; a new leader may begin all leases anew. A lease ends only when etcd says so: while
// etcd is away nobody could renew one, and a node that ended them by its own clock
// would answer with nothing, for everybody, a while after etcd has failed.
//
// # Following
//
//	Run
//	 ├ follow    the watch, revision by revision, from the one after the last
//	 │  └ apply  into the mirror; what that changes in the store, in one commit
//	 ├ relist    when the watch cannot go on: list, and apply the difference
//	 └ probe     twice a second: is etcd there, is it the same, have we its last write?
//
// The registry is never empty in between, and empty is not taken for gone: another
// cluster, another or no registry under the prefix, or an etcd that has gone back
// (restored, or without its data) leave the last state in place, and refuse writes,
// until etcd is as before or the program starts anew. A listing without more than
// half of a network's machines must say so twice, a second apart.
package etcd
