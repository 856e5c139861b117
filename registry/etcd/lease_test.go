package etcd

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/internaldns/internaldns/registry"
)

func key(app, id string) registry.MachineKey {
	return registry.MachineKey{App: registry.AppKey{Network: acme, Name: app}, ID: id}
}

func TestAMachineIsDeletedOnAllNodesWhenItsLeaseEnds(t *testing.T) {
	s := serve(t)
	a, b := start(t, s), start(t, s)
	a.do(t, newApp("web"), newMachine("web", "stays", 2, "started"))
	ttl := 2 * time.Second
	begun := time.Now()
	index, err := a.tryLease(&ttl, newMachine("web", "m1", 1, "started"))
	if err != nil {
		t.Fatal(err)
	}
	b.until(t, "the machine is there", func(s *registry.Snapshot) bool { return s.Index >= index })
	if l, ok := b.Lease(key("web", "m1")); !ok || l.TTL != ttl || time.Until(l.Expires) > ttl {
		t.Errorf("the lease, asked of another node: %v, %v", l, ok)
	}
	if l, ok := b.Lease(key("web", "stays")); ok {
		t.Errorf("a machine without a lease has %v", l)
	}
	b.until(t, "the machine is gone", func(s *registry.Snapshot) bool { return s.Machine("m1") == nil })
	took := time.Since(begun)
	if took < ttl {
		t.Errorf("gone after %v of %v", took, ttl)
	}
	t.Logf("gone %v after its end", took-ttl)
	a.do(t, newMachine("web", "m2", 1, "started")) // the address is free
	converged(t, a, b)
}

func TestAMachineStaysIfItIsPutAgainThroughAnyNode(t *testing.T) {
	s := serve(t)
	a, b := start(t, s), start(t, s)
	a.do(t, newApp("web"))
	ttl := 3 * time.Second
	put := newMachine("web", "m1", 1, "started")
	index, err := a.tryLease(&ttl, put)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	last, n := begun, 0
	for ; time.Since(begun) < 2*ttl; n++ {
		again, err := []*node{b, a}[n%2].tryLease(&ttl, put)
		if err != nil {
			t.Fatal(err)
		}
		if time.Since(last) > ttl-time.Second {
			t.Skip("this machine is too busy to renew a lease in time")
		}
		last = time.Now()
		if again != index {
			t.Fatalf("renewal %d made commit %d", n, again)
		}
		a.until(t, "a third of the TTL has passed", func(*registry.Snapshot) bool { return time.Since(begun) > time.Duration(n)*ttl/3 })
	}
	if m := b.store.Snapshot().Machine("m1"); m == nil || m.Modified != index {
		t.Fatalf("after %d renewals: %v", n, m)
	}
	// A change keeps the lease, unless it has another TTL.
	b.do(t, newMachine("web", "m1", 1, "stopped"))
	if l, ok := b.Lease(key("web", "m1")); !ok || l.TTL != ttl {
		t.Errorf("after a change without a lease: %v, %v", l, ok)
	}
	longer := 90 * time.Second
	if _, err := a.tryLease(&longer, newMachine("web", "m1", 1, "stopped")); err != nil {
		t.Fatal(err)
	}
	if l, ok := a.Lease(key("web", "m1")); !ok || l.TTL != longer {
		t.Errorf("after another TTL: %v, %v", l, ok)
	}
	forGood := time.Duration(0)
	if _, err := b.tryLease(&forGood, newMachine("web", "m1", 1, "stopped")); err != nil {
		t.Fatal(err)
	}
	if l, ok := b.Lease(key("web", "m1")); ok {
		t.Errorf("a machine that is put without a TTL has %v", l)
	}
	begun = time.Now()
	a.until(t, "the first lease is over", func(*registry.Snapshot) bool { return time.Since(begun) > ttl+time.Second })
	if a.store.Snapshot().Machine("m1") == nil {
		t.Error("the machine was deleted with a lease that it no longer had")
	}
	converged(t, a, b)
}

// No lease can be renewed while etcd is away. If leases ended then, machines would be
// removed because etcd fails.
func TestLeasesDoNotEndWhileEtcdIsAway(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	a.do(t, newApp("web"))
	ttl := 2 * time.Second
	if _, err := a.tryLease(&ttl, newMachine("web", "m1", 1, "started")); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	s.Kill()
	if time.Since(begun) > ttl/2 {
		t.Skip("this machine is too busy to kill etcd in time")
	}
	a.until(t, "twice the time has passed", func(*registry.Snapshot) bool { return time.Since(begun) > 2*ttl })
	if a.store.Snapshot().Machine("m1") == nil {
		t.Error("the machine is gone while etcd is away")
	}
	s.Restart()
	a.until(t, "etcd has ended the lease", func(s *registry.Snapshot) bool { return s.Machine("m1") == nil })
	t.Logf("gone %v after etcd was back", time.Since(begun)-2*ttl)
}

func TestALeaseShorterThanEtcdGrantsIsAFault(t *testing.T) {
	a := start(t, serve(t))
	a.do(t, newApp("web"))
	ttl := time.Second
	_, err := a.tryLease(&ttl, newMachine("web", "m1", 1, "started"))
	var faults registry.Faults
	if !errors.As(err, &faults) || faults[0].Field != "ttl" {
		t.Errorf("got %v", err)
	}
	long := 290 * 365 * 24 * time.Hour
	if _, err := a.tryLease(&long, newMachine("web", "m1", 1, "started")); !errors.As(err, &faults) {
		t.Errorf("290 years: %v", err)
	}
	if a.store.Snapshot().Machine("m1") != nil {
		t.Error("the machine is there")
	}
	if got := a.leaseCount(t); got != 0 {
		t.Errorf("%d leases are left", got)
	}
}

func (n *node) leaseCount(t testing.TB) int {
	t.Helper()
	resp, err := n.client.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return len(resp.Leases)
}

func TestARefusedWriteLeavesNoLease(t *testing.T) {
	s := serve(t)
	a, b := start(t, s), start(t, s)
	a.do(t, newApp("web"))
	ttl := time.Minute
	for i := range 10 {
		done := make(chan error, 2)
		for j, n := range []*node{a, b} {
			go func() {
				_, err := n.tryLease(&ttl, newMachine("web", fmt.Sprintf("m%d-%d", i, j), i, "started"))
				done <- err
			}()
		}
		if first, second := <-done, <-done; (first == nil) == (second == nil) {
			t.Fatalf("%v and %v", first, second)
		}
	}
	if got := a.leaseCount(t); got != 10 {
		t.Errorf("%d leases for 10 machines", got)
	}
}
