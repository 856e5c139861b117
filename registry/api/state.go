package api

import (
	"net/http"
	"time"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// stateDestroyed is the state of machines that were deleted.
const stateDestroyed = "destroyed"

// startMachine, stopMachine and suspendMachine are POST …/start, …/stop and
// …/suspend. They set the state: nobody runs the machine here. Their bodies say
// how a process is to be stopped, which is nothing to us.

func (c *call) startMachine() error {
	before, err := c.setState(registry.StateStarted)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, struct {
		Previous string `json:"previous_state"`
		Migrated bool   `json:"migrated"`
		NewHost  string `json:"new_host"`
	}{Previous: before})
}

func (c *call) stopMachine() error { return c.changeState("stopped") }

func (c *call) suspendMachine() error { return c.changeState("suspended") }

func (c *call) changeState(state string) error {
	if _, err := c.setState(state); err != nil {
		return err
	}
	return c.answer(http.StatusOK, okBody)
}

// setState gives the machine of the path a state, in its object, too, and
// returns the one before. A machine that has the state stays as it is.
func (c *call) setState(state string) (before string, err error) {
	k, err := c.machineKey()
	if err != nil {
		return "", err
	}
	cond, err := c.precondition()
	if err != nil {
		return "", err
	}
	if _, err := c.readForm(""); err != nil {
		return "", err
	}
	now := time.Now().UTC()
	return before, c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		old, err := existing(s, k, cond)
		if old == nil {
			if m := lastOf(s, k); m != nil && !cond.exists {
				err = failf(http.StatusPreconditionFailed, "the machine is %s, and cannot be %s", m.State, state)
			}
			return w, err
		}
		before = old.State
		if before == state {
			return w, nil
		}
		m, err := inState(old, state, now)
		w.Events = []registry.Event{registry.Put(m)}
		return w, err
	})
}

// inState returns a copy of m in another state.
func inState(m *registry.Machine, state string, now time.Time) (*registry.Machine, error) {
	object, err := objectOf(m)
	if err != nil {
		return nil, err
	}
	object.Set("state", format.Quote(state))
	touch(object, now)
	other := *m
	other.State, other.Raw, other.Modified = state, registry.NewRaw(object.JSON()), 0
	return &other, nil
}

// deleteMachine is DELETE /v1/apps/{app}/machines/{id}. The machine is out of
// all answers at once, and is kept, destroyed, among the last maxGone of its
// app.
func (c *call) deleteMachine() error {
	k, err := c.machineKey()
	if err != nil {
		return err
	}
	cond, err := c.precondition()
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		old, err := existing(s, k, cond)
		if old == nil {
			if lastOf(s, k) != nil && !cond.exists {
				return w, nil // deleted before: who repeats a request is told that it was done
			}
			return w, err
		}
		m, err := inState(old, stateDestroyed, now)
		if err != nil {
			return w, err
		}
		w.Events, w.Lease = replace(s, s.App(k.App.Network, k.App.Name), m), new(time.Duration)
		return w, nil
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, okBody)
}
