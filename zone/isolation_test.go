package zone_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// isolated is the number of networks in these tests. They have the same names, but for one
// app each, and different addresses.
const isolated = 20

// isolatedNetwork returns the i-th network. Numbers that differ in one octet or
// one digit only are among them.
func isolatedNetwork(i int) registry.Network {
	return registry.Network(0x18<<(i%4*8) + i)
}

// isolatedEvents returns the facts of the i-th network.
func isolatedEvents(i int) []registry.Event {
	n := isolatedNetwork(i)
	at := func(group, host int) netip.Addr {
		b := n.Prefix().Addr().As16()
		b[9], b[13], b[15] = byte(group), byte(host), 2
		return netip.AddrFrom16(b)
	}
	own := fmt.Sprintf("own%c", 'a'+i)
	var events []registry.Event
	for a, app := range []string{"web", "db", own} {
		events = append(events, registry.Put(&registry.App{Network: n, Name: app}))
		for j, state := range []string{"started", "started", "stopped"} {
			events = append(events, registry.Put(&registry.Machine{
				Network: n, App: app, ID: fmt.Sprintf("%02x%x%x", i, a, j), State: state, Region: []string{"ams", "fra", "sjc"}[(i+j)%3],
				Address:  at(a, j),
				Metadata: []registry.Pair{{Key: "fly_process_group", Value: "app"}, {Key: "owner", Value: own}},
			}))
		}
		events = append(events, registry.Put(&registry.Flycast{Address: at(0x40, a), App: app, Owner: n}))
	}
	for j, peer := range []string{"laptop", "interactive-" + own, "peer-" + own} {
		events = append(events, registry.Put(&registry.Peer{Name: peer, Address: at(0x80, j), Region: "ams"}))
	}
	return events
}

// isolatedWorld returns a publisher of all of the networks and its version.
func isolatedWorld(t *testing.T) (*registry.Store, *zone.Publisher, *version) {
	t.Helper()
	o := zone.Options{TTL: 5}
	p := zone.NewPublisher(o)
	p.Ready()
	s := registry.NewStore(p.Commit)
	for i := range isolated {
		if _, err := s.Apply(isolatedEvents(i)); err != nil {
			t.Fatal(err)
		}
	}
	return s, p, newVersion(p.Table(), s.Snapshot(), o, nil)
}

// respond returns the response to q with the ID and flags that q has.
func respond(t testing.TB, table *zone.Table, src netip.Addr, q slowQuery) []byte {
	t.Helper()
	query, a := new(wire.Query), new(zone.Answer)
	if v := query.Parse(q.message()); v != wire.Answer {
		t.Fatalf("%q: verdict %v", q.labels, v)
	}
	view := table.For(src, serverAddr)
	view.Lookup(query, wire.MaxMessageLen, a)
	msg, _ := a.AppendTo(nil, query, zone.Frame{Limit: wire.MaxMessageLen})
	return msg
}

// every returns the names that exist in any of the networks, and a few nearest lists.
func every(v *version) [][]string {
	all := make(map[string][]string)
	for i := range isolated {
		for _, name := range v.names(isolatedNetwork(i)) {
			all[slowKey(name.labels)] = name.labels
		}
	}
	var list [][]string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[key])
	}
	for _, app := range []string{"web", "db", "owna"} {
		list = append(list, []string{"top9", "nearest", "of", app, "internal"})
	}
	return list
}

