package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/internaldns/internaldns/registry"
)

// A reader of another node sees the registry before an import or after it, and
// none in between.
func TestAnImportIsOneMomentOnAllNodes(t *testing.T) {
	s := serve(t)
	a, b := start(t, s), start(t, s)
	const machines = 400
	set := func(which int) []registry.Event {
		events := []registry.Event{newApp("web")}
		for i := range machines {
			events = append(events, newMachine("web", fmt.Sprintf("s%d-%d", which, i), i, "started"),
				registry.Delete(registry.Key{Kind: registry.KindMachine, Network: acme, Name: "web", ID: fmt.Sprintf("s%d-%d", 1-which, i)}))
		}
		return events
	}
	a.do(t, set(0)...)
	b.until(t, "the first set is there", func(s *registry.Snapshot) bool { return s.Stats().Total() == machines })

	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	looks := 0
	readers.Go(func() {
		var last uint64
		for ctx.Err() == nil {
			snap := b.store.Snapshot()
			count := map[string]int{}
			for m := range snap.MachinesIn(acme) {
				which, _, _ := strings.Cut(m.ID, "-")
				count[which]++
			}
			if len(count) != 1 || count["s0"]+count["s1"] != machines {
				t.Errorf("at index %d a reader sees %v", snap.Index, count)
				return
			}
			if snap.Index < last {
				t.Errorf("index %d after %d", snap.Index, last)
			}
			last = snap.Index
			looks++
		}
	})
	for i := range 4 {
		a.do(t, set(1-i%2)...)
	}
	last := a.do(t, newApp("end"))
	b.until(t, "the last write is there", func(s *registry.Snapshot) bool { return s.Index >= last })
	stop()
	readers.Wait()
	t.Logf("%d looks", looks)
	converged(t, a, b)
	epochs := map[string]bool{}
	for _, key := range strings.Fields(s.Etcdctl("get", "--prefix", "--keys-only", "/internaldns/")) {
		epochs[strings.Split(key, "/")[2]] = true
	}
	if len(epochs) != 5 { // registry, import, epoch, written and one epoch's keys
		t.Errorf("there are keys under %v", epochs)
	}
}

// Writes of other nodes during an import are in it, or after it.
func TestNoWriteIsLostInAnImport(t *testing.T) {
	s := serve(t)
	a, b := start(t, s), start(t, s)
	a.do(t, newApp("web"), newApp("small"))
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	var acknowledged []string
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			id := fmt.Sprintf("w%d", i)
			b.do(t, newMachine("small", id, 5000+i, "started"))
			acknowledged = append(acknowledged, id)
		}
	})
	for round := range 3 {
		events := []registry.Event{}
		for i := range 300 {
			events = append(events, newMachine("web", fmt.Sprintf("m%d", i), i, []string{"started", "stopped"}[round%2]))
		}
		a.do(t, events...)
	}
	stop()
	writer.Wait()
	converged(t, a, b)
	for _, id := range acknowledged {
		if a.store.Snapshot().Machine(id) == nil {
			t.Errorf("machine %s, acknowledged, is lost", id)
		}
	}
	t.Logf("%d writes", len(acknowledged))
	if len(acknowledged) == 0 {
		t.Error("nothing was written during the imports")
	}
}

// Imports of several nodes come one after the other.
func TestImportsOfTwoNodesAreBothMade(t *testing.T) {
	s := serve(t)
	nodes := []*node{start(t, s), start(t, s)}
	var wg sync.WaitGroup
	const rounds, machines = 4, 200
	for i, n := range nodes {
		n.do(t, newApp("web"))
		wg.Go(func() {
			for round := range rounds {
				var events []registry.Event
				for m := range machines {
					events = append(events, newMachine("web", fmt.Sprintf("n%d-%d-%d", i, round, m), 1000*(10*i+round)+m, "started"))
				}
				n.do(t, events...)
			}
		})
	}
	wg.Wait()
	converged(t, nodes...)
	if got := nodes[0].store.Snapshot().Stats().Total(); got != len(nodes)*rounds*machines {
		t.Errorf("%d machines, want %d", got, len(nodes)*rounds*machines)
	}
}

