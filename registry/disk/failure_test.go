package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/internaldns/internaldns/registry"
)

// The writer of a write that failed does not know whether it was made. But once the
// disk works again, memory and disk hold the same, and everything that was acknowledged.
func TestAfterAFailureMemoryIsWhatIsOnDisk(t *testing.T) {
	for seed := range seeds(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDraw(seed)
				dir := t.TempDir()
				s := load(t, dir)
				disk := new(faultyDisk)
				s.fault = disk.fault
				s.run()
				t.Cleanup(func() { s.stop(t) })
				tw := &twin{registry.NewStore(nil), make(map[registry.MachineKey]time.Duration)}
				failed := 0
				for range 80 {
					w := registry.Write{Events: d.events()}
					if d.one(3) {
						w.Lease = ttl(pick(d, 0, 500*time.Hour, 1000*time.Hour))
					}
					when, fault := d.IntN(6), pick(d, syscall.EIO, syscall.ENOSPC)
					if when < 2 {
						disk.fail(failure{when == 1, fault})
						for range d.IntN(3) { // and the next commits
							disk.fail(failure{d.one(2), fault})
						}
					}
					_, err := s.Write(context.Background(), func(*registry.Snapshot) (registry.Write, error) { return w, nil })
					want := registry.ErrUnavailable
					if fault == syscall.ENOSPC {
						want = registry.ErrFull
					}
					unsure := errors.Is(err, registry.ErrUnavailable) || errors.Is(err, registry.ErrFull)
					if unsure && (when > 1 || !errors.Is(err, want)) {
						t.Fatalf("the write failed with %v", err)
					}
					if !unsure || when == 1 { // it was made, or refused for its content
						if _, faults := tw.write(w); !unsure && fmt.Sprint(err) != fmt.Sprint(faults) {
							t.Fatalf("the write failed with %v, want %v", err, faults)
						}
					}
					if unsure {
						failed++
						if d.one(2) {
							time.Sleep(4 * lastRetry) // Run tries again by itself
							synctest.Wait()
						} else { // or the next write
							for range 3 {
								time.Sleep(writeRetry)
								s.try(nil)
							}
							time.Sleep(writeRetry)
							s.put(t)
						}
					}
					disk.heal() // nothing had to be written
					if st := s.Status(); !st.Writable {
						t.Fatalf("the disk is back, and the status is %+v", st)
					}
					got, want2 := withoutIndexes(describe(s.store.Snapshot())), withoutIndexes(describe(tw.Snapshot()))
					if got != want2 {
						t.Fatalf("there is\n%swant\n%s", got, want2)
					}
					if n := s.Status().Leases; n != len(tw.leases) {
						t.Fatalf("there are %d leases, want %d", n, len(tw.leases))
					}
				}
				if failed == 0 {
					t.Error("no write failed")
				}
				want := describe(s.store.Snapshot())
				s.stop(t)
				s = serve(t, dir)
				if got := describe(s.store.Snapshot()); got != want {
					t.Errorf("after a restart there is\n%swant\n%s", got, want)
				}
			})
		})
	}
}

// A faultyDisk fails the next commits as failures lists.
type faultyDisk struct {
	mu       sync.Mutex
	failures []failure // of the next commits; guarded by mu
}

type failure struct {
	written bool // the commit fails after it was written, else before
	err     error
}

func (d *faultyDisk) fail(f failure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failures = append(d.failures, f)
}

func (d *faultyDisk) heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failures = nil
}

func (d *faultyDisk) fault(written bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.failures) > 0 && d.failures[0].written == written {
		f := d.failures[0]
		d.failures = d.failures[1:]
		return f.err
	}
	return nil
}

func withoutIndexes(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if i := strings.LastIndex(line, " of "); i >= 0 {
			line = line[:i] + "\n"
		}
		if !strings.HasPrefix(line, "commit ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// If another file replaces the database, the Keeper neither serves it nor writes to it.
func TestAFileThatWasReplacedIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, other := t.TempDir(), t.TempDir()
		s := serve(t, other)
		s.put(t, app)
		s.stop(t)
		s = serve(t, dir)
		s.put(t, app, putMachine(1, "started"))
		if err := os.Rename(other+"/"+fileName, s.path); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(s.path)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := s.try(nil, putMachine(2, "started")); !errors.Is(err, registry.ErrUnavailable) {
				t.Errorf("a write into another file fails with %v", err)
			}
			time.Sleep(lastRetry)
			synctest.Wait()
		}
		if after, err := os.ReadFile(s.path); err != nil || string(after) != string(before) {
			t.Error("the other file was written")
		}
		if !s.has(1) || s.has(2) {
			t.Error("the registry is not as it was")
		}
		if st := s.Status(); st.Writable || !strings.Contains(st.LastError, "another process changed it") {
			t.Errorf("the status is %+v", st)
		}
	})
}

