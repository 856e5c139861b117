package registry

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// validateSlow compares every object with every other.
func validateSlow(f *Facts) Faults {
	var fs Faults
	hasApp := func(n Network, name string) bool {
		return slices.Contains(f.Apps, App{Network: n, Name: name})
	}
	earlier := func(i int, same func(j int) bool) int {
		for j := range i {
			if same(j) {
				return j
			}
		}
		return -1
	}
	for i, n := range f.Networks {
		fs = append(fs, n.check()...)
		if j := earlier(i, func(j int) bool { return f.Networks[j].Name == n.Name }); j >= 0 && checkName(n.Name) == nil {
			fs.addf(&n, "name", "is already the name of %v", f.Networks[j].Network)
		}
		if earlier(i, func(j int) bool { return f.Networks[j].Network == n.Network }) >= 0 && n.Network != 0 {
			fs.addf(&n, "prefix", "is listed twice")
		}
	}
	for i, a := range f.Apps {
		fs = append(fs, a.check()...)
		if slices.Contains(f.Apps[:i], a) && a.check() == nil {
			fs.addf(&a, "name", "is listed twice in %v", a.Network)
		}
	}
	// All objects that have a valid address, in order.
	type holder struct {
		fmt.Stringer
		addr netip.Addr
	}
	var holders []holder
	take := func(o fmt.Stringer, field string, addr netip.Addr, own Faults) {
		fs = append(fs, own...)
		if slices.ContainsFunc(own, func(f Fault) bool { return f.Field == field }) {
			return
		}
		for _, h := range holders {
			if h.addr == addr {
				fs.addf(o, field, "%v is already the address of %v", addr, h)
				return
			}
		}
		holders = append(holders, holder{o, addr})
	}
	for i, m := range f.Machines {
		if !hasApp(m.Network, m.App) {
			fs.addf(m, "app", "%v has no app %q", m.Network, m.App)
		}
		if m.Gone() {
			continue
		}
		if j := earlier(i, func(j int) bool { return !f.Machines[j].Gone() && f.Machines[j].ID == m.ID }); j >= 0 && checkID(m.ID) == nil {
			fs.addf(m, "id", "is already the id of %v in %v", f.Machines[j], f.Machines[j].Network)
		}
		take(m, "private_ip", m.Address, m.check())
	}
	for i := range f.Peers {
		p := &f.Peers[i]
		same := func(j int) bool {
			return checkAddress(f.Peers[j].Address) == nil && f.Peers[j].Network() == p.Network() && f.Peers[j].Name == p.Name
		}
		if checkAddress(p.Address) == nil && checkName(p.Name) == nil && earlier(i, same) >= 0 {
			fs.addf(p, "name", "is listed twice in %v", p.Network())
		}
		take(p, "address", p.Address, p.check())
	}
	for i := range f.Flycast {
		c := &f.Flycast[i]
		if !hasApp(c.Owner, c.App) {
			fs.addf(c, "app", "%v has no app %q", c.Owner, c.App)
		}
		take(c, "flycast", c.Address, c.check())
	}
	for i, r := range f.Regions {
		fs = append(fs, r.check()...)
		if earlier(i, func(j int) bool { return f.Regions[j].Code == r.Code }) >= 0 && checkRegion(r.Code) == nil {
			fs.addf(&r, "code", "is listed twice")
		}
	}
	for i, r := range f.RTTs {
		fs = append(fs, r.check()...)
		if earlier(i, func(j int) bool { return f.RTTs[j].From == r.From && f.RTTs[j].To == r.To }) >= 0 && r.check() == nil {
			fs.addf(&r, "", "is listed twice")
		}
	}
	return fs
}