// An import that is given up in the middle changes nothing, and does not hinder the next.
func TestAnImportThatIsGivenUpChangesNothing(t *testing.T) {
	s := serve(t)
	a, b := start(t, s), start(t, s)
	a.do(t, newApp("web"), newMachine("web", "m1", 90_000, "started"))
	converged(t, a, b)
	before := digest(a.store.Snapshot())
	var events []registry.Event
	for i := range 2_000 {
		events = append(events, newMachine("web", fmt.Sprintf("new%d", i), i, "started"))
	}
	ctx, giveUp := context.WithCancel(t.Context())
	watch := b.client.Watch(ctx, "/internaldns/", clientv3.WithPrefix())
	a.proxy.Delay(50 * time.Millisecond) // so that there is time to give up
	done := make(chan error)
	go func() {
		_, err := a.Write(ctx, func(*registry.Snapshot) (registry.Write, error) { return registry.Write{Events: events}, nil })
		done <- err
	}()
	for epochs := 0; epochs < 300; {
		for _, e := range (<-watch).Events {
			if strings.Contains(string(e.Kv.Key), "/machines/") && !strings.HasPrefix(string(e.Kv.Key), "/internaldns/1/") {
				epochs++
			}
		}
	}
	giveUp()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("the write ended with %v", err)
	}
	if got := digest(b.store.Snapshot()); got != before {
		t.Errorf("the other node has\n%s", got)
	}
	b.do(t, newMachine("web", "m1", 90_000, "stopped"))
	converged(t, a, b)
	b.do(t, events...)
	converged(t, a, b)
	if keys := s.Etcdctl("get", "--prefix", "--keys-only", "/internaldns/"); strings.Count(keys, "machines/fdaa:0:18/web/m1\n") != 1 {
		t.Error("an old epoch is still there")
	}
}

// A value that is not in effect is copied, too.
func TestAnImportKeepsWhatIsQuarantinedAndWhatIsLeased(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	s.Etcdctl("put", "/internaldns/1/machines/fdaa:0:18/orphaned/o1", object("o1", 9000, "started"))
	a.do(t, newApp("web"))
	ttl := 60 * time.Second
	if _, err := a.tryLease(&ttl, newMachine("web", "leased", 9001, "started")); err != nil {
		t.Fatal(err)
	}
	events := []registry.Event{}
	for i := range 300 {
		events = append(events, newMachine("web", fmt.Sprintf("m%d", i), i, "started"))
	}
	a.do(t, events...)
	if q := a.Status().Quarantined; q != 1 {
		t.Errorf("%d keys are quarantined after the import, want 1", q)
	}
	if l, ok := a.Lease(registry.MachineKey{App: registry.AppKey{Network: acme, Name: "web"}, ID: "leased"}); !ok || l.TTL != ttl {
		t.Errorf("the lease after the import: %v, %v", l, ok)
	}
	a.do(t, newApp("orphaned"))
	if a.store.Snapshot().Machine("o1") == nil {
		t.Error("the machine whose app is there again is not in effect")
	}
}

// The lock and the epoch that a crashed import left are deleted, and the epoch does not
// count.
func TestWhatACrashedImportLeftIsDeleted(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	a.do(t, newApp("web"))
	s.Etcdctl("put", "/internaldns/7/apps/fdaa:0:18/half", "{}")
	lease := strings.Fields(s.Etcdctl("lease", "grant", "2"))[1]
	s.Etcdctl("put", "--lease="+lease, "/internaldns/lock", "a node that crashed")
	a.knowsOfImport(t)
	a.do(t, newApp("db")) // waits for the lock to end
	if a.store.Snapshot().App(acme, "half") != nil {
		t.Error("the epoch of the crashed import counts")
	}
	start(t, s)
	if left := s.Etcdctl("get", "--prefix", "/internaldns/7/"); left != "" {
		t.Errorf("left: %s", left)
	}
}

func TestAnAppOfManyMachinesIsDeletedAtOnce(t *testing.T) {
	s := serve(t)
	a, b := start(t, s), start(t, s)
	events := []registry.Event{newApp("web"), newApp("db")}
	for i := range 300 {
		events = append(events, newMachine("web", fmt.Sprintf("m%d", i), i, "started"))
	}
	a.do(t, events...)
	epoch := a.Status().Epoch
	index := a.do(t, registry.Delete(registry.Key{Kind: registry.KindApp, Network: acme, Name: "web"}))
	b.until(t, "the app is gone", func(s *registry.Snapshot) bool { return s.Index >= index })
	if n := b.store.Snapshot().Stats().Total(); n != 0 {
		t.Errorf("%d machines are left", n)
	}
	if a.Status().Epoch != epoch {
		t.Error("the registry was copied for it")
	}
	if left := s.Etcdctl("get", "--prefix", "--keys-only", "/internaldns/"+epoch+"/"); strings.Contains(left, "m") {
		t.Errorf("left: %s", left)
	}
	converged(t, a, b)
}

