package etcd

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// A fakeEtcd is the keys of an epoch, by name.
type fakeEtcd struct {
	revision, head int64
	keys           map[string]*mvccpb.KeyValue
}

func (f *fakeEtcd) put(key, value string) *mvccpb.KeyValue {
	kv := &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: f.revision, CreateRevision: f.revision}
	if old := f.keys[key]; old != nil {
		kv.CreateRevision = old.CreateRevision
	}
	f.keys[key] = kv
	return kv
}

// listed makes the facts of the keys, met in any order.
func (f *fakeEtcd) listed(r *rand.Rand) (*mirror, *registry.Facts) {
	m, d := newMirror(), make(dirty)
	m.head = f.head
	keys := slices.Sorted(maps.Keys(f.keys))
	r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, key := range keys {
		m.put(f.keys[key], key, nil, d)
	}
	for e := range d {
		m.update(e)
	}
	return m, m.facts()
}

// randomPut returns a key and a value of a small registry in which nearly all objects
// exclude each other.
func randomPut(r *rand.Rand) (key, value string) {
	app := []string{"web", "db"}[r.IntN(2)]
	id := fmt.Sprintf("m%d", r.IntN(4))
	addr := r.IntN(4)
	machine := machineKey(registry.MachineKey{App: registry.AppKey{Network: acme, Name: app}, ID: id}, 1+r.IntN(2))
	switch r.IntN(11) {
	case 0, 1:
		return "apps/fdaa:0:18/" + app, []string{"{}", "{}", "{}", "["}[r.IntN(4)]
	case 2, 3, 4, 5:
		return machine, object(id, addr, []string{"started", "stopped", "destroyed"}[r.IntN(3)])
	case 6:
		return machine, []string{"", "{", `{"id":"other"}`, "null", object(id, addr, "")}[r.IntN(5)]
	case 7:
		return "peers/fdaa:0:18/" + []string{"p", "q"}[r.IntN(2)], fmt.Sprintf(`{"address":"%v"}`, address(addr))
	case 8:
		return fmt.Sprintf("flycast/fdaa:0:18/%s/%v", app, address(addr)), "{}"
	case 9:
		return fmt.Sprintf("networks/fdaa:0:%d", 1+r.IntN(3)), fmt.Sprintf(`{"name":"n%d"}`, r.IntN(2))
	default:
		return "regions/" + []string{"xx", "yy", "vms", "Z"}[r.IntN(4)], `{"latitude":1,"longitude":2}`
	}
}

// A node that follows etcd decides as one that lists it, whatever the order.
func TestWhatIsInEffectFollowsFromWhatIsThereAlone(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		f := &fakeEtcd{keys: make(map[string]*mvccpb.KeyValue)}
		store := registry.NewStore(nil)
		m := newMirror()
		for step := range 60 {
			f.revision++
			d := make(dirty)
			if r.IntN(2) == 0 { // a server's write, however wrong
				f.head = f.revision
				m.setHead(f.head, d)
			}
			touched := map[string]bool{}
			for range 1 + r.IntN(4) {
				key, value := randomPut(r)
				if touched[key] {
					continue // etcd refuses a key twice in a transaction
				}
				touched[key] = true
				if r.IntN(4) == 0 {
					delete(f.keys, key)
					m.delete(key, d)
				} else {
					m.put(f.put(key, value), key, nil, d)
				}
			}
			if _, err := store.Apply(settle(m, d, store)); err != nil {
				t.Fatalf("seed %d, step %d: the store refuses %v", seed, step, err)
			}
			other, facts := f.listed(r)
			fresh := registry.NewStore(nil)
			if _, err := fresh.Apply(fresh.Snapshot().Diff(facts)); err != nil {
				t.Fatalf("seed %d, step %d: listed facts are refused: %v", seed, step, err)
			}
			if got, want := digest(store.Snapshot()), digest(fresh.Snapshot()); got != want {
				t.Fatalf("seed %d, step %d: followed\n%s\nlisted\n%s", seed, step, got, want)
			}
			if events := store.Snapshot().Diff(facts); len(events) > 0 {
				t.Fatalf("seed %d, step %d: a listing finds the difference %v", seed, step, events)
			}
			if got, want := quarantine(m), quarantine(other); got != want {
				t.Fatalf("seed %d, step %d: quarantined when followed\n%s\nlisted\n%s", seed, step, got, want)
			}
			if got, want := displaced(m), displaced(other); got != want {
				t.Fatalf("seed %d, step %d: displaced when followed\n%s\nlisted\n%s", seed, step, got, want)
			}
			for _, e := range m.entries {
				if e.live && e.why == "" && e.object != nil {
					t.Fatalf("seed %d, step %d: the mirror holds machine %s, which the store has", seed, step, e.key)
				}
			}
		}
		for _, key := range slices.Sorted(maps.Keys(f.keys)) {
			d := make(dirty)
			m.delete(key, d)
			if _, err := store.Apply(settle(m, d, store)); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(m.entries) + len(m.apps) + len(m.wanted) + len(m.quarantined) + len(m.displaced); n > 0 {
			t.Fatalf("seed %d: the mirror of an empty registry has %d entries", seed, n)
		}
	}
}

func settle(m *mirror, d dirty, store *registry.Store) []registry.Event {
	events, _ := m.settle(d, store.Snapshot())
	return events
}

func quarantine(m *mirror) string {
	s := ""
	for _, key := range slices.Sorted(maps.Keys(m.quarantined)) {
		s += key + ": " + m.quarantined[key].why + "\n"
	}
	return s
}

