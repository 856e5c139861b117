package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/etcd/etcdtest"
)

// refused waits until a write is refused, and then returns how long the next
// refusal takes.
func (n *node) refused(t testing.TB) time.Duration {
	t.Helper()
	n.until(t, "the node knows that etcd is away", func(*registry.Snapshot) bool { return !n.Status().Connected })
	begun := time.Now()
	if _, err := n.try(newApp("refused")); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("a write while etcd is away: %v", err)
	}
	return time.Since(begun)
}

// back waits until the node has caught up with etcd, and logs the time since.
func (n *node) back(t testing.TB, what string, since time.Time) {
	t.Helper()
	n.until(t, what, func(*registry.Snapshot) bool { s := n.Status(); return s.Connected && s.ConfirmedAt.After(since) })
	t.Logf("%s: converged after %v", what, time.Since(since).Round(time.Millisecond))
}

func TestANodeKeepsTheLastStateWhileEtcdIsAway(t *testing.T) {
	s := serve(t)
	a, b := start(t, s), start(t, s)
	index := a.do(t, newApp("web"), newMachine("web", "m1", 1, "started"))
	b.until(t, "the machine is there", func(s *registry.Snapshot) bool { return s.Index >= index })
	for _, tt := range []struct {
		name        string
		leave, back func()
	}{
		{"etcd is killed and starts again", s.Kill, s.Restart},
		{"connections are cut", b.proxy.Cut, b.proxy.Pass},
		{"connections are half open", b.proxy.Swallow, b.proxy.Pass},
		{"etcd hangs", s.Pause, s.Resume},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.leave()
			t.Logf("refused within %v", b.refused(t))
			if b.store.Snapshot().Machine("m1") == nil {
				t.Error("the machine is gone from the store")
			}
			if st := b.Status(); st.LastError == "" || st.Age <= 0 {
				t.Errorf("the status does not show it: %+v", st)
			}
			since := time.Now()
			tt.back()
			b.back(t, tt.name, since)
			a.back(t, "the other node", since)
			index := a.do(t, newMachine("web", "m1", 1, "stopped"), newMachine("web", "m1", 1, "started"))
			b.until(t, "a write shows", func(s *registry.Snapshot) bool { return s.Index >= index })
			if b.Status().LastError != "" {
				t.Errorf("an error is still shown: %s", b.Status().LastError)
			}
		})
	}
	converged(t, a, b)
	if b.Status().Relists != 0 {
		t.Errorf("the registry was listed %d times, though the watch could go on", b.Status().Relists)
	}
}

// After revisions were compacted that a node has not seen, it lists the registry and
// applies the difference.
func TestARegistryIsListedWhenTheWatchIsCompacted(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	a.do(t, newApp("web"), newMachine("web", "stays", 1, "started"), newMachine("web", "goes", 2, "started"))

	var mu sync.Mutex
	var machines []string
	b := &node{proxy: s.Proxy(), commits: make(chan struct{}, 1), ended: make(chan error, 1)}
	b.store = registry.NewStore(func(_ *registry.Snapshot, c *registry.Changes) {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range c.Machines {
			if m.Before != nil {
				machines = append(machines, "-"+m.Before.ID)
			}
			if m.After != nil {
				machines = append(machines, "+"+m.After.ID)
			}
		}
	})
	var err error
	if b.Keeper, err = New(Config{Endpoints: []string{b.proxy.Endpoint()}}, b.store, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	go func() { b.ended <- b.Run(t.Context()) }()
	b.proxy.Cut()
	b.refused(t)
	mu.Lock()
	machines = nil
	mu.Unlock()
	a.do(t, registry.Delete(registry.Key{Kind: registry.KindMachine, Network: acme, Name: "web", ID: "goes"}))
	a.do(t, newMachine("web", "comes", 3, "started"))
	last := a.do(t, newMachine("web", "comes", 3, "stopped"))
	s.Etcdctl("compact", fmt.Sprint(last))
	since := time.Now()
	b.proxy.Pass()
	b.until(t, "the last write shows", func(s *registry.Snapshot) bool { return s.Index >= last })
	b.back(t, "a node whose watch was compacted away", since)
	mu.Lock()
	got := strings.Join(machines, " ")
	mu.Unlock()
	if got != "+comes -goes" && got != "-goes +comes" {
		t.Errorf("the listing changed %q", got)
	}
	if b.Status().Relists != 1 {
		t.Errorf("listed %d times", b.Status().Relists)
	}
	converged(t, a, b)
}

// An etcd without its data must not empty the registry.
func TestAnEmptyEtcdIsNotTakenForAnEmptyRegistry(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	for i := range 20 {
		a.do(t, newApp("web"), newMachine("web", fmt.Sprintf("m%d", i), i, "started"))
	}
	want := digest(a.store.Snapshot())
	s.Kill()
	s.Wipe()
	s.Restart()
	a.until(t, "the node is frozen", func(*registry.Snapshot) bool { return a.Status().Held != "" })
	if _, err := a.try(newApp("new")); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("a write to the wrong etcd: %v", err)
	}
	// Another server makes a registry there, and writes until its revision is as high.
	b := start(t, s)
	for i := range 60 {
		b.do(t, newApp(fmt.Sprintf("a%d", i)))
	}
	begun := time.Now()
	a.until(t, "etcd was looked at again", func(*registry.Snapshot) bool { return time.Since(begun) > 2*probeEvery+maxBackoff })
	if got := digest(a.store.Snapshot()); got != want {
		t.Errorf("the registry became\n%s", got)
	}
	if st := a.Status(); !strings.Contains(st.Held, "another registry") || st.Connected {
		t.Errorf("the status is %+v", st)
	}
	if n := a.log.FilterMessageSnippet("kept as it was").Len(); n == 0 || n > 3 {
		t.Errorf("it was logged %d times", n)
	}
}

