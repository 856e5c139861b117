package zone

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry"
)

// The names that a machine's metadata gives rise to; those that are only above others are in
// parentheses.
func TestNamesOfMetadata(t *testing.T) {
	label := strings.Repeat("x", 63)
	// In wire form 3*64+35, with the key 2, .kv._metadata 13 and web.internal. 14.
	long := strings.Repeat(label+".", 3) + strings.Repeat("y", 34)
	for _, tt := range []struct {
		name     string
		metadata []registry.Pair
		want     string
		unnamed  int
	}{
		{"no metadata", nil, "", 0},
		{"a group", []registry.Pair{{Key: "fly_process_group", Value: "app"}},
			"app.process (process) app.fly_process_group.kv._metadata (fly_process_group.kv._metadata) (kv._metadata) (_metadata)", 0},
		{"an empty group is none, and its entry forms no name", []registry.Pair{{Key: "fly_process_group", Value: ""}}, "", 1},
		{"the older key counts if the newer is empty", []registry.Pair{{Key: "fly_process_group", Value: ""}, {Key: "process_group", Value: "old"}},
			"old.process (process) old.process_group.kv._metadata (process_group.kv._metadata) (kv._metadata) (_metadata)", 1},
		{"a group of two labels", []registry.Pair{{Key: "process_group", Value: "a.b"}},
			"a.b.process (b.process) (process) a.b.process_group.kv._metadata (b.process_group.kv._metadata) (process_group.kv._metadata) (kv._metadata) (_metadata)", 0},
		{"dots in key and value", []registry.Pair{{Key: "b.c", Value: "1.A"}},
			"1.a.b.c.kv._metadata (a.b.c.kv._metadata) (b.c.kv._metadata) (c.kv._metadata) (kv._metadata) (_metadata)", 0},
		{"two entries of one name", []registry.Pair{{Key: "b", Value: "1.a"}, {Key: "a.b", Value: "1"}},
			"1.a.b.kv._metadata (a.b.kv._metadata) (b.kv._metadata) (kv._metadata) (_metadata)", 0},
		{"keys that differ in case", []registry.Pair{{Key: "A", Value: "1"}, {Key: "a", Value: "1"}},
			"1.a.kv._metadata (a.kv._metadata) (kv._metadata) (_metadata)", 0},
		{"a name above another has data too", []registry.Pair{{Key: "a", Value: "1.2"}, {Key: "a", Value: "2"}},
			"1.2.a.kv._metadata 2.a.kv._metadata (a.kv._metadata) (kv._metadata) (_metadata)", 0},
		{"empty labels", []registry.Pair{{Key: "a", Value: ""}, {Key: "", Value: "a"}, {Key: "a", Value: ".b"}, {Key: "a", Value: "b."}, {Key: ".a", Value: "b"}, {Key: "a", Value: "b..c"}}, "", 6},
		{"a label of 63 octets", []registry.Pair{{Key: "a", Value: label}}, label + ".a.kv._metadata (a.kv._metadata) (kv._metadata) (_metadata)", 0},
		{"a label of 64 octets", []registry.Pair{{Key: "a", Value: label + "x"}}, "", 1},
		{"a name of 256 octets", []registry.Pair{{Key: "y", Value: long}}, "", 1},
		{"other octets stay", []registry.Pair{{Key: "É", Value: "a\x00É"}}, "a\x00É.É.kv._metadata (É.kv._metadata) (kv._metadata) (_metadata)", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &registry.Machine{App: "web", Metadata: tt.metadata}
			var all metaNames
			unnamed := all.of(m)
			var got []string
			for _, o := range all.list {
				var labels []string
				for l := string(o.labels); l != ""; l = l[1+l[0]:] {
					labels = append(labels, l[1:1+l[0]])
				}
				name := strings.Join(labels, ".")
				if o.inner {
					name = "(" + name + ")"
				}
				got = append(got, name)
			}
			want := strings.Fields(tt.want)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) || unnamed != tt.unnamed {
				t.Errorf("%+v\n got %q, %d without a name\nwant %q, %d", tt.metadata, got, unnamed, want, tt.unnamed)
			}
		})
	}
}

// A name may have at most 255 octets, with the app and internal. behind it.
func TestLongestNameOfMetadata(t *testing.T) {
	for _, app := range []string{"a", "web", strings.Repeat("x", 63)} {
		last := 0
		for n := 1; n <= 250; n++ {
			var value string
			for left := n; left > 0; left -= 64 {
				value += strings.Repeat("v", min(left, 63)) + "."
			}
			value = strings.TrimSuffix(value, ".")
			var all metaNames
			if all.of(&registry.Machine{App: app, Metadata: []registry.Pair{{Key: "k", Value: value}}}) == 0 {
				last = len(all.list[0].labels) + 1 + len(app) + len("\x08internal\x00")
			}
		}
		if last != 255 {
			t.Errorf("the longest name under app %.10q takes %d octets, want 255", app, last)
		}
	}
}

// Pings are the registry's, between any two regions, however late a region got its number.
func TestPingsAreTheRegistrys(t *testing.T) {
	s := registry.NewStore(nil)
	c := make(codes)
	c.number("zzz") // a machine's region, at an unknown place
	events := [][]registry.Event{
		{registry.Put(&registry.Region{Code: "lab", Latitude: 48.2, Longitude: 16.37})},
		{registry.Put(&registry.RTT{From: "lab", To: "zzz", MS: 7}), registry.Put(&registry.RTT{From: "ams", To: "lab", MS: 0})},
		{registry.Put(&registry.RTT{From: "new1", To: "new2", MS: 1<<32 - 1}), registry.Delete(registry.Key{Kind: registry.KindRegion, Name: "lab"})},
		{registry.Delete(registry.Key{Kind: registry.KindRTT, Name: "lab", ID: "zzz"}), registry.Delete(registry.Key{Kind: registry.KindRTT, Name: "ams", ID: "lab"})},
	}
	for step, batch := range events {
		if _, err := s.Apply(batch); err != nil {
			t.Fatal(err)
		}
		facts := s.Snapshot().Geography()
		g := newGeography(facts, c)
		c.number(fmt.Sprint("late", step)) // its number is past the end of g's rows
		known := append(facts.Codes(), "zzz", "nowhere", "", fmt.Sprint("late", step))
		for _, from := range known {
			row := g.from(g.number(from))
			for _, to := range known {
				got := uint64(unknownPing)
				if number := c[to]; from == to && from != "" {
					got = 0 // decided by the code, so that unknown regions are near themselves
				} else if number != 0 && int(number) < len(row) {
					got = row[number]
				}
				want := uint64(unknownPing)
				if ms, ok := facts.Ping(from, to); ok {
					want = uint64(ms)
				}
				if got != want {
					t.Errorf("step %d: from %q to %q is %d ms, want %d", step, from, to, got, want)
				}
			}
		}
	}
}
