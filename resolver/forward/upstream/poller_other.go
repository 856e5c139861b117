//go:build !linux

package upstream

// Waiting is how many goroutines of an Asker wait in system calls that the runtime
// knows nothing of.
const Waiting = 0

// A poller needs epoll, which only Linux has. Elsewhere a goroutine waits for each
// query.
type poller struct{}

type socket struct{}

func newPoller(*Asker) *poller { return nil }

func (*poller) run() {}

func (*poller) closeEpoll() {}

func (*poller) stop() {}

func (*poller) ask(*Query) error { return nil }

func (*poller) release(*Query) {}
