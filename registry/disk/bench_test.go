package disk

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/internaldns/internaldns/registry"
)

var benchMachines = flag.Int("disk.machines", 100_000, "machines in the benchmarks of large databases")

// benchEvents puts so many machines as flyctl leaves them, ten in an app.
func benchEvents(machines int) []registry.Event {
	r := rand.New(rand.NewPCG(1, 2))
	regions := []string{"ams", "fra", "iad", "ord", "sin", "syd"}
	var events []registry.Event
	for i := range (machines + 9) / 10 {
		name := fmt.Sprintf("app-%06d", i)
		events = append(events, registry.Put(&registry.App{Network: network, Name: name}))
		release := fmt.Sprintf("%026x", r.Uint64())
		for range min(10, machines-i*10) {
			b := [16]byte{0xfd, 0xaa}
			binary.BigEndian.PutUint32(b[2:], uint32(network))
			binary.BigEndian.PutUint64(b[6:], r.Uint64())
			b[15] = 2
			m := &registry.Machine{
				Network: network, App: name, ID: fmt.Sprintf("%014x", r.Uint64()>>8), State: registry.StateStarted,
				Region: regions[r.IntN(6)], Address: netip.AddrFrom16(b),
				Metadata: []registry.Pair{
					{Key: "fly_flyctl_version", Value: "0.3.150"}, {Key: "fly_platform_version", Value: "v2"},
					{Key: "fly_process_group", Value: "app"}, {Key: "fly_release_id", Value: release}, {Key: "fly_release_version", Value: "17"},
				},
			}
			m.Raw = registry.NewRaw(benchObject(m))
			events = append(events, registry.Put(m))
		}
	}
	return events
}

func benchObject(m *registry.Machine) []byte {
	b := fmt.Appendf(nil, `{"id":%q,"name":"aged-wind-%s","state":%q,"region":%q,"instance_id":"01HQ3V9M7Z2W5X8Y4N%s","private_ip":%q,"config":{"init":{},"image":"registry.fly.io/%s:deployment-01HQ3V9M7Z2W5X8Y4N6P0R1S2T","guest":{"cpu_kind":"shared","cpus":1,"memory_mb":256},"metadata":{`,
		m.ID, m.ID[:4], m.State, m.Region, m.ID[:8], m.Address, m.App)
	for i, p := range m.Metadata {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "%q:%q", p.Key, p.Value)
	}
	return append(b, `}},"image_ref":{"registry":"registry.fly.io","repository":"web","tag":"deployment-01"},"created_at":"2026-10-31T02:30:10Z","updated_at":"2026-10-31T02:35:26Z"}`...)
}

// Last results: 2026-11-21, commit 71daa97, Go 1.26.8, ext4, 2 CPUs of an AMD EPYC
// that had twice as much other work (a load of 5). What a sync takes there varies
// from 0.3 to 3 ms, and with it the writes; how many share one does not.
//
//	Write/1                 2336 writes/s     1.0 writes/sync
//	Write/16               11627 writes/s     7.8 writes/sync
//	Write/64               18734 writes/s    31.3 writes/sync
//	Large/Load/1000000       8.2 s           5.5 s of CPU      482 octets/machine
//	Large/Read/1000000       2.0 s           the part of that which is the file: every checksum compared, all decoded
//	Large/Skim/1000000       0.5 s           the same without decoding, as after a failure
//
// The rest of Load is one Store.ApplyAt. Importing the million in one write took
// 19 s; then a write of one machine 2 ms.

// Writers that each put one machine after another, in a registry of 1,000 machines.
func BenchmarkWrite(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s := serve(b, b.TempDir())
			s.put(b, benchEvents(1000)...)
			s.put(b, app)
			before := s.Status().Commits
			b.ResetTimer()
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					for n := range (b.N - w + writers - 1) / writers {
						s.put(b, putMachine(w*100+n%100, []string{"started", "stopped"}[n/100%2]))
					}
				})
			}
			all.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			b.ReportMetric(float64(b.N)/float64(max(1, s.Status().Commits-before)), "writes/sync")
			s.stop(b)
		})
	}
}

// An import of a large registry in one write, then single writes, and the start.
func BenchmarkLarge(b *testing.B) {
	dir := b.TempDir()
	s := serve(b, dir)
	events := benchEvents(*benchMachines)
	begun := time.Now()
	s.put(b, events...)
	b.Logf("imported %d machines in %v", *benchMachines, time.Since(begun))
	begun = time.Now()
	for range 20 {
		s.put(b, app, putMachine(1, "started"))
		s.put(b, app, putMachine(1, "stopped"))
	}
	b.Logf("a write of one machine takes %v", time.Since(begun)/40)
	s.stop(b)
	s, events = nil, nil
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil {
		b.Fatal(err)
	}
	b.Run(fmt.Sprint("Load/", *benchMachines), func(b *testing.B) {
		var cpu time.Duration
		n := 0
		for b.Loop() {
			b.StopTimer()
			runtime.GC()
			b.StartTimer()
			before := cpuTime(b)
			s := load(b, dir)
			cpu += cpuTime(b) - before
			n++
			b.StopTimer()
			s.close()
			b.StartTimer()
		}
		b.ReportMetric(cpu.Seconds()/float64(n), "cpu-s/op")
		b.ReportMetric(float64(info.Size())/float64(*benchMachines), "octets/machine")
	})
	b.Run(fmt.Sprint("Read/", *benchMachines), func(b *testing.B) {
		for b.Loop() {
			if _, err := readFile(filepath.Join(dir, fileName), readOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run(fmt.Sprint("Skim/", *benchMachines), func(b *testing.B) {
		for b.Loop() {
			if _, err := readFile(filepath.Join(dir, fileName), readOptions{skim: true}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// cpuTime returns the CPU time that the process has used. On a busy machine it says more
// than the clock.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