func TestValidateAgreesWithComparingEverythingWithEverything(t *testing.T) {
	d := newDraw(7)
	valid := 0
	draws := 500 * *soak
	for range draws {
		f := new(Facts)
		for range d.IntN(4) {
			f.Networks = append(f.Networks, NetworkName{d.network(), d.name()})
		}
		for range d.IntN(6) {
			f.Apps = append(f.Apps, App{Network: d.network(), Name: d.name()})
		}
		for range d.IntN(5) {
			f.Peers = append(f.Peers, d.peer())
			f.Flycast = append(f.Flycast, d.flycast())
			f.Regions = append(f.Regions, d.region())
			f.RTTs = append(f.RTTs, d.rtt())
		}
		if d.one(2) {
			f = d.facts()
		}
		for range d.IntN(3) {
			m := d.machine()
			if len(f.Apps) > 0 && !d.one(4) {
				a := pick(d, f.Apps...)
				m.Network, m.App = a.Network, a.Name
			}
			f.Machines = append(f.Machines, m)
		}
		err := f.Validate()
		if err == nil {
			valid++
		}
		if got, want := faultLines(err), faultLines(validateSlow(f).Err()); got != want {
			t.Fatalf("%+v\nhas the faults\n%s\n\nwant\n%s", f, got, want)
		}
		// A store takes valid facts and refuses others, except for objects that are
		// listed twice: of several puts the last counts.
		if err == nil {
			if _, err := NewStore(nil).Apply(NewStore(nil).Snapshot().Diff(f)); err != nil {
				t.Fatalf("a store refuses valid facts: %v", err)
			}
		}
	}
	if valid < draws/10 || valid > draws-draws/10 {
		t.Errorf("%d of %d drawn registries are valid: the draw is too one-sided", valid, draws)
	}
}

