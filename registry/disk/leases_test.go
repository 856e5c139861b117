package disk

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/internaldns/internaldns/registry"
)

func ttl(d time.Duration) *time.Duration { return &d }

// has reports whether the registry has machine n.
func (s *server) has(n int) bool { return s.store.Snapshot().Machine(machine(n, "").ID) != nil }

func TestAMachineIsGoneWhenItsLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, t.TempDir())
		s.put(t, app, putMachine(1, "started"), putMachine(2, "started"))
		s.lease(t, ttl(30*time.Second), putMachine(3, "started"))
		index := s.store.Snapshot().Index

		time.Sleep(20 * time.Second)
		if got := s.lease(t, ttl(30*time.Second), putMachine(3, "started")); got != index {
			t.Errorf("a renewal made commit %d, want none after %d", got, index)
		}
		if l, ok := s.Lease(key(3)); !ok || l.TTL != 30*time.Second || time.Until(l.Expires) != 30*time.Second {
			t.Errorf("the lease is %+v, %v", l, ok)
		}
		time.Sleep(10 * time.Second)
		s.put(t, putMachine(3, "stopped")) // keeps the lease as it is
		time.Sleep(20*time.Second - 1)
		synctest.Wait()
		if !s.has(3) {
			t.Error("the machine is gone before its lease ended")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if s.has(3) || !s.has(1) || !s.has(2) {
			t.Error("when the lease ended, its machine is still there, or another is not")
		}
		if _, ok := s.Lease(key(3)); ok || s.Status().Leases != 0 {
			t.Error("the lease is still there")
		}
		if got := s.store.Snapshot().Index; got != index+2 {
			t.Errorf("the end of the lease is commit %d, want %d", got, index+2)
		}
	})
}

func TestWhatEndsALeaseEarly(t *testing.T) {
	remove := registry.Delete(registry.Key{Kind: registry.KindMachine, Network: network, Name: "web", ID: machine(1, "").ID})
	for _, tt := range []struct {
		name   string
		writes []registry.Write
		stays  bool // the machine, when the lease would have ended
	}{
		{"nothing", nil, false},
		{"a put without one", []registry.Write{{Events: []registry.Event{putMachine(1, "stopped")}}}, false},
		{"a put for good", []registry.Write{{Events: []registry.Event{putMachine(1, "started")}, Lease: ttl(0)}}, true},
		{"a longer one", []registry.Write{{Events: []registry.Event{putMachine(1, "started")}, Lease: ttl(time.Hour)}}, true},
		{"a shorter one and then none", []registry.Write{
			{Events: []registry.Event{putMachine(1, "started")}, Lease: ttl(time.Second)},
			{Events: []registry.Event{putMachine(1, "started")}, Lease: ttl(0)},
		}, true},
		{"the machine's end, before it comes again", []registry.Write{{Events: []registry.Event{remove}}, {Events: []registry.Event{putMachine(1, "started")}}}, true},
		{"the app's end, before it comes again", []registry.Write{
			{Events: []registry.Event{registry.Delete(registry.Key{Kind: registry.KindApp, Network: network, Name: "web"})}}, {Events: []registry.Event{app, putMachine(1, "started")}},
		}, true},
		{"the machine's end, in one write with its return", []registry.Write{{Events: []registry.Event{remove, putMachine(1, "started")}}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s := serve(t, dir)
				s.put(t, app)
				s.lease(t, ttl(time.Minute), putMachine(1, "started"))
				for _, w := range tt.writes {
					s.lease(t, w.Lease, w.Events...)
				}
				s.stop(t)
				s = serve(t, dir) // the lease on disk is the same
				time.Sleep(time.Minute)
				synctest.Wait()
				if s.has(1) != tt.stays {
					t.Errorf("a minute later the machine is there: %v, want %v", s.has(1), tt.stays)
				}
			})
		})
	}
}

