package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/internaldns/internaldns/registry"
)

var _ registry.Keeper = (*Keeper)(nil)

// A server is a Keeper with its store and its log.
type server struct {
	*Keeper
	store *registry.Store
	logs  *observer.ObservedLogs
	end   context.CancelFunc
	ended chan error
}

// load returns a Keeper of dir that is loaded.
func load(t testing.TB, dir string) *server {
	t.Helper()
	s, err := tryLoad(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryLoad(dir string) (*server, error) {
	core, logs := observer.New(zap.DebugLevel)
	store := registry.NewStore(nil)
	s := &server{Keeper: New(dir, store, zap.New(core)), store: store, logs: logs, ended: make(chan error, 1)}
	return s, s.Load(context.Background())
}

// serve returns a Keeper of dir that runs. It is stopped at the end of the test.
func serve(t testing.TB, dir string) *server {
	t.Helper()
	s := load(t, dir)
	s.run()
	t.Cleanup(func() { s.stop(t) })
	return s
}

func (s *server) run() {
	var ctx context.Context
	ctx, s.end = context.WithCancel(context.Background())
	go func() { s.ended <- s.Run(ctx) }()
}

// stop stops the Keeper, unless it was stopped.
func (s *server) stop(t testing.TB) {
	t.Helper()
	if s.end == nil {
		return
	}
	s.end()
	s.end = nil
	if err := <-s.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// put writes events, and returns the index.
func (s *server) put(t testing.TB, events ...registry.Event) uint64 {
	t.Helper()
	return s.lease(t, nil, events...)
}

func (s *server) lease(t testing.TB, ttl *time.Duration, events ...registry.Event) uint64 {
	t.Helper()
	index, err := s.try(ttl, events...)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func (s *server) try(ttl *time.Duration, events ...registry.Event) (uint64, error) {
	return s.Write(context.Background(), func(*registry.Snapshot) (registry.Write, error) {
		return registry.Write{Events: events, Lease: ttl}, nil
	})
}

const network = registry.Network(0x18)

var app = registry.Put(&registry.App{Network: network, Name: "web"})

// machine returns the nth machine of app web.
func machine(n int, state string) *registry.Machine {
	b := [16]byte{0xfd, 0xaa}
	binary.BigEndian.PutUint32(b[2:], uint32(network))
	b[6] = 0xa
	binary.BigEndian.PutUint32(b[10:], uint32(n))
	b[15] = 2
	m := &registry.Machine{
		Network: network, App: "web", ID: fmt.Sprintf("%014x", n), State: state, Region: "ams", Address: netip.AddrFrom16(b),
		Metadata: []registry.Pair{{Key: "fly_process_group", Value: "app"}, {Key: "role", Value: fmt.Sprint("r", n%3)}},
	}
	m.Raw = registry.NewRaw(fmt.Appendf(nil, `{"id":%q,"state":%q,"region":"ams","private_ip":%q}`, m.ID, state, m.Address))
	return m
}

func putMachine(n int, state string) registry.Event {
	return registry.Put(machine(n, state))
}

func key(n int) registry.MachineKey { return machine(n, "started").MachineKey() }

func TestWhatWasWrittenIsThereAfterAReopen(t *testing.T) {
	dir := t.TempDir() + "/a/b"
	s := serve(t, dir)
	s.put(t, app)
	if index := s.put(t, putMachine(1, "started"), putMachine(2, "stopped")); index != 2 {
		t.Errorf("the second write made commit %d", index)
	}
	if index := s.put(t, putMachine(1, "started")); index != 2 {
		t.Errorf("a write that changes nothing is of commit %d, want 2", index)
	}
	want := describe(s.store.Snapshot())
	s.stop(t)
	if _, err := s.try(nil, app); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("after Run, a write fails with %v", err)
	}

	s = serve(t, dir)
	if got := describe(s.store.Snapshot()); got != want {
		t.Errorf("after a reopen there is\n%swant\n%s", got, want)
	}
	if index := s.put(t, putMachine(3, "started")); index != 3 {
		t.Errorf("the first write after a reopen made commit %d, want 3", index)
	}
}

func TestBeforeLoadNothingIsAccepted(t *testing.T) {
	k := New(t.TempDir(), registry.NewStore(nil), zap.NewNop())
	_, err := k.Write(context.Background(), nil)
	if !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("Write: %v, want that it is unavailable", err)
	}
	if st := k.Status(); st.Writable || st.LastError == "" {
		t.Errorf("the status is %+v", st)
	}
}

// Writers that wait together share one sync. Those that are refused leave the others as
// they are.
func TestWritersShareSyncs(t *testing.T) {
	s := load(t, t.TempDir())
	refused := errors.New("no")
	const writers = 16
	before := s.Status().Commits
	errs := make([]error, writers)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			_, errs[i] = s.Write(context.Background(), func(*registry.Snapshot) (registry.Write, error) {
				if i == 5 {
					return registry.Write{}, refused
				}
				events := []registry.Event{app, putMachine(i, "started")}
				if i == 7 {
					events = append(events, registry.Put(&registry.App{Network: network, Name: "no name"}))
				}
				return registry.Write{Events: events}, nil
			})
		})
	}
	for len(s.queue) < writers { // all of them wait for Run
		runtime.Gosched()
	}
	s.run()
	all.Wait()
	defer s.stop(t)
	for i, err := range errs {
		_, faults := errors.AsType[registry.Faults](err)
		if ok := err == nil && i != 5 && i != 7 || i == 5 && err == refused || i == 7 && faults; !ok {
			t.Errorf("writer %d got %v", i, err)
		}
	}
	if st := s.Status(); st.Commits-before != 1 || st.Writes != writers-2 {
		t.Errorf("%d writes took %d syncs, want %d and 1", st.Writes, st.Commits-before, writers-2)
	}
	if n := s.store.Snapshot().Stats().Total(); n != writers-2 {
		t.Errorf("there are %d machines, want %d", n, writers-2)
	}
}