// For no name does any section of the response have an octet of another network.
func TestNoResponseHoldsAnotherNetworksFacts(t *testing.T) {
	_, p, v := isolatedWorld(t)
	names := every(v)
	if len(names) < 20*isolated {
		t.Fatalf("only %d names", len(names))
	}
	var foreign [isolated][][]byte // what must not be in the responses to each network
	for i := range isolated {
		for j := range isolated {
			if i != j {
				prefix := isolatedNetwork(j).Prefix().Addr().AsSlice()[:6]
				text := strings.TrimSuffix(isolatedNetwork(j).Prefix().Addr().String(), ":")
				id := fmt.Sprintf("\x04%02x", j) // of a machine, as a label
				foreign[i] = append(foreign[i], prefix, []byte(text), []byte(fmt.Sprintf("own%c", 'a'+j)), []byte(id))
			}
		}
	}
	answered := 0
	for i := range isolated {
		src := isolatedNetwork(i).Server()
		searched := make(map[string]bool) // most responses say the same
		for _, labels := range names {
			for _, qtype := range []uint16{dns.TypeAAAA, dns.TypeTXT, dns.TypePTR, dns.TypeANY} {
				q := slowQuery{labels: labels, qtype: qtype}
				msg := respond(t, p.Table(), src, q)
				if binary.BigEndian.Uint16(msg[6:]) > 0 {
					answered++
				}
				records := msg[len(q.message()):]
				if searched[string(records)] {
					continue
				}
				searched[string(records)] = true
				for _, octets := range foreign[i] {
					if bytes.Contains(records, octets) {
						t.Fatalf("%v %q, asked from %v: the response has %q of another network\n%s",
							dns.Type(qtype), labels, isolatedNetwork(i), octets, readable(msg))
					}
				}
			}
		}
	}
	if answered < 100*isolated {
		t.Errorf("only %d responses had an answer", answered)
	}
}

// A name that exists only in another network is answered exactly as a name that exists in
// none: with the same octets, but for ID and question.
func TestNamesOfAnotherNetworkAreLikeNamesOfNone(t *testing.T) {
	_, p, v := isolatedWorld(t)
	src := isolatedNetwork(0).Server()
	mine := make(map[string]bool)
	for _, name := range v.names(isolatedNetwork(0)) {
		mine[slowKey(name.labels)] = true
	}
	compared := 0
	for _, theirs := range every(v) {
		if mine[slowKey(theirs)] || strings.HasPrefix(theirs[0], "top") {
			continue
		}
		missing := slices.Clone(theirs)
		for i, l := range missing {
			if strings.Contains(l, "own") {
				missing[i] = strings.Replace(l, "own", "owx", 1)
			}
		}
		missing[0] = strings.Repeat("z", len(missing[0]))
		for _, qtype := range []uint16{dns.TypeAAAA, dns.TypeTXT, dns.TypePTR, dns.TypeA, dns.TypeANY} {
			a, b := slowQuery{id: 1, labels: theirs, qtype: qtype}, slowQuery{id: 2, labels: missing, qtype: qtype}
			got, want := respond(t, p.Table(), src, a), respond(t, p.Table(), src, b)
			question := len(a.message())
			got = append(got[2:12:12], got[question:]...)
			want = append(want[2:12:12], want[question:]...)
			if !bytes.Equal(got, want) {
				t.Fatalf("%v %q, another network's, and %q, of no network, are answered differently\n%x\n%x", dns.Type(qtype), theirs, missing, got, want)
			}
			if rcode := got[1] & 0xF; rcode != dns.RcodeNameError {
				t.Fatalf("%v %q, another network's, is answered with %s", dns.Type(qtype), theirs, dns.RcodeToString[int(rcode)])
			}
			compared++
		}
	}
	if compared < 1000 {
		t.Errorf("only %d pairs compared", compared)
	}
}