// A registry that is deleted by hand, all at once, was deleted by mistake.
func TestADeletedPrefixIsNotTakenForAnEmptyRegistry(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	a.do(t, newApp("web"), newMachine("web", "m1", 1, "started"))
	want := digest(a.store.Snapshot())
	s.Etcdctl("del", "--prefix", "/internaldns/")
	a.until(t, "the node is frozen", func(*registry.Snapshot) bool { return a.Status().Held != "" })
	if got := digest(a.store.Snapshot()); got != want {
		t.Errorf("the registry became\n%s", got)
	}
}

// Machines that were deleted while a node was away are deleted there by the second
// listing, not by the first.
func TestAListingWithoutHalfOfANetworkIsMadeTwice(t *testing.T) {
	s := serve(t)
	a, b := start(t, s), start(t, s)
	index := a.do(t, newApp("web"), newMachine("web", "m1", 1, "started"), newMachine("web", "m2", 2, "started"), newMachine("web", "m3", 3, "started"))
	b.until(t, "the machines are there", func(s *registry.Snapshot) bool { return s.Index >= index })
	b.proxy.Cut()
	b.refused(t)
	a.do(t, registry.Delete(registry.Key{Kind: registry.KindApp, Network: acme, Name: "web"}))
	last := a.do(t, newApp("db"))
	s.Etcdctl("compact", fmt.Sprint(last))
	b.proxy.Pass()
	b.until(t, "the machines are gone", func(s *registry.Snapshot) bool { return s.Index >= last })
	if b.log.FilterMessageSnippet("less than half").Len() != 1 {
		t.Error("it was not logged")
	}
}

