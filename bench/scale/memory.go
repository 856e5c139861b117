//go:build linux

package scale

import (
	"bytes"
	"errors"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Memory is what the process holds, in octets.
type Memory struct {
	// Heap is what objects take, without those that nobody refers to any more
	// if a collection was just made.
	Heap uint64 `json:"heap_octets"`
	// Gaps are the room between objects: in size classes that are too large
	// for them, and where others were before.
	Gaps uint64 `json:"gaps_octets"`
	// Resident is what the kernel has given the process, and Peak the most
	// that it had since resetPeak.
	Resident uint64 `json:"resident_octets"`
	Peak     uint64 `json:"peak_octets"`
}

// settled returns the memory that is still held after everything that can be
// given back is.
func settled() Memory {
	runtime.GC()
	debug.FreeOSMemory() // another collection, which frees what the first found finalizers and caches of
	return memory()
}

// memory returns the memory as it is.
func memory() Memory {
	return Memory{Heap: read(heapOctets), Gaps: read(gapOctets), Resident: status("VmRSS:"), Peak: status("VmHWM:")}
}

// resetPeak has Memory.Peak begin at what is resident now (proc_pid_clear_refs(5)).
// Where the kernel does not allow it, the peak is that of the process's life.
func resetPeak() {
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

// status returns a value of /proc/self/status in octets; 0 if there is none.
func status(field string) uint64 { return kibibytes("/proc/self/status", field) }

// Available returns the memory that can be used without swapping, in octets.
func Available() (uint64, error) {
	if n := kibibytes("/proc/meminfo", "MemAvailable:"); n > 0 {
		return n, nil
	}
	return 0, errors.New("/proc/meminfo does not say what memory is available")
}

func kibibytes(path, field string) uint64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(field)); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte(" kB"))), 10, 64)
			if err == nil {
				return n << 10
			}
		}
	}
	return 0
}

// Samples of package runtime/metrics.
const (
	heapOctets       = "/memory/classes/heap/objects:bytes"
	gapOctets        = "/memory/classes/heap/unused:bytes"
	allocatedOctets  = "/gc/heap/allocs:bytes"
	allocatedObjects = "/gc/heap/allocs:objects"
	gcCycles         = "/gc/cycles/total:gc-cycles"
	gcPauses         = "/sched/pauses/total/gc:seconds"
)

func read(name string) uint64 {
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// Collected is what the garbage collector did in some time.
type Collected struct {
	Cycles uint64 `json:"cycles"`
	// Pauses stop the world; most cycles make two. P50 and Max are upper
	// bounds, as exact as the runtime keeps them.
	Pauses uint64        `json:"pauses"`
	P50    time.Duration `json:"pause_p50_ns"`
	Max    time.Duration `json:"pause_max_ns"`
}

// A collector is the state of the garbage collector at one time.
type collector struct {
	cycles uint64
	pauses metrics.Float64Histogram
}

func readCollector() collector {
	s := []metrics.Sample{{Name: gcCycles}, {Name: gcPauses}}
	metrics.Read(s)
	return collector{cycles: s[0].Value.Uint64(), pauses: *s[1].Value.Float64Histogram()}
}

// since returns what was done from before until c.
func (c collector) since(before collector) Collected {
	out := Collected{Cycles: c.cycles - before.cycles}
	for i := range c.pauses.Counts {
		out.Pauses += c.pauses.Counts[i] - before.pauses.Counts[i]
	}
	var sum uint64
	for i := range c.pauses.Counts {
		n := c.pauses.Counts[i] - before.pauses.Counts[i]
		if n == 0 {
			continue
		}
		bound := c.pauses.Buckets[i+1]
		if math.IsInf(bound, 1) {
			bound = c.pauses.Buckets[i]
		}
		if sum*2 < out.Pauses {
			out.P50 = seconds(bound)
		}
		sum += n
		out.Max = seconds(bound)
	}
	return out
}

// cpuTime returns what the process has taken so far, in user and kernel mode.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // its arguments are constants
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
