// Package echo is the server that does nothing: it takes up to 32 datagrams at
// once and sends each back, unread, to where it came from. What it costs is what
// system calls and the kernel's UDP path cost, which no server on sockets can
// undercut; other servers are measured as a multiple of it.
//
// Asked to, it returns more octets than it took: the limit for responses of that
// size.
//
// The program is in C, so that no runtime stands between it and the limit.
// Where there is no C compiler, Serve does the same in Go, at a few per cent
// more; whoever measures must say which one it was.
package echo
