package registry

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

func TestGoneMachinesAreThoseOfTheApp(t *testing.T) {
	s := NewStore(nil)
	n := Network(0x18)
	events := []Event{Put(&App{Network: n, Name: "web"}), Put(&App{Network: n, Name: "db"})}
	for i := range 40 {
		m := &Machine{Network: n, App: "web", ID: fmt.Sprintf("m%02d", i), State: "destroyed"}
		switch i % 4 {
		case 0:
			m.State, m.Region, m.Address = "started", "ams", netip.MustParseAddr(fmt.Sprintf("fdaa:0:18::%x:2", i+1))
		case 1:
			m.App = "db"
		}
		events = append(events, Put(m))
	}
	if _, err := s.Apply(events); err != nil {
		t.Fatal(err)
	}
	var got []string
	for m := range s.Snapshot().GoneMachines(s.Snapshot().App(n, "web")) {
		if !m.Gone() || m.App != "web" {
			t.Errorf("got %v, which is %s", m, m.State)
		}
		got = append(got, m.ID)
	}
	slices.Sort(got)
	if len(slices.Compact(got)) != 20 {
		t.Errorf("got %d gone machines, want 20", len(got))
	}
}

func TestANetworkIsKnownByFactsOrAName(t *testing.T) {
	s := NewStore(nil)
	for _, e := range []Event{
		Put(&NetworkName{Network: 1, Name: "acme"}),
		Put(&App{Network: 2, Name: "web"}),
		Put(&Peer{Name: "laptop", Address: netip.MustParseAddr("fdaa:0:3::1")}),
		Delete(Key{Kind: KindPeer, Network: 3, Name: "laptop"}), // its serial stays
	} {
		if _, err := s.Apply([]Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	for n, want := range []bool{false, true, true, true, false} {
		if got := s.Snapshot().Known(Network(n)); got != want {
			t.Errorf("network %d known: %v, want %v", n, got, want)
		}
	}
	if got := s.Snapshot().NetworkName(1) + "|" + s.Snapshot().NetworkName(2); got != "acme|" {
		t.Errorf("names are %q", got)
	}
}

func TestAReadOnlyKeeperRefusesWrites(t *testing.T) {
	_, err := ReadOnly{}.Write(context.Background(), func(*Snapshot) (Write, error) {
		t.Error("decide was called")
		return Write{}, nil
	})
	if !errors.Is(err, ErrReadOnly) {
		t.Errorf("got %v", err)
	}
	if _, leased := (ReadOnly{}).Lease(MachineKey{}); leased {
		t.Error("has a lease")
	}
}