func displaced(m *mirror) string {
	var keys []string
	for e := range m.displaced {
		keys = append(keys, e.key)
	}
	slices.Sort(keys)
	return strings.Join(keys, "\n")
}

func TestKeysNameOneObjectInOneWay(t *testing.T) {
	for _, key := range []string{
		"apps/fdaa:0:18/web", "machines/fdaa:0:18/web/148e21dad76789", "machines/fdaa:0:18/web/148e21dad76789/2",
		"machines/fdaa:0:18/web/", "machines/fdaa:18:0/web/a%2Fb", "peers/fdaa:0:18/laptop", "flycast/fdaa:0:18/web/fdaa:0:18:0:1::3",
		"networks/fdaa:ffff:ffff", "regions/ams", "rtts/ams/fra",
	} {
		if _, err := parseKey(key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	for _, key := range []string{
		"", "apps", "apps/", "apps/fdaa:0:18", "apps/fdaa:0:18/Web", "apps/fdaa:0:18/web/", "apps/fdaa:0:018/web", "apps/fdaa:0:0/web", "apps/fdaa:0:18::/web",
		"machines/fdaa:0:18/web", "machines/fdaa:0:18/web/a/1", "machines/fdaa:0:18/web/a/02", "machines/fdaa:0:18/web/a/2/3", "machines/fdaa:0:18/web/a%2fb",
		"machines/fdaa:0:18/web/%61", "machines/fdaa:0:18/web/%", "flycast/fdaa:0:18/web/fdaa:0:18:0:1:0:0:3", "flycast/fdaa:0:18/web/x", "rtts/ams", "regions/a/b", "things/x", "regions/AMS", "ids/148e21dad76789",
	} {
		if r, err := parseKey(key); err == nil {
			t.Errorf("%q is accepted as %+v", key, r)
		}
	}
}

// The table in the package's documentation shows keys and values as they are.
func TestTheDocumentedKeysAndValuesAreUnderstood(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	sample := strings.NewReplacer("NETWORK", "fdaa:0:18", "APP", "web", "ID", "148e21dad76789", "ADDRESS", "fdaa:0:18:0:1::3",
		"PEER", "laptop", "CODE", "ams", "FROM", "ams", "TO", "fra", "NAME", "acme")
	kinds := make(map[registry.Kind]bool)
	for _, m := range regexp.MustCompile(`(?m)^//\t([a-z]+/[A-Z/2]+) +(.*)$`).FindAllStringSubmatch(string(text), -1) {
		r, err := parseKey(sample.Replace(m[1]))
		if err != nil {
			t.Errorf("%s: %v", m[1], err)
			continue
		}
		kinds[r.Kind] = true
		if strings.HasPrefix(m[2], "{") {
			if _, err := decode(&r, []byte(strings.Replace(m[2], "fdaa:…", "fdaa:0:18::9", 1)), 1); err != nil {
				t.Errorf("%s is documented as %s: %v", m[1], m[2], err)
			}
		}
	}
	if len(kinds) != 7 {
		t.Errorf("found %d kinds of keys, and there are 7", len(kinds))
	}
}

// A key that is understood is the one that would be written for its object.
func FuzzParseKey(f *testing.F) {
	f.Add("machines/fdaa:0:18/web/a%2Fb/2")
	f.Add("flycast/fdaa:18:0/web/fdaa:0:18:0:1::3")
	f.Add("apps/fdaa:0:18/web")
	f.Fuzz(func(t *testing.T, key string) {
		r, err := parseKey(key)
		if err != nil {
			return
		}
		object := r.Fact()
		switch o := object.(type) {
		case *registry.Machine:
			if r.n > 1 {
				return
			}
		case *registry.Flycast:
			o.Owner, o.App = r.Network, r.Name
		}
		again := keyOf(object)
		if again != key {
			t.Errorf("%q is written %q", key, again)
		}
	})
}

// No key or value makes a node fail: it is in effect, or quarantined.
func FuzzAnyValueIsAppliedOrQuarantined(f *testing.F) {
	f.Add("machines/fdaa:0:18/web/m1", object("m1", 1, "started"))
	f.Add("peers/fdaa:0:18/laptop", `{"address":"fdaa:0:18:a7b:d6b:0:a:102","region":"ams"}`)
	f.Add("regions/ams", `{"latitude":1e400,"longitude":2}`)
	f.Add("rtts/ams/fra", "17")
	f.Add("networks/fdaa:0:18", `{"name":"acme"}`)
	f.Fuzz(func(t *testing.T, key, value string) {
		etcd := &fakeEtcd{revision: 1, keys: make(map[string]*mvccpb.KeyValue)}
		m, d := newMirror(), make(dirty)
		store := registry.NewStore(nil)
		m.put(etcd.put("apps/fdaa:0:18/web", "{}"), "apps/fdaa:0:18/web", nil, d)
		m.put(etcd.put(key, value), key, nil, d)
		if _, err := store.Apply(settle(m, d, store)); err != nil {
			t.Fatalf("the store refuses %v", err)
		}
		if err := store.Snapshot().Facts().Validate(); err != nil {
			t.Fatal(err)
		}
		// What is in effect is written as a value that reads the same.
		for _, e := range m.entries {
			if e.why != "" {
				continue
			}
			r, _ := parseKey(e.key)
			var again []byte
			if r.Kind == registry.KindMachine {
				var err error
				if again, err = format.MachineObject(e.machine(store.Snapshot())); err != nil {
					t.Fatalf("%s cannot be written: %v", e.key, err)
				}
			} else {
				again = encode(e.object)
			}
			if _, err := decode(&r, again, 1); err != nil {
				t.Fatalf("%s is written %q: %v", e.key, again, err)
			}
		}
	})
}