// An import takes long. It does not fail if connections break.
func TestAnImportOutlivesItsConnections(t *testing.T) {
	s := serve(t)
	a, b := start(t, s), start(t, s)
	a.do(t, newApp("web"))
	var events []registry.Event
	for i := range 5_000 {
		events = append(events, newMachine("web", fmt.Sprintf("new%d", i), i, "started"))
	}
	watch := b.client.Watch(t.Context(), "/internaldns/", clientv3.WithPrefix())
	a.proxy.Delay(50 * time.Millisecond) // so that the import takes long enough
	done := make(chan error, 1)
	go func() {
		_, err := a.try(events...)
		done <- err
	}()
	for keys, breaks := 0, 1; breaks <= 3; {
		select {
		case resp := <-watch:
			keys += len(resp.Events)
		case err := <-done:
			t.Fatalf("the import ended after %d breaks with %v", breaks-1, err)
		}
		if keys > breaks*1_000 {
			a.proxy.Reset()
			breaks++
		}
	}
	if err := <-done; err != nil {
		t.Fatalf("the import ended with %v", err)
	}
	converged(t, a, b)
}

// An import whose lock is deleted fails, however much of it has been written. The next
// import deletes what it wrote.
func TestAnImportThatLosesItsLockChangesNothing(t *testing.T) {
	s := serve(t)
	a, b := start(t, s), start(t, s)
	a.do(t, newApp("web"))
	converged(t, a, b)
	before := digest(a.store.Snapshot())
	var events []registry.Event
	for i := range 2_000 {
		events = append(events, newMachine("web", fmt.Sprintf("new%d", i), i, "started"))
	}
	watch := b.client.Watch(t.Context(), "/internaldns/", clientv3.WithPrefix())
	a.proxy.Delay(50 * time.Millisecond) // so that the import takes long enough
	done := make(chan error)
	go func() {
		_, err := a.try(events...)
		done <- err
	}()
	for seen := 0; seen < 300; {
		for _, e := range (<-watch).Events {
			if strings.Contains(string(e.Kv.Key), "/machines/") {
				seen++
			}
		}
	}
	if _, err := b.client.Delete(t.Context(), "/internaldns/lock"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, registry.ErrUnavailable) {
		t.Fatalf("the import ended with %v", err)
	}
	if got := digest(b.store.Snapshot()); got != before {
		t.Errorf("the other node has\n%s", got)
	}
	b.do(t, events...)
	converged(t, a, b)
	if keys := s.Etcdctl("get", "--prefix", "--keys-only", "/internaldns/"); strings.Count(keys, "machines/fdaa:0:18/web/new7\n") != 1 {
		t.Error("what was written is still there twice")
	}
}

// An import may take longer than leases last, so leases are renewed during it. Other
// writes wait, and get an error that names the import if it does not end in time.
func TestLeasesAreRenewedDuringAnImport(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	a.do(t, newApp("web"))
	ttl := 3 * time.Second
	put := newMachine("web", "m1", 1, "started")
	if _, err := a.tryLease(&ttl, put); err != nil {
		t.Fatal(err)
	}
	s.Etcdctl("put", "/internaldns/lock", "a node that imports")
	a.knowsOfImport(t)
	write := func(w registry.Write) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := a.Write(ctx, func(*registry.Snapshot) (registry.Write, error) { return w, nil })
		return err
	}
	for begun := time.Now(); time.Since(begun) < 2*ttl; {
		if err := write(registry.Write{Events: []registry.Event{put}, Lease: &ttl}); err != nil {
			t.Fatalf("after %v, a lease is renewed with %v", time.Since(begun), err)
		}
		a.until(t, "there is something to renew", func(*registry.Snapshot) bool {
			l, _ := a.Lease(registry.MachineKey{App: registry.AppKey{Network: acme, Name: "web"}, ID: "m1"})
			return time.Until(l.Expires) < 2*time.Second
		})
	}
	if a.store.Snapshot().Machine("m1") == nil {
		t.Error("the machine is gone")
	}
	err := write(registry.Write{Events: []registry.Event{newApp("db")}})
	if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "an import is under way") {
		t.Errorf("another write is refused with %v", err)
	}
}
