// Package netns holds tests of the whole program on a network of its own, with
// the addresses that machines have there: every 6PN address can be asked from,
// and the server is at fdaa::3, port 53. They need root, and some the programs
// of Debian that people look up names with, and Knot DNS as an upstream.
//
//	sudo apt-get install -y bind9-dnsutils bind9-host knot
//	sudo go test -count=1 ./test/netns
//
// Without root they are skipped; with CI=true in the environment that is a
// failure.
package netns
