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
	"syscall"
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

	// maxLife is the longest that a server is left to live, once it serves. A
	// write takes some milliseconds, so most are killed in the middle of many.
	maxLife = 80 * time.Millisecond
	// maxStart is the longest that one is left that is killed while it starts.
	maxStart = 60 * time.Millisecond
)

// However the server is killed, the next one has every write that was
// acknowledged, none that was not sent, and answers with them at once.
func TestAKilledServerLosesNothing(t *testing.T) {
	dir, err := os.MkdirTemp("", "crash") // a short path: that of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	h := &history{machines: make(map[string]*known)}

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
			t.Fatalf("round %d:\n%s\nthe log ends with\n%s\nthe server said\n%s",
				round, strings.Join(faults, "\n"), strings.Join(h.lines, "\n"), strings.Join(s.log, "\n"))
		}
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.wait(); err != nil {
		t.Errorf("the last server ended: %v\n%s", err, strings.Join(s.log, "\n"))
	}
	if _, err := disk.Check(filepath.Join(dir, "data"), nil); err != nil {
		t.Error(err)
	}
	t.Logf("killed %d times while writing and %d times while starting; %d writes sent, %d acknowledged, none lost, none made up; served again after at most %v",
		*rounds, early, h.sent, h.acked, slowest.Round(time.Millisecond))
	if h.acked < *rounds {
		t.Errorf("%d writes were acknowledged in %d rounds; is anything written?", h.acked, *rounds)
	}
}

// writeUntilKilled has all writers write, one request after the other, and kills
// the server meanwhile.
func writeUntilKilled(t *testing.T, s *server, h *history, random *rand.Rand) {
	life := time.Duration(random.Int64N(int64(maxLife)))
	first := random.IntN(1000)
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
					return // the server is dead, and whether it did it will be seen
				}
				if status != http.StatusOK && status != http.StatusCreated {
					t.Errorf("%s of %s is answered with %d %s", method, id, status, body)
					return
				}
				h.ack(id, index)
			}
		})
	}
	time.Sleep(life)
	s.kill()
	all.Wait()
}