// While a disk does not answer, leases end in time. When it answers, the commit is
// made or not, in memory and on the disk alike.
func TestADiskThatDoesNotAnswer(t *testing.T) {
	for _, tt := range []struct {
		name    string
		written bool // it stalls after writing
		err     error
		made    bool
	}{
		{"and then has written", true, nil, true},
		{"and then has written, and fails", true, syscall.EIO, true},
		{"and then writes", false, nil, true},
		{"and then fails", false, syscall.EIO, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s := load(t, dir)
				var stall atomic.Pointer[chan struct{}]
				s.fault = func(written bool) error {
					if wait := stall.Load(); wait != nil && written == tt.written {
						<-*wait
						return tt.err
					}
					return nil
				}
				s.run()
				t.Cleanup(func() { s.stop(t) })
				s.put(t, app, putMachine(1, "started"))
				s.lease(t, ttl(5*time.Second), putMachine(2, "started"))
				s.lease(t, ttl(15*time.Second), putMachine(3, "started"))

				answered := make(chan struct{})
				stall.Store(&answered)
				begun := time.Now()
				if _, err := s.try(nil, putMachine(4, "started")); !errors.Is(err, registry.ErrUnavailable) {
					t.Errorf("the write ends with %v", err)
				}
				if took := time.Since(begun); took != 5*time.Second+maxLate {
					t.Errorf("the write was refused after %v", took)
				}
				synctest.Wait()
				if s.has(2) || !s.has(3) || s.has(4) {
					t.Error("a machine whose lease ended is still there, or another is not")
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if s.has(3) || s.Status().Writable {
					t.Error("a machine whose lease ended later is still there")
				}
				if _, err := s.try(nil, putMachine(5, "started")); !errors.Is(err, registry.ErrUnavailable) {
					t.Errorf("a write meanwhile ends with %v", err)
				}

				stall.Store(nil)
				close(answered)
				time.Sleep(lastRetry)
				synctest.Wait()
				if !s.Status().Writable || s.has(4) != tt.made || s.has(2) || s.has(3) {
					t.Errorf("with the disk back, the write was made: %v, want %v; the status is %+v", s.has(4), tt.made, s.Status())
				}
				s.put(t, putMachine(6, "started"))
				want := describe(s.store.Snapshot())
				s.stop(t)
				s = serve(t, dir)
				if got := describe(s.store.Snapshot()); got != want {
					t.Errorf("after a restart there is\n%swant\n%s", got, want)
				}
			})
		})
	}
}

// An import may take longer than a lease lasts. It is made all the same, and a machine
// whose lease is renewed meanwhile stays.
func TestAnImportIsNotTakenForADiskThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := load(t, t.TempDir())
		importing := false
		s.fault = func(written bool) error {
			if importing && !written {
				importing = false
				time.Sleep(4 * time.Second) // 40 µs a record
			}
			return nil
		}
		s.run()
		t.Cleanup(func() { s.stop(t) })
		s.put(t, app)
		s.lease(t, ttl(2*time.Second), putMachine(1, "started"))
		s.lease(t, ttl(2*time.Second), putMachine(2, "started"))
		events := make([]registry.Event, 0, 100_000)
		for i := range cap(events) {
			events = append(events, putMachine(10+i, "started"))
		}
		importing = true
		var renewing sync.WaitGroup
		renewing.Go(func() {
			time.Sleep(time.Second)
			s.lease(t, ttl(2*time.Second), putMachine(2, "started"))
		})
		s.put(t, events...)
		renewing.Wait()
		if s.has(1) || !s.has(2) || !s.has(10) || !s.Status().Writable {
			t.Errorf("after an import there is the machine whose lease ended: %v, the one renewed: %v, the one imported: %v; the status is %+v",
				s.has(1), s.has(2), s.has(10), s.Status())
		}
	})
}

// bbolt maps the file into memory. If the mapping can no longer be read, because the
// disk is gone or the file was cut, the process goes on.
func TestMemoryThatCannotBeReadIsAFailure(t *testing.T) {
	for _, size := range []int64{0, pageSize, 3 * pageSize} {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, t.TempDir())
			s.put(t, app, putMachine(1, "started"))
			if err := os.Truncate(s.path, size); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := s.try(nil, putMachine(2, "started")); !errors.Is(err, registry.ErrUnavailable) {
					t.Errorf("with the file cut to %d octets, a write ends with %v", size, err)
				}
				time.Sleep(lastRetry)
				synctest.Wait()
			}
			if !s.has(1) || s.has(2) || s.Status().Writable {
				t.Errorf("with the file cut to %d octets, the registry is not as it was, or the status is %+v", size, s.Status())
			}
		})
	}
}

// A panic in the database library fails the write and nothing else.
func TestAPanicOfTheLibraryIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, t.TempDir())
		s.put(t, app)
		synctest.Wait()
		was := s.db.bolt
		s.db.bolt = nil // every use of it panics
		if _, err := s.try(nil, putMachine(1, "started")); !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("the write failed with %v", err)
		}
		time.Sleep(lastRetry)
		synctest.Wait()
		s.put(t, putMachine(1, "started"))
		_ = was // its mapping is left behind
	})
}
