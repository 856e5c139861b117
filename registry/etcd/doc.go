// Package etcd keeps the registry of many nodes in one etcd. Every node has all
// of it in memory, writes through its own Keeper, and follows what the others
// write.
package etcd
