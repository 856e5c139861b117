package crash

import (
	"flag"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/internaldns/internaldns/registry/disk"
	"github.com/internaldns/internaldns/test/internal/program"
)

var rounds = flag.Int("rounds", defaultRounds(), "how often the server is killed")

func defaultRounds() int {
	if os.Getenv("CI") == "true" {
		return 100
	}
	return 15
}

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

const (
	writers = 16
	each    = 4 // machines of a writer

	// A server is killed after fewer than maxAcked writes were acknowledged, and up
	// to maxExtra later. A commit takes about that long, so most servers are killed
	// in the middle of one.
	maxAcked = 300
	maxExtra = 3 * time.Millisecond
	// A server that is killed while it starts is killed within maxStart.
	maxStart = 60 * time.Millisecond
)

// At whatever moment the server is killed: the next one has every write that was
// acknowledged and none that was not sent, and its first answers have them.
func TestAKilledServerLosesNothing(t *testing.T) {
	dir, err := os.MkdirTemp("", "crash") // a short path: that of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	h := &history{machines: make(map[string]*expected)}

	s := start(t, dir)
	s.serving(t)
	if status, body, _, err := s.do("POST", "/v1/apps", `{"name":"web","network":"`+network+`"}`); err != nil || status != http.StatusCreated {
		t.Fatalf("the app is answered with %d %s, %v", status, body, err)
	}
	var slowest time.Duration
	early := 0
	for round := range *rounds {
		writeUntilKilled(t, s, h, random)
		begun := time.Now()
		for s = start(t, dir); random.IntN(6) == 0; s = start(t, dir) {
			// The real clock is meant: any moment of the start is a good one.
			time.Sleep(time.Duration(random.Int64N(int64(maxStart))))
			s.kill()
			early++
			begun = time.Now()
		}
		addr := s.serving(t)
		slowest = max(slowest, time.Since(begun))
		objects, index := s.machines(t)
		faults := h.compare(objects, index)
		if got, want := addresses(t, addr), started(t, objects); !slices.Equal(got, want) {
			faults = append(faults, "web.internal is answered with\n"+strings.Join(got, " ")+"\nwant\n"+strings.Join(want, " "))
		}
		if len(faults) > 0 {
			s.kill()
			t.Fatalf("round %d:\n%s\nthe history ends with\n%s\nthe log of the server is\n%s",
				round, strings.Join(faults, "\n"), strings.Join(h.lines, "\n"), s.Log())
		}
	}
	s.Stop(t)
	if _, err := disk.Check(filepath.Join(dir, "data"), nil); err != nil {
		t.Error(err)
	}
	t.Logf("killed %d times while writing and %d times while starting; %d writes sent, %d acknowledged, none lost, none invented; served again after at most %v",
		*rounds, early, h.sent, h.acked, slowest.Round(time.Millisecond))
	if h.acked < *rounds {
		t.Errorf("%d writes were acknowledged in %d rounds, want more", h.acked, *rounds)
	}
}

// writeUntilKilled has all writers write, one request after the other, and kills the
// server when a random number of writes was acknowledged.
func writeUntilKilled(t *testing.T, s *server, h *history, random *rand.Rand) {
	first, last := random.IntN(1000), random.Int64N(maxAcked)
	var acked atomic.Int64
	enough := make(chan struct{})
	if last == 0 {
		close(enough)
	}
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := first; ; n++ {
				id, text := object(w, n%each, n)
				method := "PUT"
				if n%7 == 6 && h.current(id) != "" {
					method, text = "DELETE", ""
				}
				h.send(id, text)
				status, body, index, err := s.do(method, "/v1/apps/web/machines/"+id, text)
				if err != nil {
					return // the server is dead; the next one shows whether it made the write
				}
				if status != http.StatusOK && status != http.StatusCreated {
					t.Errorf("%s of %s is answered with %d %s", method, id, status, body)
					return
				}
				h.ack(id, index)
				if acked.Add(1) == last {
					close(enough)
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	select {
	case <-enough:
	case <-ended: // each has reported why
	}
	// The real clock is meant: it only varies where in a commit the server dies.
	time.Sleep(time.Duration(random.Int64N(int64(maxExtra))))
	s.kill()
	<-ended
}