// A lease that ends while no Keeper runs is over before the next one serves. A lease that
// has not ended has the rest of its time.
func TestARestartRevivesNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := serve(t, dir)
		s.put(t, app)
		s.lease(t, ttl(time.Minute), putMachine(1, "started"))
		s.lease(t, ttl(time.Minute), putMachine(2, "started"))
		index := s.lease(t, ttl(time.Hour), putMachine(3, "started"))
		s.stop(t)

		time.Sleep(time.Minute)
		s = serve(t, dir)
		if s.has(1) || s.has(2) || !s.has(3) {
			t.Error("after the restart a machine whose lease is over is still there, or another is not")
		}
		if got := s.store.Snapshot().Index; got < index+2 {
			t.Errorf("after two leases ended the registry is at %d, and may have been at %d", got, index+2)
		}
		if l, _ := s.Lease(key(3)); time.Until(l.Expires) != 59*time.Minute {
			t.Errorf("the lease that goes on has %v left, want 59m", time.Until(l.Expires))
		}
		index = s.store.Snapshot().Index
		s.stop(t)
		s = serve(t, dir)
		if got := s.store.Snapshot().Index; got != index || s.Status().Leases != 1 {
			t.Errorf("after another restart the registry is at %d with %d leases, want %d with 1", got, s.Status().Leases, index)
		}
	})
}

func TestAClockSetBackGivesNoLeaseMoreTime(t *testing.T) {
	written := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name      string
		now       time.Time
		expires   time.Time
		want      time.Duration // that is left
		wantEnded bool
	}{
		{"a clock that went on", written.Add(10 * time.Second), written.Add(time.Minute), 50 * time.Second, false},
		{"a clock that went on past the end", written.Add(time.Minute), written.Add(time.Minute), 0, true},
		{"a clock set back an hour", written.Add(-time.Hour), written.Add(time.Minute), time.Minute, false},
		{"a clock set back before the end that was seen", written.Add(-time.Hour), written, 0, true},
		{"a lease from a clock that was ahead", written, written.Add(time.Hour), time.Minute, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := load(t, t.TempDir())
			defer s.close()
			m := machine(1, "started")
			c := &contents{state: state{index: 7, clock: written}}
			c.facts.Add(app.Fact)
			c.facts.Machines = []*registry.Machine{m}
			c.leases = map[registry.MachineKey]registry.Lease{m.MachineKey(): {TTL: time.Minute, Expires: tt.expires}}
			ended, err := s.replay(c, tt.now)
			if err != nil || (len(ended) > 0) != tt.wantEnded || s.has(1) == tt.wantEnded {
				t.Fatalf("%d records are to be deleted, err %v", len(ended), err)
			}
			if l, ok := s.Lease(m.MachineKey()); ok == tt.wantEnded || ok && l.Expires.Sub(tt.now) != tt.want {
				t.Errorf("%v is left of the lease, want %v", l.Expires.Sub(tt.now), tt.want)
			}
		})
	}
}

// When the disk fails, leases end all the same, and the disk follows later; or, if
// the process ends before, the next one knows.
func TestLeasesEndWhileTheDiskFails(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s := serve(t, dir)
				s.put(t, app, putMachine(1, "started"))
				s.lease(t, ttl(time.Minute), putMachine(2, "started"))
				s.lease(t, ttl(time.Minute), putMachine(3, "started"))
				if err := os.Rename(s.path, s.path+".away"); err != nil {
					t.Fatal(err)
				}
				if _, err := s.try(nil, putMachine(4, "started")); !errors.Is(err, registry.ErrUnavailable) {
					t.Errorf("without its file, a write fails with %v", err)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if s.has(2) || s.has(3) || !s.has(1) || s.Status().Writable {
					t.Error("while the disk fails, machines whose leases ended are still there, or others are not")
				}
				shown := s.store.Snapshot().Index
				if restart {
					s.stop(t)
				}
				if err := os.Rename(s.path+".away", s.path); err != nil {
					t.Fatal(err)
				}
				if restart {
					s = serve(t, dir)
				}
				time.Sleep(lastRetry)
				synctest.Wait()
				if st := s.Status(); !st.Writable || st.Index < shown || st.Leases != 0 {
					t.Errorf("with the disk back, the status is %+v, want an index of %d at least", st, shown)
				}
				s.put(t, putMachine(4, "started"))
				want := describe(s.store.Snapshot())
				s.stop(t)
				s = serve(t, dir)
				if got := describe(s.store.Snapshot()); got != want || s.has(2) {
					t.Errorf("after a restart there is\n%swant\n%s", got, want)
				}
			})
		})
	}
}
