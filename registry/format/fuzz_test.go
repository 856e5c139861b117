package format

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
)

// Parse never panics. It returns either faults, each with a problem, or valid facts,
// which Write and Parse carry over unchanged. JSON that it accepts is well-formed.
//
// The seeds are the sample and the files in testdata. Found inputs go to testdata/fuzz.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"../../cmd/internaldns/sample/*.json", "testdata/*.yaml", "testdata/bad/*.json", "testdata/bad/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, path := range files {
			content, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(filepath.Ext(path) == ".yaml", content)
		}
	}
	f.Fuzz(func(t *testing.T, yaml bool, content []byte) {
		name := "x.json"
		if yaml {
			name = "x.yaml"
		}
		facts, err := Parse(name, bytes.NewReader(content), nil)
		if err != nil {
			faults, ok := err.(registry.Faults)
			if !ok || len(faults) == 0 {
				t.Fatalf("error %v of type %T, want faults", err, err)
			}
			for _, fault := range faults {
				if fault.Problem == "" {
					t.Errorf("fault without a problem: %+v", fault)
				}
			}
			return
		}
		if !yaml && !jsontext.Value(content).IsValid() {
			t.Error("accepted malformed JSON")
		}
		if err := facts.Validate(); err != nil {
			t.Errorf("accepted invalid facts: %v", err)
		}
		for _, m := range facts.Machines {
			if object := raw(t, m); !yaml && !bytes.Contains(content, []byte(object)) {
				t.Errorf("raw object of %v is not in the file: %s", m, object)
			}
		}
		var text bytes.Buffer
		if err := Write(&text, facts); err != nil {
			t.Fatalf("write the facts: %v", err)
		}
		again, err := Parse("x.json", bytes.NewReader(text.Bytes()), nil)
		if err != nil {
			t.Fatalf("read the facts that were written: %v\n%s", err, text.Bytes())
		}
		if !reflect.DeepEqual(sorted(again), sorted(facts)) {
			t.Errorf("facts\n   read %+v\n  again %+v\nwritten %s", facts, again, text.Bytes())
		}
	})
}

// sorted returns facts in an order that does not depend on the file's.
func sorted(f *registry.Facts) *registry.Facts {
	f = &registry.Facts{
		Networks: slices.Clone(f.Networks), Apps: slices.Clone(f.Apps), Machines: slices.Clone(f.Machines), Peers: slices.Clone(f.Peers),
		Flycast: slices.Clone(f.Flycast), Regions: slices.Clone(f.Regions), RTTs: slices.Clone(f.RTTs),
	}
	slices.SortFunc(f.Networks, func(a, b registry.NetworkName) int { return cmp.Compare(a.Network, b.Network) })
	slices.SortFunc(f.Apps, func(a, b registry.App) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(f.Machines, func(a, b *registry.Machine) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.App, b.App), cmp.Compare(a.ID, b.ID), bytes.Compare(a.Raw, b.Raw))
	})
	slices.SortFunc(f.Peers, func(a, b registry.Peer) int {
		return cmp.Or(cmp.Compare(a.Network(), b.Network()), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(f.Flycast, func(a, b registry.Flycast) int { return a.Address.Compare(b.Address) })
	slices.SortFunc(f.Regions, func(a, b registry.Region) int { return cmp.Compare(a.Code, b.Code) })
	slices.SortFunc(f.RTTs, func(a, b registry.RTT) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	// A nil list is the same as an empty one.
	for _, list := range []any{&f.Networks, &f.Apps, &f.Machines, &f.Peers, &f.Flycast, &f.Regions, &f.RTTs} {
		if v := reflect.ValueOf(list).Elem(); v.Len() == 0 {
			v.SetZero()
		}
	}
	return f
}
