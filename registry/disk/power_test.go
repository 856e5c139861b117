//go:build linux

package disk

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A call is a system call of the traced process.
type call struct {
	name   string // pwrite64, fdatasync, …; "line" for a write to standard output
	path   string
	data   []byte
	number int64 // offset or length
	target string
	failed bool
	// begun and ended are lines of the trace. A sync that has ended has made durable
	// every call that ended before the sync began.
	begun, ended int
}

var (
	callLine  = regexp.MustCompile(`^\d+ +(\w+)\((.*)$`)
	resumed   = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	process   = regexp.MustCompile(`^\d+`)
	unquoted  = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"`)
	pathOfFD  = regexp.MustCompile(`^\d+<((?:\\x[0-9a-f]{2})*)`)
	lastInt   = regexp.MustCompile(`, (\d+)\) += `)
	hasFailed = regexp.MustCompile(`\) += -1 `)
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	if err != nil {
		panic(err)
	}
	return b
}

// readTrace reads the output of strace -f -y -xx. Calls are in the order in which they
// ended. Lines to standard output are in the order in which they began: a line counts
// from its first octet.
func readTrace(t testing.TB, path string) []call {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	type open struct {
		text  string
		begun int
	}
	unfinished := make(map[string]open)
	var calls []call
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<28)
	for at := 0; in.Scan(); at++ {
		line, begun := in.Text(), at
		if text, ok := strings.CutSuffix(line, " <unfinished ...>"); ok {
			unfinished[process.FindString(line)] = open{text, at}
			if strings.Contains(line, " write(1<") {
				calls = append(calls, parseCall(t, text+") = 0", at, at)...)
			}
			continue
		}
		if m := resumed.FindStringSubmatch(line); m != nil {
			o := unfinished[m[1]]
			if strings.Contains(o.text, " write(1<") {
				continue
			}
			line, begun = o.text+m[3], o.begun
		}
		calls = append(calls, parseCall(t, line, begun, at)...)
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	return calls
}

func parseCall(t testing.TB, line string, begun, ended int) []call {
	m := callLine.FindStringSubmatch(line)
	if m == nil {
		return nil // a signal, an exit
	}
	c := call{name: m[1], begun: begun, ended: ended, failed: hasFailed.MatchString(line)}
	rest := m[2]
	if p := pathOfFD.FindStringSubmatch(rest); p != nil {
		c.path = string(unhex(p[1]))
	}
	quoted := unquoted.FindAllStringSubmatch(rest, -1)
	if n := lastInt.FindStringSubmatch(rest); n != nil {
		c.number, _ = strconv.ParseInt(n[1], 10, 64)
	}
	switch c.name {
	case "pwrite64":
		c.data = unhex(quoted[0][1])
	case "ftruncate", "fdatasync", "fsync", "pread64":
	case "rename", "renameat", "renameat2":
		c.name, c.path, c.target = "rename", string(unhex(quoted[0][1])), string(unhex(quoted[1][1]))
	case "write":
		if !strings.HasPrefix(rest, "1<") {
			return nil
		}
		var lines []call
		for line := range strings.Lines(string(unhex(quoted[0][1]))) {
			lines = append(lines, call{name: "line", target: strings.TrimSuffix(line, "\n"), begun: begun, ended: ended})
		}
		return lines
	default:
		t.Fatalf("strace shows a call that was not asked for: %s", line)
	}
	return []call{c}
}

// A diskModel is a disk that loses power: what it holds for certain, and the calls of
// which it may hold any part.
type diskModel struct {
	durable []byte
	pending []call // writes and truncations that are not durable
	named   bool   // the file is at its place
	certain bool   // and that is durable
	sent    [childWriters]int
	acked   [childWriters]int
}

// apply makes a call in the model.
func (d *diskModel) apply(t testing.TB, dir string, c call) {
	file := c.path == filepath.Join(dir, fileName) || c.path == filepath.Join(dir, fileName+newSuffix)
	switch {
	case c.name == "line":
		var what string
		var w, n int
		if _, err := fmt.Sscan(c.target, &what, &w, &n); err != nil {
			t.Fatal(err)
		}
		if what == "send" {
			d.sent[w] = n + 1
		} else {
			d.acked[w] = n + 1
		}
	case c.failed:
		t.Fatalf("%s of %s failed", c.name, c.path)
	case c.name == "rename":
		d.named = true
	case c.name == "fsync" && c.path == dir:
		d.certain = d.named
	case !file:
	case c.name == "fsync" || c.name == "fdatasync":
		var later []call
		for _, p := range d.pending {
			if p.ended < c.begun {
				d.durable = writeTo(d.durable, p, nil)
			} else {
				later = append(later, p)
			}
		}
		d.pending = later
	default:
		d.pending = append(d.pending, c)
	}
}