// A change in one network changes no octet of the answers in others, not even the SERIAL of
// a negative response.
func TestChangesShowInTheirNetworkOnly(t *testing.T) {
	s, p, v := isolatedWorld(t)
	changed := isolatedNetwork(3)
	observers := []int{0, 2, 3, 19}
	responses := func(i int) (all [][]byte) {
		src := isolatedNetwork(i).Server()
		for _, name := range slices.Concat(v.names(isolatedNetwork(i)), v.names(changed)) {
			for _, qtype := range []uint16{dns.TypeAAAA, dns.TypeTXT, dns.TypePTR, dns.TypeSOA} {
				all = append(all, respond(t, p.Table(), src, slowQuery{labels: name.labels, qtype: qtype}))
			}
		}
		return all
	}
	before := make(map[int][][]byte)
	for _, i := range observers {
		before[i] = responses(i)
	}
	machine := isolatedEvents(3)[1].Fact.(*registry.Machine)
	stopped, moved, grouped := copied(machine), copied(machine), copied(machine)
	stopped.State, moved.Region = "stopped", "nrt"
	grouped.Metadata = []registry.Pair{{Key: "fly_process_group", Value: "other"}}
	for _, change := range []struct {
		what   string
		events []registry.Event
	}{
		{"a machine stops", []registry.Event{registry.Put(stopped)}},
		{"a machine moves", []registry.Event{registry.Put(moved)}},
		{"a machine's group changes", []registry.Event{registry.Put(grouped)}},
		{"a machine leaves", []registry.Event{registry.Delete(registry.Key{Kind: registry.KindMachine, Network: changed, Name: "web", ID: machine.ID})}},
		{"a peer joins", []registry.Event{registry.Put(&registry.Peer{Name: "new", Address: machine.Address})}},
		{"a peer leaves", []registry.Event{registry.Delete(registry.Key{Kind: registry.KindPeer, Network: changed, Name: "laptop"})}},
		{"an app is put", []registry.Event{registry.Put(&registry.App{Network: changed, Name: "new"})}},
		{"an app is deleted", []registry.Event{registry.Delete(registry.Key{Kind: registry.KindApp, Network: changed, Name: "db"})}},
	} {
		if _, err := s.Apply(change.events); err != nil {
			t.Fatal(err)
		}
		for _, i := range observers {
			after := responses(i)
			for j := range after {
				if same := bytes.Equal(after[j], before[i][j]); !same && isolatedNetwork(i) != changed {
					t.Fatalf("%s in %v, and %v sees it:\n%s\n%s", change.what, changed, isolatedNetwork(i), readable(before[i][j]), readable(after[j]))
				}
			}
			if isolatedNetwork(i) == changed && slices.EqualFunc(before[i], after, bytes.Equal) {
				t.Errorf("%s in %v, and it does not see it", change.what, changed)
			}
			before[i] = after
		}
	}
}

// A Flycast address is seen in the network that its bits name, and shows nothing
// of the network of its app.
func TestFlycastShowsNothingOfTheAppsNetwork(t *testing.T) {
	s, p, _ := isolatedWorld(t)
	owner, seen := isolatedNetwork(1), isolatedNetwork(2)
	b := seen.Prefix().Addr().As16()
	b[15] = 0x77
	addr := netip.AddrFrom16(b)
	if _, err := s.Apply([]registry.Event{registry.Put(&registry.Flycast{Address: addr, App: "ownb", Owner: owner})}); err != nil {
		t.Fatal(err)
	}
	var own string // the address that the app has in its own network
	for f := range s.Snapshot().FlycastIn(owner) {
		if f.App == "ownb" {
			own = f.Address.String()
		}
	}
	for _, tt := range []struct {
		name, question, want string
		from                 registry.Network
	}{
		{"the app has the name in the address's network", "AAAA ownb.flycast", "NOERROR\t" + addr.String(), seen},
		{"and no other name there", "AAAA ownb.internal", "NXDOMAIN\t", seen},
		{"its own network sees only the address that it has there", "AAAA ownb.flycast", "NOERROR\t" + own, owner},
		{"others see none", "AAAA ownb.flycast", "NXDOMAIN\t", isolatedNetwork(4)},
	} {
		qtype, name, _ := strings.Cut(tt.question, " ")
		if got := text(ask(t, p, tt.from.Server(), serverAddr, dns.StringToType[qtype], name)); got != tt.want {
			t.Errorf("%s: %s, asked from %v\n got %s\nwant %s", tt.name, tt.question, tt.from, got, tt.want)
		}
	}
}

// A View gives its holder no way to the facts of other networks: all that it
// exports is about its own client.
func TestViewExportsNoWayOut(t *testing.T) {
	allowed := []string{"Is", "Lookup", "Network", "Region"}
	view := reflect.TypeFor[*zone.View]()
	for i := range view.NumMethod() {
		if name := view.Method(i).Name; !slices.Contains(allowed, name) {
			t.Errorf("View has a method %s: add it to this test, if it shows one network only", name)
		}
	}
	for _, f := range reflect.VisibleFields(view.Elem()) {
		if f.IsExported() {
			t.Errorf("View exports its field %s", f.Name)
		}
	}
}
