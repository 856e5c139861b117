package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
)

// mustParse parses a valid registry file.
func mustParse(t testing.TB, name, content string) *registry.Facts {
	t.Helper()
	facts, err := Parse(name, strings.NewReader(content), nil)
	if err != nil {
		t.Fatalf("parse %s: %v", name, err)
	}
	return facts
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// machine returns the only machine of that id.
func machine(t testing.TB, f *registry.Facts, id string) *registry.Machine {
	t.Helper()
	var found *registry.Machine
	for _, m := range f.Machines {
		if m.ID == id {
			if found != nil {
				t.Fatalf("two machines %q", id)
			}
			found = m
		}
	}
	if found == nil {
		t.Fatalf("no machine %q", id)
	}
	return found
}

// raw returns the object that a machine was read from.
func raw(t testing.TB, m *registry.Machine) string {
	t.Helper()
	b, err := m.Raw.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// one is a registry of one app, web, with one machine. It has the required fields and
// those in the text object.
func one(object string) string {
	return `{"apps": [{"name": "web", "machines": [{"id": "148e21dad76789", "state": "started", "region": "ams",` +
		` "private_ip": "fdaa:0:18:a7b:7d:f066:b83b:2"` + object + `}]}]}`
}

func TestParseOrg(t *testing.T) {
	f := mustParse(t, "org.json", readFile(t, "../../cmd/internaldns/sample/org.json"))
	got := fmt.Sprint(len(f.Apps), len(f.Machines), len(f.Peers), len(f.Flycast), len(f.Regions), len(f.RTTs), len(f.Networks))
	if want := "6 13 3 3 1 2 0"; got != want {
		t.Errorf("apps, machines, peers, Flycast addresses, regions, round trips, networks\n got %s\nwant %s", got, want)
	}
	network, _ := registry.ParseNetwork("fdaa:0:18::/48")
	m := machine(t, f, "148e21dad76789")
	want := &registry.Machine{
		Network: network, App: "web", ID: "148e21dad76789", State: "started", Region: "ams",
		Address: netip.MustParseAddr("fdaa:0:18:a7b:7d:f066:b83b:2"),
		Metadata: []registry.Pair{
			{Key: "fly_platform_version", Value: "v2"}, {Key: "fly_process_group", Value: "app"},
			{Key: "role", Value: "Primary"}, {Key: "version", Value: "1.2.3"},
		},
		Raw: m.Raw,
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("machine\n got %+v\nwant %+v", *m, *want)
	}
	if m := machine(t, f, "d891234f5e6789"); !m.Skip {
		t.Error("config.dns.skip_registration of d891234f5e6789 was not read")
	}
	if want := (registry.Region{Code: "lab", Name: "Lab, Vienna", Latitude: 48.2, Longitude: 16.37}); f.Regions[0] != want {
		t.Errorf("region\n got %+v\nwant %+v", f.Regions[0], want)
	}
	if want := (registry.RTT{From: "sjc", To: "ams", MS: 135}); f.RTTs[0] != want {
		t.Errorf("round trip\n got %+v\nwant %+v", f.RTTs[0], want)
	}
}

func TestYAMLGivesTheFactsOfTheSameJSON(t *testing.T) {
	got := mustParse(t, "org.yaml", readFile(t, "testdata/org.yaml"))
	want := mustParse(t, "org.json", readFile(t, "../../cmd/internaldns/sample/org.json"))
	for _, f := range []*registry.Facts{got, want} {
		for _, m := range f.Machines {
			object := jsontext.Value(raw(t, m))
			if err := object.Compact(); err != nil {
				t.Fatal(err)
			}
			if m.ID == "5683d56ea79d28" || m.ID == "6e82de14c35038" {
				// In YAML customer_id is a number, where a string is wanted.
				if !bytes.Contains(object, []byte(`"customer_id":"`)) {
					t.Errorf("%s: customer_id is no string in %s", m.ID, object)
				}
			}
			m.Raw = registry.NewRaw(object)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("facts\n from YAML %+v\n from JSON %+v", got, want)
	}
}

// Fields of a machine's object that are not read are stored octet for octet.
func TestRawIsTheObjectAsItCame(t *testing.T) {
	object := "{ \"id\":\"148e21dad76789\",\t\"state\": \"started\",\n\"region\":\"ams\",\"private_ip\":\"fdaa:0:18:a7b:7d:f066:b83b:2\",\r\n" +
		`"big": 12345678901234567890123456789, "float": 1.10, "text": "\u00e9\/<&>", "zero": -0.0e+0, "nested": {"list": [ 1 , [ ] ] } }`
	f := mustParse(t, "x.json", `{"apps": [{"name": "web", "machines": [ `+object+` ]}]}`)
	if got := raw(t, f.Machines[0]); got != object {
		t.Errorf("raw object\n got %q\nwant %q", got, object)
	}
}

func TestNamesFoldToLowerCase(t *testing.T) {
	f := mustParse(t, "x.json", `{"apps": [{"name": "WeB", "network": "FDAA:0:18::/48", "machines": [
		{"id": "148E21DAD76789", "state": "started", "region": "AMS", "private_ip": "FDAA:0:18:A7B:7D:F066:B83B:2", "config": {"metadata": {"Role": "Primary"}}}]}],
		"peers": [{"name": "My-Peer", "address": "fdaa:0:18:a7b:d6b:0:a:102", "region": "FRA"}],
		"networks": [{"name": "Default", "prefix": "fdaa:0:18::/48"}],
		"regions": [{"code": "LAB", "name": "Lab, Vienna", "latitude": 48.2, "longitude": 16.37}],
		"rtt_ms": {"SJC": {"Ams": 135}}}`)
	m := f.Machines[0]
	got := []string{f.Apps[0].Name, m.App, m.ID, m.Region, f.Peers[0].Name, f.Peers[0].Region, f.Networks[0].Name, f.Regions[0].Code, f.RTTs[0].From, f.RTTs[0].To}
	want := []string{"web", "web", "148e21dad76789", "ams", "my-peer", "fra", "default", "lab", "sjc", "ams"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("names\n got %q\nwant %q", got, want)
	}
	if p := (registry.Pair{Key: "Role", Value: "Primary"}); m.Metadata[0] != p {
		t.Errorf("metadata is %+v, want it as given: %+v", m.Metadata[0], p)
	}
	if f.Regions[0].Name != "Lab, Vienna" {
		t.Errorf("the region's name for people is %q, want it as given", f.Regions[0].Name)
	}
}

func TestFilesWithoutFaults(t *testing.T) {
	for _, tt := range []struct{ name, file string }{
		{"a registry without apps", `{"apps": []}`},
		{"keys that are not read", `{"$schema": "x", "apps": [{"name": "web", "org": {"id": 7}, "network": "fdaa:0:18::/48", "machines": []}], "version": 3}`},
		{"null for nothing", `{"apps": [{"name": "web", "network": "fdaa:0:18::/48", "flycast": null, "machines": null}], "peers": null, "networks": null, "regions": null, "rtt_ms": null}`},
		{"an app of only a name and a network", `{"apps": [{"name": "web", "network": "fdaa:0:18::/48"}]}`},
		{"a machine without config", one(``)},
		{"null in the config", one(`, "config": null`)},
		{"null in the metadata and in dns", one(`, "config": {"metadata": null, "dns": null}`)},
		{"null for skip_registration", one(`, "config": {"dns": {"skip_registration": null}}`)},
		{"any metadata", one(`, "config": {"metadata": {"": "", "a.b": "\u0000", "K": "` + strings.Repeat("x", 10000) + `"}}`)},
		{"an unknown state", strings.Replace(one(``), "started", "levitating", 1)},
		{"a peer without a region", `{"apps": [], "peers": [{"name": "my-peer", "address": "fdaa:0:18:a7b:d6b:0:a:102"}]}`},
		{"a peer in a network without apps", `{"apps": [], "peers": [{"name": "my-peer", "address": "fdaa:9:9::1", "region": null}]}`},
		{"a round trip written as a float", `{"apps": [], "rtt_ms": {"sjc": {"ams": 1.35e2, "fra": null}, "lab": null}}`},
		{"gone machines with anything for id, region and address", `{"apps": [{"name": "web", "network": "fdaa:0:18::/48", "machines": [
			{"state": "destroyed"},
			{"state": "replaced", "id": "-.-", "region": "?", "private_ip": "nowhere"},
			{"state": "migrated", "id": 5, "region": [], "private_ip": {}},
			{"state": "destroying", "id": "148e21dad76789", "region": "ams", "private_ip": "fdaa:1:1::1"},
			{"state": "destroying", "id": "148e21dad76789", "region": "ams", "private_ip": "fdaa:1:1::1"}]}]}`},
		{"keys that differ in case", `{"apps": [], "Apps": 5}`},
	} {
		t.Run(tt.name, func(t *testing.T) { mustParse(t, "x.json", tt.file) })
	}
}

func TestAnAppWithoutNetworkIsInTheNetworkOfItsMachines(t *testing.T) {
	const gone, live = `{"id": "a", "state": "destroyed", "private_ip": "%s"}`, `{"id": "b", "state": "stopped", "region": "ams", "private_ip": "%s"}`
	for _, tt := range []struct{ name, machines, want string }{
		{"of the first that is not gone", fmt.Sprintf(gone+","+live, "fdaa:1:1::1", "fdaa:0:18::2"), "fdaa:0:18::/48"},
		{"of a gone one if there is no other", fmt.Sprintf(gone, "fdaa:1:1::1"), "fdaa:1:1::/48"},
		{"of the first gone one that has an address", fmt.Sprintf(gone+","+gone+","+gone, "", "nowhere", "fdaa:1:2::1"), "fdaa:1:2::/48"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := mustParse(t, "x.json", `{"apps": [{"machines": [`+tt.machines+`], "name": "web"}]}`)
			if got := f.Apps[0].Network.String(); got != tt.want {
				t.Errorf("network %s, want %s", got, tt.want)
			}
			for _, m := range f.Machines {
				if m.Network != f.Apps[0].Network || m.App != "web" {
					t.Errorf("%v is in %v", m, m.Network)
				}
			}
		})
	}
}

// The pool decodes in any order; the facts are in the order of the file.
func TestMachinesKeepTheirOrder(t *testing.T) {
	const apps, each = 40, 75
	var b strings.Builder
	b.WriteString(`{"apps": [`)
	for a := range apps {
		if a > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"machines": [`)
		for i := range each {
			if i > 0 {
				b.WriteByte(',')
			}
			// The sizes differ much, so that batches end anywhere.
			fmt.Fprintf(&b, `{"id": "m-%d-%d", "state": "started", "region": "ams", "private_ip": "fdaa:0:18:%x::%x", "pad": "%s"}`,
				a, i, a+1, i, strings.Repeat("x", (a*i*7919)%3000))
		}
		fmt.Fprintf(&b, `], "name": "app-%d"}`, a)
	}
	b.WriteString(`]}`)
	last := 0
	f, err := Parse("x.json", strings.NewReader(b.String()), func(n int) {
		if n <= last {
			t.Errorf("progress went from %d to %d machines", last, n)
		}
		last = n
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Machines) != apps*each {
		t.Fatalf("%d machines, want %d", len(f.Machines), apps*each)
	}
	for n, m := range f.Machines {
		a, i := n/each, n%each
		if want := fmt.Sprintf("m-%d-%d", a, i); m.ID != want || m.App != fmt.Sprintf("app-%d", a) {
			t.Fatalf("machine %d is %v, want %q of app-%d", n, m, want, a)
		}
		if !strings.Contains(raw(t, m), `"`+m.ID+`"`) {
			t.Fatalf("the raw object of %v is another's: %s", m, raw(t, m))
		}
	}
}

func TestProgressIsReported(t *testing.T) {
	var b strings.Builder
	writeRegistry(&b, 2*progressEvery-1)
	var calls []int
	if _, err := Parse("x.json", strings.NewReader(b.String()), func(n int) { calls = append(calls, n) }); err != nil {
		t.Fatal(err)
	}
	if want := []int{progressEvery}; !reflect.DeepEqual(calls, want) {
		t.Errorf("progress was called with %v, want %v", calls, want)
	}
}

// A reader's error is not a fault of the file, which may be valid.
func TestReadErrorIsNoFault(t *testing.T) {
	broken := errors.New("input/output error")
	org := readFile(t, "../../cmd/internaldns/sample/org.json")
	for _, name := range []string{"x.json", "x.yaml", "x"} {
		for _, octets := range []int{0, 1, 100, len(org) - 1} {
			r := io.MultiReader(strings.NewReader(org[:octets]), iotest.ErrReader(broken))
			f, err := Parse(name, r, nil)
			if _, isFaults := errors.AsType[registry.Faults](err); f != nil || isFaults || !errors.Is(err, broken) {
				t.Errorf("%s, read error after %d octets: got facts %v and error %v, want no facts and %v", name, octets, f != nil, err, broken)
			}
		}
	}
}

func TestAnyReaderWillDo(t *testing.T) {
	org := readFile(t, "../../cmd/internaldns/sample/org.json")
	want := mustParse(t, "org.json", org)
	for name, r := range map[string]io.Reader{
		"octet by octet":        iotest.OneByteReader(strings.NewReader(org)),
		"the end with the data": iotest.DataErrReader(strings.NewReader(org)),
	} {
		got, err := Parse("org.json", r, nil)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got other facts, or %v", name, err)
		}
	}
}

func TestFormByNameOrContent(t *testing.T) {
	const json, yaml = "\n \t{\"apps\": []}", "\n  apps: []\n"
	for _, tt := range []struct {
		name, content string
		good          bool
	}{
		{"r.json", json, true},
		{"r.json", yaml, false},
		{"r.yaml", yaml, true},
		{"r.YML", yaml, true},
		{"r.yaml", strings.TrimSpace(json), true},
		{"registry", json, true},
		{"registry", yaml, true},
		{"registry.conf", "# an unknown extension\napps: []\n", true},
		{"registry", strings.Repeat(" ", 2*readSize) + `{"apps": []}`, true},
	} {
		_, err := Parse(tt.name, strings.NewReader(tt.content), nil)
		if (err == nil) != tt.good {
			t.Errorf("%s holding %.30q: got error %v, want good %v", tt.name, tt.content, err, tt.good)
		}
	}
}
