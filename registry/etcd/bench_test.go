package etcd

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/etcd/etcdtest"
)

// loaded starts an etcd and nodes, with an app and machines.
func loaded(b *testing.B, nodes, machines int) []*node {
	b.Helper()
	s := etcdtest.Start(b)
	all := make([]*node, nodes)
	for i := range all {
		all[i] = start(b, s)
	}
	all[0].do(b, machinesNamed("m", machines)...)
	for _, n := range all {
		if err := n.wait(b.Context(), all[0].revisionNow()); err != nil {
			b.Fatal(err)
		}
	}
	return all
}

// machinesNamed puts an app and that many machines in it.
func machinesNamed(prefix string, machines int) []registry.Event {
	events := []registry.Event{newApp("web")}
	for i := range machines {
		events = append(events, newMachine("web", fmt.Sprint(prefix, i), i, "started"))
	}
	return events
}

// BenchmarkWrite changes machines in a registry of 10,000, with the given numbers of nodes
// and of writers on each; every writer has a machine of its own. etcd runs on the same
// processors and does not sync its disk.
//
// Last result (2 cores that other work used too, etcd 3.4.23, go test -benchtime 3000x), and
// of the version before it in the same minute, which stored three keys for each machine and
// made one transaction for each write:
//
//	                     writes/s          p99, ms
//	nodes=1/writers=1     1,423 (1,008)     3.8 (6.6)
//	nodes=1/writers=16    5,656 (1,839)      11 (30)
//	nodes=1/writers=64   16,046 (525)        10 (1,540)
//	nodes=3/writers=16    4,786 (1,477)     102 (186)
func BenchmarkWrite(b *testing.B) {
	for _, bench := range []struct{ nodes, writers int }{{1, 1}, {1, 16}, {1, 64}, {3, 16}} {
		b.Run(fmt.Sprintf("nodes=%d/writers=%d", bench.nodes, bench.writers), func(b *testing.B) {
			nodes := loaded(b, bench.nodes, 10_000)
			took := make([]time.Duration, b.N)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for w := range bench.nodes * bench.writers {
				wg.Go(func() {
					for round := 0; ; round++ {
						i := int(next.Add(1)) - 1
						if i >= b.N {
							return
						}
						begun := time.Now()
						nodes[w%bench.nodes].do(b, newMachine("web", fmt.Sprint("w", w), 100_000+w, []string{"started", "stopped"}[round%2]))
						took[i] = time.Since(begun)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
			b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkImport writes 20,000 machines at once into a registry without machines, with
// another node that follows. Last result, as above: 1.4 s (4.3).
func BenchmarkImport(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		nodes := loaded(b, 2, 0)
		events := machinesNamed("m", 20_000)
		b.StartTimer()
		index := nodes[0].do(b, events...)
		if err := nodes[1].wait(b.Context(), int64(index)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRenew puts 1,000 leased machines again, by 16 at a time, in a registry of 10,000.
// Last result, as above: 2,017 renewals/s (1,125).
func BenchmarkRenew(b *testing.B) {
	n := loaded(b, 1, 10_000)[0]
	ttl := 10 * time.Minute
	renew := func() {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for {
					i := int(next.Add(1)) - 1
					if i >= 1000 {
						return
					}
					if _, err := n.tryLease(&ttl, newMachine("web", fmt.Sprint("m", i), i, "started")); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	renew() // the first time it grants
	for b.Loop() {
		renew()
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "renewals/s")
}

// BenchmarkMirror makes the mirror of 50,000 machines, without etcd: what listing costs
// beside the transfer, and what a machine costs in memory beside the store. Last result:
// 479 octets (800 with three keys for each machine), 46 µs on busy processors.
func BenchmarkMirror(b *testing.B) {
	const machines = 50_000
	f := &fakeEtcd{revision: 1, keys: make(map[string]*mvccpb.KeyValue)}
	f.put("apps/fdaa:0:18/web", "{}")
	for i := range machines {
		id := fmt.Sprintf("%014x", i)
		f.put(machineKey(key("web", id), 1), object(id, i, "started"))
	}
	keys := slices.Sorted(maps.Keys(f.keys))
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		m, d := newMirror(), make(dirty)
		for _, key := range keys {
			m.put(f.keys[key], key, nil, d)
		}
		m.facts() // for the store
		m.settle(d, registry.NewStore(nil).Snapshot())
		d = nil
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(m)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/machines, "octets/machine")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/machines, "µs/machine")
}