func TestADecisionSeesTheWritesBefore(t *testing.T) {
	s := serve(t, t.TempDir())
	s.put(t, app)
	const writers, each = 8, 20
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				_, err := s.Write(context.Background(), func(snap *registry.Snapshot) (registry.Write, error) {
					return registry.Write{Events: []registry.Event{putMachine(snap.Stats().Total(), "started")}}, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := s.store.Snapshot().Stats().Total(); n != writers*each {
		t.Errorf("there are %d machines, want %d: writers did not see each other's", n, writers*each)
	}
}

func TestASecondProcessIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	_, err := tryLoad(dir)
	if err == nil {
		t.Fatal("a second Keeper took the directory")
	}
	t.Log(err)
}

// A writer whose context ends gets its error. A writer whose decision panics gets the
// panic.
func TestWritersThatLeave(t *testing.T) {
	s := load(t, t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Write(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Write: %v", err)
	}
	s.run()
	defer s.stop(t)
	func() {
		defer func() {
			if r := recover(); r != "oh" {
				t.Errorf("the writer recovered %v", r)
			}
		}()
		s.Write(context.Background(), func(*registry.Snapshot) (registry.Write, error) { panic("oh") })
	}()
	s.put(t, app)
}

// Run ends when its context does, also while writers keep it busy. They are refused, and
// every acknowledged write is there after a restart.
func TestRunEndsUnderWrites(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	s.put(t, app)
	const writers = 8
	var acked [writers]int
	var all sync.WaitGroup
	busy := make(chan struct{}, writers)
	for w := range writers {
		all.Go(func() {
			for ; ; acked[w]++ {
				if _, err := s.try(nil, putMachine(w*100_000+acked[w], "started")); err != nil {
					if !errors.Is(err, registry.ErrUnavailable) {
						t.Error(err)
					}
					return
				}
				if acked[w] == 3 {
					busy <- struct{}{}
				}
			}
		})
	}
	for range writers {
		<-busy
	}
	s.stop(t)
	all.Wait()
	if st := s.Status(); st.Writable {
		t.Errorf("the status is %+v", st)
	}
	want := 0
	for _, n := range acked {
		want += n
	}
	if s := serve(t, dir); s.store.Snapshot().Stats().Total() != want {
		t.Errorf("there are %d machines, and %d were acknowledged", s.store.Snapshot().Stats().Total(), want)
	}
}
