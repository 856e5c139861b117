package crash

import (
	"maps"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"
)

// A lease that ends while no server runs is over before the next server gives its
// first answer. A lease that has not ended goes on.
func TestAKilledServerRevivesNoLease(t *testing.T) {
	dir, err := os.MkdirTemp("", "crash") // a short path: that of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := start(t, dir)
	s.serving(t)
	if status, body, _, err := s.do("POST", "/v1/apps", `{"name":"web","network":"`+network+`"}`); err != nil || status != http.StatusCreated {
		t.Fatalf("the app is answered with %d %s, %v", status, body, err)
	}
	var ids []string
	for i, ttl := range []string{"", "?ttl=1h", "?ttl=1s"} {
		id, text := object(i, i, 0)
		ids = append(ids, id)
		if status, body, _, err := s.do("PUT", "/v1/apps/web/machines/"+id+ttl, text); err != nil || status != http.StatusCreated {
			t.Fatalf("a machine is answered with %d %s, %v", status, body, err)
		}
	}
	over := time.Now().Add(time.Second)
	s.kill()
	time.Sleep(time.Until(over)) // the real clock is meant: no server runs, and the lease on disk ends by the time of day
	for round := range 3 {
		s = start(t, dir)
		addr := s.serving(t)
		if got, want := len(addresses(t, addr)), 2; got != want {
			t.Errorf("restart %d: web.internal is answered with %d addresses, want %d", round, got, want)
		}
		objects, _ := s.machines(t)
		if got := slices.Sorted(maps.Keys(objects)); !slices.Equal(got, ids[:2]) {
			t.Errorf("restart %d: there are the machines %q, want %q", round, got, ids[:2])
		}
		s.kill()
	}
}
