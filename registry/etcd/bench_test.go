package etcd

import (
	"cmp"
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

// BenchmarkWrite writes machines through one node, as many writers as it says, and
// watches on another when they are visible there. etcd runs beside it and does not
// sync its disk. The lag is from the acknowledgement; 0 is before it.
//
// Last result (2 cores of an AMD EPYC, busy with other work, etcd 3.4.23):
//
//	machines=0/writers=1        2102 writes/s   lag p50 0   p99 0.2 ms
//	machines=0/writers=16       3028 writes/s   lag p50 0   p99 4.4 ms
//	machines=10000/writers=1    1392 writes/s   lag p50 0   p99 0.3 ms
//	machines=10000/writers=16   1508 writes/s   lag p50 0   p99 7.1 ms
func BenchmarkWrite(b *testing.B) {
	for _, machines := range []int{0, 10_000} {
		for _, writers := range []int{1, 16} {
			b.Run(fmt.Sprintf("machines=%d/writers=%d", machines, writers), func(b *testing.B) { benchmarkWrite(b, machines, writers) })
		}
	}
}

func benchmarkWrite(b *testing.B, machines, writers int) {
	s := etcdtest.Start(b)
	here, there := start(b, s), start(b, s)
	events := []registry.Event{newApp("web")}
	for i := range machines {
		events = append(events, newMachine("web", fmt.Sprintf("m%d", i), i, "started"))
	}
	here.do(b, events...)
	if err := there.wait(b.Context(), here.revisionNow()); err != nil {
		b.Fatal(err)
	}

	lags := make([]time.Duration, b.N)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for w := range writers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				m := newMachine("web", fmt.Sprintf("w%d", w), 100_000+w, []string{"started", "stopped"}[i/writers%2]).Fact.(*registry.Machine)
				m.Metadata[0].Value = fmt.Sprint(i)
				m.Raw = nil
				index := here.do(b, registry.Put(m))
				acknowledged := time.Now()
				if err := there.wait(b.Context(), int64(index)); err != nil {
					b.Error(err)
				}
				lags[i] = time.Since(acknowledged)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.SortFunc(lags, cmp.Compare[time.Duration])
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
	b.ReportMetric(float64(lags[len(lags)/2].Microseconds()), "lag-p50-µs")
	b.ReportMetric(float64(lags[len(lags)*99/100].Microseconds()), "lag-p99-µs")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMirror makes the mirror of 50,000 machines with their claims, without
// etcd: what listing costs beside the transfer, and what a machine costs in memory
// beside the store. Last result: 800 octets, 21 µs.
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
		m.settle(d, registry.NewStore(nil).Snapshot(), func(*entry) {})
		d = nil
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(m)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/machines, "octets/machine")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/machines, "µs/machine")
}