// writeTo returns octets after a call. Only the sectors for which keep returns true are
// written; if keep is nil, all are.
func writeTo(octets []byte, c call, keep func() bool) []byte {
	size := c.number + int64(len(c.data))
	if c.name == "ftruncate" {
		if keep == nil || keep() {
			octets = append(octets, make([]byte, max(0, size-int64(len(octets))))...)[:size]
		}
		return octets
	}
	for i := 0; i < len(c.data); i += sector {
		if keep == nil || keep() {
			part := c.data[i:min(i+sector, len(c.data))]
			end := c.number + int64(i+len(part))
			octets = append(octets, make([]byte, max(0, end-int64(len(octets))))...)
			copy(octets[c.number+int64(i):], part)
		}
	}
	return octets
}

// check loads the file as the disk may hold it after a loss of power.
func (d *diskModel) check(t testing.TB, dir string, keep func() bool, what string) {
	octets := bytes.Clone(d.durable)
	if keep != nil {
		for _, p := range d.pending {
			octets = writeTo(octets, p, keep)
		}
	}
	writeDir(t, dir, octets)
	s, err := tryLoad(dir)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer s.close()
	for w := range childWriters {
		got := listed(s.store.Snapshot(), w)
		if got != after(w, d.acked[w]) && (d.sent[w] == d.acked[w] || got != after(w, d.sent[w])) {
			t.Fatalf("%s: writer %d sent %d writes and had %d acknowledged, and there is\n%swant\n%s",
				what, w, d.sent[w], d.acked[w], got, after(w, d.acked[w]))
		}
	}
}

// Power may be lost at any moment, and of the calls that are not synced any sectors may
// be written. Every write that was acknowledged by then is in the file, and none that
// was not sent.
func TestALossOfPowerLosesNothingThatWasAcknowledged(t *testing.T) {
	needProgram(t, "strace")
	dir, out := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "trace")
	cmd := child(t, "write", dir, "strace", "-f", "-y", "-xx", "-s", "100000000", "-o", out,
		"-e", "trace=pwrite64,fdatasync,fsync,ftruncate,rename,renameat,renameat2,write")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	calls := readTrace(t, out)
	random := rand.New(rand.NewPCG(rand.Uint64(), 1)) // the calls are never the same anyway
	image := memoryDir(t)
	var d diskModel
	points := 0
	for i, c := range calls {
		d.apply(t, dir, c)
		if !d.certain {
			if d.acked != [childWriters]int{} {
				t.Fatal("a write was acknowledged before the name of the file was durable")
			}
			if !d.named {
				continue // there is no file: nothing was acknowledged
			}
		}
		points++
		what := fmt.Sprintf("power lost after call %d of %d, %s", i, len(calls), c.name)
		d.check(t, image, nil, what+", nothing more is written")
		if len(d.pending) == 0 {
			continue
		}
		d.check(t, image, func() bool { return true }, what+", all is written")
		for range 2 * *soak {
			whole := random.IntN(2) == 0 // calls, or sectors
			kept, left := false, 0
			d.check(t, image, func() bool {
				if left == 0 || !whole {
					kept, left = random.IntN(2) == 0, pageSize/sector
				}
				left--
				return kept
			}, what+", some is written")
		}
	}
	for w := range childWriters {
		if d.acked[w] != childSteps {
			t.Errorf("writer %d had %d writes acknowledged, want %d", w, d.acked[w], childSteps)
		}
	}
	t.Logf("%d calls, power lost at %d of them", len(calls), points)
	if points < 60 {
		t.Errorf("power was lost at %d points only, want 60: are calls missing from the trace?", points)
	}
}

// The last writes of a process that was killed may be in the page cache alone. They are
// made durable before they are read: no later write may build on what a loss of power
// takes away.
func TestWhatIsReadAtAStartIsDurable(t *testing.T) {
	needProgram(t, "strace")
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "trace")
	load(t, dir).close()
	cmd := child(t, "write", dir, "strace", "-f", "-y", "-xx", "-s", "100000000", "-o", out, "-e", "trace=fsync,pread64")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	for _, c := range readTrace(t, out) {
		if c.path == filepath.Join(dir, fileName) {
			if c.name != "fsync" || c.failed {
				t.Errorf("the first call on the database is %s, want fsync", c.name)
			}
			return
		}
	}
	t.Error("the database was neither synced nor read")
}
