// Package netns tests the whole program in a network namespace, with the addresses
// that machines have at Fly: clients can send from every private (6PN) address, and
// the server is at fdaa::3, port 53. The tests need root. Some need Debian's DNS
// clients, and Knot DNS as an upstream.
//
//	sudo apt-get install -y bind9-dnsutils bind9-host knot
//	sudo go test -count=1 ./test/netns
//
// Without root they are skipped; with CI=true in the environment they fail.
package netns
