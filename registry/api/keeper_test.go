package api

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/disk"
	"github.com/internaldns/internaldns/registry/etcd"
	"github.com/internaldns/internaldns/registry/etcd/etcdtest"
)

// eachKeeper runs test with every kind of keeper.
func eachKeeper(t *testing.T, test func(*testing.T, *world)) {
	t.Run("memory", func(t *testing.T) { test(t, newWorld(t)) })
	t.Run("disk", func(t *testing.T) { test(t, newDiskWorld(t)) })
	t.Run("etcd", func(t *testing.T) { test(t, newEtcdWorld(t, etcdtest.Start(t))) })
}

// newEtcdWorld makes a world whose facts are in the etcd of server, like those of any
// other of its worlds.
func newEtcdWorld(t testing.TB, server *etcdtest.Server) *world {
	return newWorldOf(t, func(w *world) registry.Keeper {
		k, err := etcd.New(etcd.Config{Endpoints: []string{server.Proxy().Endpoint()}}, w.store, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		return running(t, k)
	})
}

func newDiskWorld(t testing.TB) *world {
	dir := t.TempDir()
	return newWorldOf(t, func(w *world) registry.Keeper { return running(t, disk.New(dir, w.store, zap.NewNop())) })
}

type keeper interface {
	registry.Keeper
	Load(context.Context) error
	Run(context.Context) error
}

// running loads k and runs it until the test ends.
func running(t testing.TB, k keeper) registry.Keeper {
	t.Helper()
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return k
}

// A memoryKeeper stores facts only in the store, and ends leases only when its method
// does. fail, unless nil, is the error of all writes.
type memoryKeeper struct {
	store *registry.Store

	mu     sync.Mutex
	leases map[registry.MachineKey]registry.Lease
	fail   error
	again  int // how many times decide is called before it counts
}

func (k *memoryKeeper) Write(ctx context.Context, decide func(*registry.Snapshot) (registry.Write, error)) (uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return 0, k.fail
	}
	for range k.again {
		decide(k.store.Snapshot())
	}
	w, err := decide(k.store.Snapshot())
	if err != nil {
		return 0, err
	}
	changes, err := k.store.Apply(w.Events)
	if err != nil {
		return 0, err
	}
	for _, e := range w.Events {
		if m, ok := e.Fact.(*registry.Machine); ok && !e.Delete && w.Lease != nil {
			key := registry.MachineKey{App: registry.AppKey{Network: m.Network, Name: m.App}, ID: m.ID}
			delete(k.leases, key)
			if *w.Lease > 0 {
				k.leases[key] = registry.Lease{TTL: *w.Lease, Expires: time.Now().Add(*w.Lease)}
			}
		}
	}
	return changes.Index, nil
}

func (k *memoryKeeper) Lease(key registry.MachineKey) (registry.Lease, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, ok := k.leases[key]
	return l, ok
}