// The message of every fault that Validate can find.
func TestFaultMessages(t *testing.T) {
	addr := netip.MustParseAddr
	web := App{Network: 0x18, Name: "web"}
	machine := func(change func(*Machine)) *Machine {
		m := &Machine{Network: 0x18, App: "web", ID: "148e21dad76789", State: "started", Region: "ams", Address: addr("fdaa:0:18::5")}
		if change != nil {
			change(m)
		}
		return m
	}
	for _, tt := range []struct {
		name  string
		facts Facts
		want  string
	}{
		{"an app's name is no label", Facts{Apps: []App{{Network: 1, Name: "a.b"}}},
			`app "a.b": name: "a.b" is no name: want 1 to 63 letters, digits and inner hyphens`},
		{"an app is in no network", Facts{Apps: []App{{Name: "web"}}},
			`app "web": network: is missing, and no machine names it`},
		{"an app is listed twice", Facts{Apps: []App{web, web}},
			`app "web": name: is listed twice in fdaa:0:18::/48`},
		{"a long name is cut", Facts{Apps: []App{{Network: 1, Name: strings.Repeat("a", 90)}}},
			`app "` + strings.Repeat("a", 80) + `"… (90 octets): name: "` + strings.Repeat("a", 80) + `"… (90 octets) is no name: want 1 to 63 letters, digits and inner hyphens`},
		{"a machine is of no app", Facts{Machines: []*Machine{machine(nil)}},
			`machine "148e21dad76789" of app "web": app: fdaa:0:18::/48 has no app "web"`},
		{"a gone machine is of no app", Facts{Machines: []*Machine{machine(func(m *Machine) { m.State = "destroyed" })}},
			`machine "148e21dad76789" of app "web": app: fdaa:0:18::/48 has no app "web"`},
		{"a machine's id is no label", Facts{Apps: []App{web}, Machines: []*Machine{machine(func(m *Machine) { m.ID = "M1" })}},
			`machine "M1" of app "web": id: "M1" is no machine id: want 1 to 63 letters, digits and hyphens`},
		{"a machine's region is no label", Facts{Apps: []App{web}, Machines: []*Machine{machine(func(m *Machine) { m.Region = "" })}},
			`machine "148e21dad76789" of app "web": region: "" is no region code: want 1 to 63 letters and digits`},
		{"a machine's region is reserved", Facts{Apps: []App{web}, Machines: []*Machine{machine(func(m *Machine) { m.Region = "global" })}},
			`machine "148e21dad76789" of app "web": region: "global" cannot be a region: the word has another meaning in names`},
		{"a machine has no address", Facts{Apps: []App{web}, Machines: []*Machine{machine(func(m *Machine) { m.Address = netip.Addr{} })}},
			`machine "148e21dad76789" of app "web": private_ip: is missing`},
		{"a machine's address is of no network", Facts{Apps: []App{web}, Machines: []*Machine{machine(func(m *Machine) { m.Address = addr("fdaa::5") })}},
			`machine "148e21dad76789" of app "web": private_ip: fdaa::5 is in no network: want an address in fdaa::/16, outside fdaa::/48`},
		{"a machine's address has a zone", Facts{Apps: []App{web}, Machines: []*Machine{machine(func(m *Machine) { m.Address = addr("fdaa:0:18::5%lo") })}},
			`machine "148e21dad76789" of app "web": private_ip: fdaa:0:18::5%lo is in no network: want an address in fdaa::/16, outside fdaa::/48`},
		{"a machine has the server's address", Facts{Apps: []App{web}, Machines: []*Machine{machine(func(m *Machine) { m.Address = addr("fdaa:0:18::3") })}},
			`machine "148e21dad76789" of app "web": private_ip: fdaa:0:18::3 is the network's own DNS server`},
		{"a machine's address is of another network", Facts{Apps: []App{web}, Machines: []*Machine{machine(func(m *Machine) { m.Address = addr("fdaa:0:19::5") })}},
			`machine "148e21dad76789" of app "web": private_ip: fdaa:0:19::5 is outside the app's network fdaa:0:18::/48`},
		{"two machines have one id", Facts{Apps: []App{web}, Machines: []*Machine{machine(nil), machine(func(m *Machine) { m.Address = addr("fdaa:0:18::6") })}},
			`machine "148e21dad76789" of app "web": id: is already the id of machine "148e21dad76789" of app "web" in fdaa:0:18::/48`},
		{"two machines have one address", Facts{Apps: []App{web}, Machines: []*Machine{machine(nil), machine(func(m *Machine) { m.ID = "m2" })}},
			`machine "m2" of app "web": private_ip: fdaa:0:18::5 is already the address of machine "148e21dad76789" of app "web"`},
		{"a peer has a machine's address", Facts{Apps: []App{web}, Machines: []*Machine{machine(nil)}, Peers: []Peer{{Name: "laptop", Address: addr("fdaa:0:18::5"), Region: ""}}},
			`peer "laptop": address: fdaa:0:18::5 is already the address of machine "148e21dad76789" of app "web"`},
		{"a peer's name is no label", Facts{Peers: []Peer{{Name: "-", Address: addr("fdaa:0:18::5"), Region: ""}}},
			`peer "-": name: "-" is no name: want 1 to 63 letters, digits and inner hyphens`},
		{"a peer's address is of no network", Facts{Peers: []Peer{{Name: "laptop", Address: addr("10.0.0.1"), Region: ""}}},
			`peer "laptop": address: 10.0.0.1 is in no network: want an address in fdaa::/16, outside fdaa::/48`},
		{"a peer's region is no label", Facts{Peers: []Peer{{Name: "laptop", Address: addr("fdaa:0:18::5"), Region: "a-b"}}},
			`peer "laptop": region: "a-b" is no region code: want 1 to 63 letters and digits`},
		{"two peers of a network have one name", Facts{Peers: []Peer{{Name: "laptop", Address: addr("fdaa:0:18::5")}, {Name: "laptop", Address: addr("fdaa:0:18::6")}}},
			`peer "laptop": name: is listed twice in fdaa:0:18::/48`},
		{"two peers of two networks have one name", Facts{Peers: []Peer{{Name: "laptop", Address: addr("fdaa:0:18::5")}, {Name: "laptop", Address: addr("fdaa:0:19::5")}}}, ``},
		{"a Flycast address is of no app", Facts{Flycast: []Flycast{{Address: addr("fdaa:0:18::5"), App: "web", Owner: 0x18}}},
			`app "web": app: fdaa:0:18::/48 has no app "web"`},
		{"a Flycast address is of no network", Facts{Apps: []App{web}, Flycast: []Flycast{{Address: addr("::1"), App: "web", Owner: 0x18}}},
			`app "web": flycast: ::1 is in no network: want an address in fdaa::/16, outside fdaa::/48`},
		{"a Flycast address is listed twice", Facts{Apps: []App{web}, Flycast: []Flycast{{Address: addr("fdaa:0:18::5"), App: "web", Owner: 0x18}, {Address: addr("fdaa:0:18::5"), App: "web", Owner: 0x18}}},
			`app "web": flycast: fdaa:0:18::5 is already the address of app "web"`},
		{"a network has no name", Facts{Networks: []NetworkName{{1, ""}}},
			`network "": name: "" is no name: want 1 to 63 letters, digits and inner hyphens`},
		{"a network has no prefix", Facts{Networks: []NetworkName{{0, "acme"}}}, `network "acme": prefix: is missing`},
		{"two networks have one name", Facts{Networks: []NetworkName{{1, "acme"}, {2, "acme"}}},
			`network "acme": name: is already the name of fdaa:0:1::/48`},
		{"a network has two names", Facts{Networks: []NetworkName{{1, "acme"}, {1, "other"}}},
			`network "other": prefix: is listed twice`},
		{"a region's code is no label", Facts{Regions: []Region{{Code: "a_b"}}}, `region "a_b": code: "a_b" is no region code: want 1 to 63 letters and digits`},
		{"a region is listed twice", Facts{Regions: []Region{{Code: "ams"}, {Code: "ams"}}}, `region "ams": code: is listed twice`},
		{"a region is off the map", Facts{Regions: []Region{{Code: "ams", Latitude: 90.1, Longitude: -180.1}}}, `
			region "ams": latitude: must be from -90 to 90 degrees, got 90.1
			region "ams": longitude: must be from -180 to 180 degrees, got -180.1`},
		{"a round trip is of no region", Facts{RTTs: []RTT{{"ams", "a_b", 1}}}, `rtt_ms "ams" to "a_b": "a_b" is no region code: want 1 to 63 letters and digits`},
		{"a round trip is listed twice", Facts{RTTs: []RTT{{"ams", "fra", 1}, {"fra", "ams", 1}, {"ams", "fra", 2}}}, `rtt_ms "ams" to "fra": is listed twice`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := tt.facts.Validate(); err != nil {
				got = err.Error()
			}
			if want := trimmed(tt.want); got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
}

func TestFaultsPrintALineEachUpToAHundred(t *testing.T) {
	var fs Faults
	if fs.Err() != nil {
		t.Error("no faults are an error")
	}
	for i := range 101 {
		fs = append(fs, Fault{Problem: fmt.Sprint(i)})
	}
	got := strings.Split(fs.Err().Error(), "\n")
	if len(got) != 101 || got[99] != "99" || got[100] != "and 1 more fault" {
		t.Errorf("101 faults print %d lines that end in %q", len(got), got[len(got)-1])
	}
	fs = append(fs, Fault{Problem: "another"})
	if !strings.HasSuffix(fs.Error(), "\nand 2 more faults") {
		t.Errorf("102 faults end in %q", fs.Error()[len(fs.Error())-30:])
	}
}

// The time for a registry in which everything is wrong must not grow with the square of
// its size.
func TestFaultsOfALargeRegistryAreFoundInTime(t *testing.T) {
	own := func(i int) int { return i }
	same := func(int) int { return 7 }
	for _, tt := range []struct {
		name        string
		machines    int
		id, address func(int) int
		faults      int
	}{
		{"nothing is wrong", 100_000, own, own, 0},
		{"all have one id", 20_000, same, own, 19_999},
		{"all have one address", 20_000, own, same, 19_999},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := manyMachines(tt.machines, tt.id, tt.address, "started")
			start := time.Now()
			fs, _ := f.Validate().(Faults)
			if len(fs) != tt.faults {
				t.Errorf("%d faults, want %d", len(fs), tt.faults)
			}
			// It takes a second, or hours if the time grew with the square. The limit is
			// for busy machines.
			if took := time.Since(start); took > 60*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// Gone machines are not checked, so all may have one id.
func TestManyGoneMachinesOfOneIDAreComparedInTime(t *testing.T) {
	const machines = 20_000
	same := func(int) int { return 7 }
	f := manyMachines(machines, same, same, "destroyed")
	start := time.Now()
	s := NewStore(nil)
	if _, err := s.Apply(s.Snapshot().Diff(f)); err != nil {
		t.Fatal(err)
	}
	if stats := s.Snapshot().Stats(); stats.Total() != machines {
		t.Errorf("the store holds %d machines, want %d", stats.Total(), machines)
	}
	if n := len(s.Snapshot().Diff(f)); n != 0 {
		t.Errorf("afterwards Diff returns %d events, want none", n)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}

// manyMachines makes machines of one app, with the ids and addresses of those
// numbers.
func manyMachines(n int, id, address func(i int) int, state string) *Facts {
	f := &Facts{Apps: []App{{Network: 1, Name: "web"}}, Machines: make([]*Machine, n)}
	for i := range f.Machines {
		a := address(i)
		f.Machines[i] = &Machine{
			Network: 1, App: "web", ID: fmt.Sprintf("m%d", id(i)), State: state, Region: "ams",
			Address: Network(1).address([]byte{1, 0, 0, 0, 0, 0, 0, byte(a >> 16), byte(a >> 8), byte(a)}),
			Raw:     Raw(fmt.Sprint(i)),
		}
	}
	return f
}
