package zone

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/internaldns/internaldns/registry"
)

// Sets of an app that have always been equal are one slice in memory. Once they differ,
// they are two.
func TestEqualSetsAreOne(t *testing.T) {
	p := NewPublisher(Options{})
	s := registry.NewStore(p.Commit)
	put := func(id byte, state, role string) registry.Event {
		return registry.Put(&registry.Machine{
			Network: 1, App: "web", ID: string(id), State: state, Region: "ams",
			Address:  netip.AddrFrom16(address{0: 0xfd, 1: 0xaa, 5: 1, 7: 0x7b, 13: id, 15: 2}),
			Metadata: []registry.Pair{{Key: "role", Value: role}, {Key: "version", Value: "1"}},
		})
	}
	for _, tt := range []struct {
		does   string
		events []registry.Event
		role   string // sets with those of the app: of the role a, and version 1
	}{
		{"begins", []registry.Event{registry.Put(&registry.App{Network: 1, Name: "web"}), put('a', "started", "a"), put('b', "started", "a")}, "one"},
		{"stops a machine", []registry.Event{put('a', "stopped", "a")}, "one"},
		{"starts it, and a third in the same commit", []registry.Event{put('a', "started", "a"), put('c', "started", "a")}, "one"},
		{"gets a machine of another role", []registry.Event{put('d', "started", "b")}, "another"},
		{"loses it", []registry.Event{registry.Delete(registry.Key{Kind: registry.KindMachine, Network: 1, Name: "web", ID: "d"})}, "equal"},
	} {
		if _, err := s.Apply(tt.events); err != nil {
			t.Fatal(err)
		}
		a := p.Table().views.Get(networkBits(1), nil).apps.Get(hashOf([]byte("web")), []byte("web"))
		set := func(labels string) []address {
			return short(t, a.names.Get(hashOf([]byte(labels)), []byte(labels)).started)
		}
		all := short(t, a.started)
		compare := func(b []address) string {
			switch {
			case len(all) == len(b) && &all[0] == &b[0]:
				return "one"
			case slices.Equal(all, b):
				return "equal"
			}
			return "another"
		}
		for _, is := range []struct{ of, got, want string }{
			{"the region", compare(short(t, a.regions[0].started)), "one"},
			{"version 1", compare(set("\x011\x07version\x02kv\x09_metadata")), "one"},
			{"role a", compare(set("\x01a\x04role\x02kv\x09_metadata")), tt.role},
		} {
			if is.got != is.want {
				t.Errorf("when the app %s, its set and that of %s are %s, want %s", tt.does, is.of, is.got, is.want)
			}
		}
	}
}

// short returns the elements of a set that is one slice.
func short(t *testing.T, set addressSet) []address {
	t.Helper()
	elements, ok := set.Short()
	if !ok {
		t.Fatal("the set is more than one slice")
	}
	return elements
}
