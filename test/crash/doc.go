// Package crash kills the server, with SIGKILL and at random moments, while 16
// writers put and delete machines over the control API, and looks what is there
// afterwards: all that was acknowledged, nothing that was never sent, every
// object octet for octet, and the same in the answers to queries.
//
// What was sent and acknowledged is in a log that the test keeps by itself, from
// what it saw of the requests alone.
//
//	go test -count=1 -v ./test/crash -rounds 1000
package crash
