//go:build linux

package scale

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/internaldns/internaldns/bench/harness"
)

// Memory is what the process holds, in octets.
type Memory struct {
	// Heap is the size of all objects: only of live ones, if a collection was just
	// made.
	Heap uint64 `json:"heap_octets"`
	// Gaps is the room in the heap between objects, which is lost to size classes
	// and to objects that are gone.
	Gaps uint64 `json:"gaps_octets"`
	// Resident is what the kernel has given the process, and Peak the most that it
	// had since resetPeak.
	Resident uint64 `json:"resident_octets"`
	Peak     uint64 `json:"peak_octets"`
}

// settled returns the memory that is held once everything that can be given back
// is.
func settled() Memory {
	runtime.GC()
	debug.FreeOSMemory() // collects again what the first collection left to finalizers and caches
	return memory()
}

// memory returns the memory that is held now.
func memory() Memory {
	const status = "/proc/self/status"
	return Memory{
		Heap: read("/memory/classes/heap/objects:bytes"), Gaps: read("/memory/classes/heap/unused:bytes"),
		Resident: harness.ProcField(status, "VmRSS:"), Peak: harness.ProcField(status, "VmHWM:"),
	}
}

// resetPeak makes Memory.Peak begin at what is resident now (proc_pid_clear_refs(5)).
// Where the kernel does not allow it, the peak is that of the life of the process.
func resetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// read returns a sample of package runtime/metrics.
func read(name string) uint64 {
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// Usage is what this process used in some time.
type Usage struct {
	Elapsed time.Duration `json:"elapsed_ns"`
	CPU     time.Duration `json:"cpu_ns"`  // user and kernel mode, collections included
	Octets  uint64        `json:"octets"`  // allocated
	Objects uint64        `json:"objects"` // allocated
	// Cycles are the collections, and Pauses how often they stopped the world; most
	// stop it twice. PauseP50 and PauseMax are upper bounds, as exact as the runtime
	// keeps them.
	Cycles   uint64        `json:"gc_cycles"`
	Pauses   uint64        `json:"gc_pauses"`
	PauseP50 time.Duration `json:"gc_pause_p50_ns"`
	PauseMax time.Duration `json:"gc_pause_max_ns"`
}

// use returns a function that returns what was used since.
func use() (used func() Usage) {
	begin := readUsage()
	return func() Usage { return readUsage().since(begin) }
}

// reading is what this process has used until now.
type reading struct {
	time   time.Time
	use    Usage // of the whole life of the process; no pauses
	pauses metrics.Float64Histogram
}

func readUsage() reading {
	s := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	return reading{time.Now(), Usage{
		CPU: harness.CPUTime(os.Getpid()), Octets: read("/gc/heap/allocs:bytes"), Objects: read("/gc/heap/allocs:objects"), Cycles: read("/gc/cycles/total:gc-cycles"),
	}, *s[0].Value.Float64Histogram()}
}

func (r reading) since(begin reading) Usage {
	u := Usage{
		Elapsed: r.time.Sub(begin.time), CPU: r.use.CPU - begin.use.CPU,
		Octets: r.use.Octets - begin.use.Octets, Objects: r.use.Objects - begin.use.Objects, Cycles: r.use.Cycles - begin.use.Cycles,
	}
	for i := range r.pauses.Counts {
		u.Pauses += r.pauses.Counts[i] - begin.pauses.Counts[i]
	}
	var sum uint64
	for i := range r.pauses.Counts {
		n := r.pauses.Counts[i] - begin.pauses.Counts[i]
		if n == 0 {
			continue
		}
		bound := r.pauses.Buckets[i+1]
		if math.IsInf(bound, 1) {
			bound = r.pauses.Buckets[i]
		}
		u.PauseMax = time.Duration(bound * float64(time.Second))
		if sum*2 < u.Pauses {
			u.PauseP50 = u.PauseMax
		}
		sum += n
	}
	return u
}
