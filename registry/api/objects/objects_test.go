package objects

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/internaldns/internaldns/registry"
)

func TestAPreconditionIsMetOrFailsWith412(t *testing.T) {
	const met = 0
	for _, tt := range []struct {
		header, value string
		exists        bool
		modified      uint64
		want          int
	}{
		{"If-Match", `"7"`, true, 7, met},
		{"If-Match", " 7 ", true, 3, met},
		{"If-Match", "7", true, 8, http.StatusPreconditionFailed},
		{"If-Match", "7", false, 0, http.StatusPreconditionFailed},
		{"If-Match", "*", true, 99, met},
		{"If-Match", "*", false, 0, http.StatusPreconditionFailed},
		{"If-Match", `"7`, true, 7, http.StatusBadRequest},
		{"If-Match", "-1", true, 7, http.StatusBadRequest},
		{"If-None-Match", "*", false, 0, met},
		{"If-None-Match", "*", true, 7, http.StatusPreconditionFailed},
		{"If-None-Match", "7", false, 0, http.StatusBadRequest},
		{"Accept", "*/*", true, 7, met},
		{"Accept", "*/*", false, 0, met},
	} {
		p, err := ParsePrecondition(http.Header{tt.header: {tt.value}})
		if err == nil {
			err = p.Check(tt.exists, tt.modified)
		}
		got := met
		if f, ok := err.(*Failure); ok {
			got = f.Status
		}
		if got != tt.want {
			t.Errorf("%s: %s of an object that exists: %v, changed at %d: status %d, want %d", tt.header, tt.value, tt.exists, tt.modified, got, tt.want)
		}
	}
}

// Identifiers of versions sort by the time at which they were made.
func TestInstanceIDsSortByTime(t *testing.T) {
	now := time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	var ids []string
	for i := range 100 {
		ids = append(ids, newInstanceID(now.Add(time.Duration(i)*17*time.Millisecond)))
	}
	if !slices.IsSorted(ids) || len(ids[0]) != 26 {
		t.Errorf("made %v", ids)
	}
}

// Flycast addresses are the lowest free ones.
func TestFlycastAddressesAreAllocatedInOrder(t *testing.T) {
	store := registry.NewStore(nil)
	const n = registry.Network(0x18)
	if _, err := store.Apply([]registry.Event{registry.Put(&registry.App{Network: n, Name: "web"})}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"fdaa:0:18:0:1::3", "fdaa:0:18:0:2::3", "fdaa:0:18:0:3::3"} {
		addr, err := NewFlycastAddress(store.Snapshot(), n)
		if err != nil || addr.String() != want {
			t.Fatalf("allocated %v, %v; want %s", addr, err, want)
		}
		f := &registry.Flycast{Address: addr, App: "web", Owner: n}
		if _, err := store.Apply([]registry.Event{registry.Put(f)}); err != nil {
			t.Fatal(err)
		}
	}
}
