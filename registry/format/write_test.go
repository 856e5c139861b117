package format

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry"
)

// written returns the registry file of f.
func written(t testing.TB, f *registry.Facts) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWrite(t *testing.T) {
	network, _ := registry.ParseNetwork("fdaa:0:18::/48")
	addr := netip.MustParseAddr
	f := &registry.Facts{
		Apps: []registry.App{{Network: network, Name: "web"}, {Network: network, Name: "asleep"}},
		Machines: []*registry.Machine{
			{Network: network, App: "web", ID: "b", State: "started", Region: "ams", Address: addr("fdaa:0:18::b"),
				Metadata: []registry.Pair{{Key: "a", Value: "\"<é>\n"}, {Key: "b", Value: ""}}, Skip: true},
			{Network: network, App: "web", ID: "a", State: "stopped", Region: "ams", Address: addr("fdaa:0:18::a"),
				Raw: registry.NewRaw([]byte(`{"id":"A", "state":"stopped","region":"ams","private_ip":"fdaa:0:18::a","unread":1.0}`))},
			{Network: network, App: "web", State: "destroyed"},
		},
		Peers:    []registry.Peer{{Name: "q", Address: addr("fdaa:0:18::d"), Region: "fra"}, {Name: "p", Address: addr("fdaa:0:18::c")}},
		Flycast:  []registry.Flycast{{Address: addr("fdaa:0:18:0:1::7"), App: "web", Owner: network}, {Address: addr("fdaa:0:18:0:1::3"), App: "web", Owner: network}},
		Networks: []registry.NetworkName{{Network: network, Name: "default"}},
		Regions:  []registry.Region{{Code: "lab", Name: "Lab, Vienna", Latitude: 48.2, Longitude: -1e-7}},
		RTTs:     []registry.RTT{{From: "sjc", To: "ams", MS: 135}, {From: "lab", To: "iad", MS: 90}, {From: "lab", To: "fra"}},
	}
	const want = `{
 "apps": [
  {"name": "asleep", "network": "fdaa:0:18::/48", "machines": []},
  {"name": "web", "network": "fdaa:0:18::/48", "flycast": ["fdaa:0:18:0:1::3", "fdaa:0:18:0:1::7"], "machines": [
   {"id": "", "state": "destroyed", "region": "", "config": {"metadata": {}}},
   {"id":"A", "state":"stopped","region":"ams","private_ip":"fdaa:0:18::a","unread":1.0},
   {"id": "b", "state": "started", "region": "ams", "private_ip": "fdaa:0:18::b", "config": {"metadata": {"a": "\"<é>\n", "b": ""}, "dns": {"skip_registration": true}}}]}
 ],
 "peers": [
  {"name": "p", "address": "fdaa:0:18::c"},
  {"name": "q", "address": "fdaa:0:18::d", "region": "fra"}
 ],
 "networks": [
  {"name": "default", "prefix": "fdaa:0:18::/48"}
 ],
 "regions": [
  {"code": "lab", "name": "Lab, Vienna", "latitude": 48.2, "longitude": -1e-07}
 ],
 "rtt_ms": {
  "lab": {"fra": 0, "iad": 90},
  "sjc": {"ams": 135}
 }
}
`
	if got := written(t, f); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := written(t, mustParse(t, "x.json", want)); got != want {
		t.Errorf("read and written again\n%s\nwant\n%s", got, want)
	}
	if got, want := written(t, &registry.Facts{}), "{\n \"apps\": [\n ]\n}\n"; got != want {
		t.Errorf("no facts are written as %q, want %q", got, want)
	}
}

func TestWrittenFactsAreReadBackEqual(t *testing.T) {
	for _, path := range []string{"../../cmd/internaldns/sample/org.json", "testdata/org.yaml"} {
		f := mustParse(t, path, readFile(t, path))
		again := mustParse(t, "x.json", written(t, f))
		if !reflect.DeepEqual(sorted(again), sorted(f)) {
			t.Errorf("%s: facts\n written %+v\n    read %+v", path, f, again)
		}
	}
}

func TestEqualFactsAreWrittenEqual(t *testing.T) {
	f := mustParse(t, "org.json", readFile(t, "../../cmd/internaldns/sample/org.json"))
	want := written(t, f)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		shuffle(rng, f.Apps)
		shuffle(rng, f.Machines)
		shuffle(rng, f.Peers)
		shuffle(rng, f.Flycast)
		shuffle(rng, f.RTTs)
		if got := written(t, f); got != want {
			t.Fatalf("in another order\n%s\nwant\n%s", got, want)
		}
	}
}

func shuffle[T any](rng *rand.Rand, s []T) {
	rng.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}

// full is a writer that fails after so many octets.
type full int

var errFull = errors.New("no space left on device")

func (f *full) Write(p []byte) (int, error) {
	if *f -= full(len(p)); *f < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteReturnsTheWritersError(t *testing.T) {
	var b bytes.Buffer
	writeRegistry(&b, 100)
	f := mustParse(t, "x.json", b.String())
	size := len(written(t, f))
	for room := 0; room < size; room += size / 7 {
		w := full(room)
		if err := Write(&w, f); !errors.Is(err, errFull) {
			t.Errorf("with room for %d of %d octets: got error %v, want %v", room, size, err, errFull)
		}
	}
}

func TestWriteRefusesValuesThatJSONCannotHold(t *testing.T) {
	for _, r := range []registry.Region{
		{Code: "lab", Name: "caf\xe9"}, {Code: "lab", Latitude: math.NaN()}, {Code: "lab", Longitude: math.Inf(1)},
	} {
		if err := Write(io.Discard, &registry.Facts{Regions: []registry.Region{r}}); err == nil || !strings.Contains(err.Error(), "cannot be written as JSON") {
			t.Errorf("%+v: got error %v", r, err)
		}
	}
	network, _ := registry.ParseNetwork("fdaa:0:18::/48")
	f := &registry.Facts{
		Apps:     []registry.App{{Network: network, Name: "web"}},
		Machines: []*registry.Machine{{Network: network, App: "web", ID: "a", Raw: registry.Raw("not compressed")}},
	}
	if err := Write(io.Discard, f); err == nil || !strings.HasPrefix(err.Error(), `machine "a" of app "web": `) {
		t.Errorf("a stored object that cannot be read: got error %v", err)
	}
}
