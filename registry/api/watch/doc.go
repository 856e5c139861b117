// Package watch passes on the commits of a store to clients that wait for them.
//
// A Feed remembers the last commits. A Stream sends them to one client as
// server-sent events, as far as the client may see them. Package api answers
// GET /v1/watch with a Stream, and GET …/wait by a look at the registry after
// each commit.
//
// Package watch starts no goroutines. Its memory is bounded: a client that has
// missed commits which the Feed no longer has must list everything again.
package watch
