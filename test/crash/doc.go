// Package crash kills the server with SIGKILL, at random moments, while 16 writers
// put and delete machines over the control API. Then it starts the server again and
// compares: every write that was acknowledged must be there, none that was never
// sent, every object octet for octet, and the answers to queries must agree.
//
// The test has its own history of what was sent and acknowledged, made only from
// the requests and their responses.
//
//	go test -count=1 -v ./test/crash -rounds 1000
package crash
