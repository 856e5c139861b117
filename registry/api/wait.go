package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/objects"
	"github.com/internaldns/internaldns/registry/api/watch"
)

// Requests that wait for commits: GET /v1/watch and GET …/wait.

// waits reserves one of maxWaiting places for the call and lets its response take
// as long as the wait. free gives the place back.
func (c *call) waits(most time.Duration) (free func(), err error) {
	select {
	case c.api.watching <- struct{}{}:
	default:
		return nil, failf(http.StatusServiceUnavailable, "%d requests wait already, which is the most", maxWaiting)
	}
	c.writeBefore(most + writeStep)
	done := c.api.stats.Wait()
	return func() {
		done()
		<-c.api.watching
	}, nil
}

// watch is GET /v1/watch. It ends only with the client, the server or the client's
// token.
func (c *call) watch() error {
	from, err := c.watchFrom()
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "text/event-stream")
	if c.r.Method == http.MethodHead {
		return nil
	}
	free, err := c.waits(watch.Heartbeat)
	if err != nil {
		return err
	}
	defer free()
	c.w.WriteHeader(http.StatusOK)
	s := watch.Stream{
		Feed: c.api.Feed,
		Sees: c.who.sees,
		Send: func(octets []byte) error {
			c.writeBefore(writeStep) // a client that does not read in time is disconnected
			if _, err := c.w.Write(octets); err != nil {
				return err
			}
			return http.NewResponseController(c.w).Flush()
		},
		Admitted: func() bool { return c.who.token == nil || c.api.Tokens.holds(c.who) },
		Stopping: c.api.ended,
	}
	s.Run(c.r.Context(), from, c.snap.Index)
	return nil
}

// watchFrom returns the index after which the client wants all changes: that of its
// last event, or that of its request, or now.
func (c *call) watchFrom() (uint64, error) {
	text, name := c.query.Get("index"), "index"
	if last := c.r.Header.Get("Last-Event-Id"); last != "" {
		text, name = last, "Last-Event-ID"
	}
	if text == "" {
		return c.snap.Index, nil
	}
	index, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, failf(http.StatusBadRequest, "%s must be an index, got %s", name, registry.Quote(text))
	}
	return index, nil
}

var errStopping = failf(http.StatusServiceUnavailable, "the server is stopping")

// maxWait is the longest wait and the default one, as in Fly's API: proxies between
// client and server forget quiet connections after about a minute.
const maxWait = time.Minute

// waitMachine is GET …/wait: it responds when the machine is in one of the given
// states, or with 408 after its timeout.
func (c *call) waitMachine() error {
	k, err := c.machineKey()
	if err != nil {
		return err
	}
	states := c.listParam("state")
	if len(states) == 0 {
		states = []string{registry.StateStarted}
	}
	timeout := maxWait
	if v := c.query.Get("timeout"); v != "" {
		seconds, err := strconv.Atoi(strings.TrimSuffix(v, "s"))
		timeout = time.Duration(seconds) * time.Second
		if err != nil || seconds < 1 || seconds > int(maxWait/time.Second) {
			return failf(http.StatusBadRequest, "timeout must be from 1 to %d seconds, got %s", maxWait/time.Second, registry.Quote(v))
		}
	}
	if objects.Last(c.snap, k) == nil {
		return objects.NoMachine(k.ID)
	}
	free, err := c.waits(timeout)
	if err != nil {
		return err
	}
	defer free()
	return c.waitFor(k, states, time.After(timeout))
}

// waitFor responds when the machine of k, which has existed, is in one of states.
// It looks at the registry after every commit.
func (c *call) waitFor(k registry.MachineKey, states []string, timeout <-chan time.Time) error {
	for {
		committed := c.api.Feed.Next()
		s := c.api.Store.Snapshot()
		state := objects.StateDestroyed // of a machine that does not exist any more
		if m := objects.Last(s, k); m != nil {
			state = m.State
		}
		if slices.Contains(states, state) {
			c.setIndex(s.Index)
			return c.answer(http.StatusOK, okBody)
		}
		select {
		case <-committed:
		case <-c.r.Context().Done():
			return c.r.Context().Err()
		case <-c.api.ended:
			return errStopping
		case <-timeout:
			c.setIndex(s.Index)
			return failf(http.StatusRequestTimeout, "machine failed to reach desired state, %s, currently %s", strings.Join(states, " or "), state)
		}
	}
}
