package zone

import (
	"net/netip"
	"testing"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/persist"
)

// The reverse zone changes only if a machine's address changes, or if it gains or loses its
// names.
func TestOnlyAMoveChangesTheReverseZone(t *testing.T) {
	p := NewPublisher(Options{})
	s := registry.NewStore(p.Commit)
	m := registry.Machine{
		Network: 1, App: "web", ID: "a", State: "started", Region: "ams",
		Address: netip.MustParseAddr("fdaa:0:1:a7b:1::2"),
	}
	apply := func(events ...registry.Event) *view {
		if _, err := s.Apply(events); err != nil {
			t.Fatal(err)
		}
		return p.Table().views.Get(networkBits(1), nil)
	}
	before := apply(registry.Put(&registry.App{Network: 1, Name: "web"}), registry.Put(&m))
	for _, tt := range []struct {
		does   string
		to     func()
		writes bool
	}{
		{"stops", func() { m.State = "stopped" }, false},
		{"changes its metadata and region", func() { m.Region, m.Metadata = "iad", []registry.Pair{{Key: "role", Value: "primary"}} }, false},
		{"moves", func() { m.Address = netip.MustParseAddr("fdaa:0:1:a7b:2::2") }, true},
		{"is skipped", func() { m.Skip = true }, true},
		{"starts, still skipped", func() { m.State = "started" }, false},
		{"is skipped no more", func() { m.Skip = false }, true},
		{"is destroyed", func() { m.State = "destroyed" }, true},
	} {
		tt.to()
		after := apply(registry.Put(&m))
		if wrote := after.shown != before.shown || after.hidden != before.hidden; wrote != tt.writes {
			t.Errorf("a machine that %s writes the reverse zone: %v, want %v", tt.does, wrote, tt.writes)
		}
		addr := m.Address.As16()
		o, is := after.at(addr)
		if is == m.Gone() || is && o.addr != addr {
			t.Errorf("of a machine that %s, the address is found: %v, as %v", tt.does, is, o)
		}
		before = after
	}
}

// An app lost its machines when a source put it again with another index.
func TestAnAppThatIsPutAgainKeepsItsMachines(t *testing.T) {
	p := NewPublisher(Options{})
	s := registry.NewStore(p.Commit)
	app := registry.App{Network: 1, Name: "web", Modified: 1}
	m := registry.Machine{
		Network: 1, App: "web", ID: "a", State: "started", Region: "ams",
		Address: netip.MustParseAddr("fdaa:0:1:a7b:1::2"),
	}
	for modified := range uint64(2) {
		app.Modified = 1 + modified
		events := []registry.Event{registry.Put(&app), registry.Put(&m)}
		if _, err := s.Apply(events); err != nil {
			t.Fatal(err)
		}
		v := p.Table().views.Get(networkBits(1), nil)
		if a := v.apps.Get(hashOf([]byte("web")), []byte("web")); a == nil || a.started.Empty() {
			t.Errorf("put with index %d, the app has no started machine", app.Modified)
		}
	}
}

// Each commit has a higher number than the one before. What a commit did not change keeps
// the number of an earlier one.
func TestCommitsAreNumbered(t *testing.T) {
	p := NewPublisher(Options{})
	s := registry.NewStore(p.Commit)
	var before persist.Edit
	for n := range registry.Network(20) {
		name := string('a' + rune(n))
		if _, err := s.Apply([]registry.Event{
			registry.Put(&registry.App{Network: 1, Name: name}),
			registry.Put(&registry.App{Network: 2 + n, Name: "web"}),
		}); err != nil {
			t.Fatal(err)
		}
		v := p.Table().views.Get(networkBits(1), nil)
		if v.edit <= before || v.edit != p.edits {
			t.Fatalf("a commit has number %d after one of %d, and the publisher counts %d", v.edit, before, p.edits)
		}
		for other := 'a'; other <= rune(name[0]); other++ {
			label := []byte(string(other))
			a := v.apps.Get(hashOf(label), label)
			if (a.name == name) != (a.edit == v.edit) {
				t.Errorf("in commit %d, app %s is of %d", v.edit, a.name, a.edit)
			}
		}
		before = v.edit
		p.Ready() // makes a Table without a number
	}
}