func TestAWriteEndsInTimeIfItsResponseIsLost(t *testing.T) {
	s := serve(t)
	a, b := start(t, s), start(t, s)
	b.proxy.Swallow()
	begun := time.Now()
	_, err := b.try(newApp("web"))
	if !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	t.Logf("refused after %v", time.Since(begun))
	b.proxy.Pass()
	b.back(t, "after half-open connections", time.Now())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Write(ctx, func(*registry.Snapshot) (registry.Write, error) {
		return registry.Write{Events: []registry.Event{newApp("db")}}, nil
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("a write whose context is done: %v", err)
	}
}

func TestWritesToAFullEtcdGetErrFull(t *testing.T) {
	s := serve(t, "--quota-backend-bytes", "1000000")
	a := start(t, s)
	a.do(t, newApp("web"))
	var err error
	for i := 0; i < 200 && err == nil; i++ {
		e := newMachine("web", fmt.Sprintf("m%d", i), i, "started")
		m := e.Fact.(*registry.Machine)
		raw := strings.Replace(object(m.ID, i, "started"), "{", fmt.Sprintf("{%q:%q,", "note", strings.Repeat("x", 50_000)), 1)
		m.Raw = registry.NewRaw([]byte(raw))
		_, err = a.try(e)
	}
	if !errors.Is(err, registry.ErrFull) {
		t.Errorf("got %v", err)
	}
	if a.store.Snapshot().App(acme, "web") == nil || !a.Status().Connected {
		t.Error("what is there is not served any more")
	}
}

func TestAnObjectTooLargeForEtcdIsAFault(t *testing.T) {
	a := start(t, serve(t))
	a.do(t, newApp("web"))
	e := newMachine("web", "m1", 1, "started")
	e.Fact.(*registry.Machine).Raw = registry.NewRaw([]byte(strings.Replace(object("m1", 1, "started"), "{", fmt.Sprintf("{%q:%q,", "note", strings.Repeat("x", 1_700_000)), 1)))
	_, err := a.try(e)
	var faults registry.Faults
	if !errors.As(err, &faults) {
		t.Errorf("got %v", err)
	}
}

// An address that leads to another etcd, and later to the right one, does no harm.
func TestTheRightEtcdIsFollowedAgain(t *testing.T) {
	right := serve(t)
	wrong := etcdtest.Start(t, "--initial-cluster-token", "another")
	a := start(t, right)
	a.do(t, newApp("web"), newMachine("web", "m1", 1, "started"))
	b := start(t, right)
	start(t, wrong).do(t, newApp("wrong"))
	b.proxy.Redirect(wrong)
	b.until(t, "the node is frozen", func(*registry.Snapshot) bool { return b.Status().Held != "" })
	last := a.do(t, newMachine("web", "m2", 2, "started"))
	b.proxy.Redirect(right)
	b.until(t, "the right etcd is followed", func(s *registry.Snapshot) bool { return s.Index >= last && b.Status().Held == "" })
	b.back(t, "the right etcd", time.Now())
	converged(t, a, b)
}

// With one of three members gone, and even the leader, etcd is there.
func TestAMemberMayDie(t *testing.T) {
	t.Parallel()
	members := etcdtest.StartCluster(t, 3)
	var endpoints []string
	for _, m := range members {
		endpoints = append(endpoints, m.Proxy().Endpoint())
	}
	a, b := startAt(t, endpoints), startAt(t, endpoints)
	a.do(t, newApp("web"))
	for i, m := range members {
		a.do(t, newMachine("web", fmt.Sprintf("before%d", i), 2*i, "started"))
		m.Kill()
		begun := time.Now()
		for {
			_, err := b.try(newMachine("web", fmt.Sprintf("without%d", i), 2*i+1, "started"))
			if err == nil {
				break
			}
			if !errors.Is(err, registry.ErrUnavailable) || time.Since(begun) > soon {
				t.Fatalf("%v after member %d died: %v", time.Since(begun), i, err)
			}
			b.until(t, "etcd is there", func(*registry.Snapshot) bool { return b.Status().Connected })
		}
		t.Logf("a write went through %v after member %d died", time.Since(begun).Round(time.Millisecond), i)
		m.Restart()
		for _, n := range []*node{a, b} {
			n.back(t, "all members are there", time.Now())
		}
	}
	converged(t, a, b)
}

func TestLoadWaitsForEtcd(t *testing.T) {
	s := serve(t)
	p := s.Proxy()
	p.Cut()
	k, err := New(Config{Endpoints: []string{p.Endpoint()}}, registry.NewStore(nil), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Write(t.Context(), nil); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("a write before Load: %v", err)
	}
	done := make(chan error)
	go func() { done <- k.Load(t.Context()) }()
	for k.Status().Failures == 0 {
		select {
		case err := <-done:
			t.Fatalf("Load gave up: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	p.Pass()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestConfigFaultsAreNamedAllAtOnce(t *testing.T) {
	err := (&Config{
		Endpoints: []string{"ftp://a:1", "b", "http://c:1/path", "https://user:hunter2@d:1", "http://e:1/"}, Prefix: "x/", Password: "p",
	}).Validate()
	for _, want := range []string{`"ftp://a:1"`, `"b"`, `"http://c:1/path"`, "one has a user in it", "prefix: ", "username: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is missing in:\n%v", want, err)
		}
	}
	for _, never := range []string{"hunter2", `"http://e:1/"`} {
		if err != nil && strings.Contains(err.Error(), never) {
			t.Errorf("%s is in:\n%v", never, err)
		}
	}
}
