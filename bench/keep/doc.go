// Package keep measures what a registry that is kept costs: how many writes are
// acknowledged a second, on disk and in etcd, and how long after that the answers
// show them, on the server that took the write and on another.
//
// It drives the real program over its control API and its DNS sockets.
package keep
