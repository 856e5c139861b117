package zone

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// aheadNetwork is the network of aheadTable.
const aheadNetwork = registry.Network(0x18)

// aheadTable returns a Table of so many apps of three machines each.
func aheadTable(t *testing.T, apps int) *Table {
	t.Helper()
	p := NewPublisher(Options{TTL: 5})
	p.Ready()
	s := registry.NewStore(p.Commit)
	var events []registry.Event
	for i := range apps {
		app := fmt.Sprintf("app-%d", i)
		events = append(events, registry.PutApp{App: registry.App{Network: aheadNetwork, Name: app}})
		for j := range 3 {
			addr := aheadNetwork.Prefix().Addr().As16()
			addr[12], addr[13], addr[14], addr[15] = byte(i>>8), byte(i), byte(j), 2
			events = append(events, registry.PutMachine{Machine: &registry.Machine{
				Network: aheadNetwork, App: app, ID: fmt.Sprintf("%06x%08x", j, i), State: registry.StateStarted,
				Region: "ams", Address: netip.AddrFrom16(addr),
				Metadata: []registry.Pair{{Key: "fly_process_group", Value: "web"}, {Key: "role", Value: "primary"}},
			}})
		}
	}
	if _, err := s.Apply(events); err != nil {
		t.Fatal(err)
	}
	return p.Table()
}

// What is read ahead is what the lookup reads then: the app, and the very
// addresses that go into the answer.
func TestAheadFindsWhatLookupFinds(t *testing.T) {
	const apps = 700 // so that some levels of the trie are between
	v := aheadTable(t, apps).For(aheadNetwork.Server(), wellKnownAddr)
	var ahead Ahead
	var q wire.Query
	for _, form := range []string{"%s", "global.%s", "ams.%s", "web.process.%s", "primary.role.kv._metadata.%s"} {
		for first := 0; first < apps; first += AheadMax {
			var msgs [AheadMax][]byte
			for i := range msgs {
				msgs[i] = aheadQuery(t, fmt.Sprintf(form, fmt.Sprintf("app-%d.internal", (first+i)%apps)))
				ahead.Add(&v, msgs[i])
			}
			ahead.find()
			for i := range msgs {
				var a Answer
				q.Parse(msgs[i])
				v.Lookup(&q, wire.MaxMessageLen, &a)
				if a.Finding != Data || len(a.set.short) != 3 {
					t.Fatalf("%s: the answer is %v with %d addresses, want 3", q.Name(), a.Finding, len(a.set.short))
				}
				if got := ahead.apps[i].val; got == nil || got.name != string(q.Label(1)) {
					t.Fatalf("%s: the app was not found ahead", q.Name())
				}
				if got := ahead.sets[i]; len(got) != 3 || &got[0] != &a.set.short[0] {
					t.Fatalf("%s: the addresses were not found ahead", q.Name())
				}
			}
			ahead.Read()
		}
	}
}

// Names that lead nowhere, that are not ours, or that are no names are left
// alone, and so is one query too many.
func TestAheadLeavesAloneWhatLeadsNowhere(t *testing.T) {
	table := aheadTable(t, 300)
	v := table.For(aheadNetwork.Server(), wellKnownAddr)
	stranger := table.For(netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"))
	var ahead Ahead
	for _, name := range []string{
		".", "internal", "nobody.internal", "vm.app-1.internal", "x.vm.app-1.internal", "x.vm.nobody.internal",
		"ffffffffffff.vm.app-1.internal", "fra.app-1.internal", "process.app-1.internal", "a.process.app-1.internal",
		"kv._metadata.nobody.internal", "_apps.internal", "a._peer.internal", "www.example.com", "app-1.flycast", "APP-1.INTERNAL",
	} {
		msg := aheadQuery(t, name)
		for cut := range msg {
			ahead.Add(&v, msg[:cut])
			ahead.Add(&stranger, msg)
			ahead.find()
			for i, set := range ahead.sets[:ahead.n] {
				if set != nil || ahead.machines[i] != nil {
					t.Errorf("%s, %d octets of it: %d addresses and machine %v found", name, cut, len(set), ahead.machines[i])
				}
			}
			ahead.Read()
		}
	}
	for range AheadMax + 1 {
		ahead.Add(&v, aheadQuery(t, "000001000000c8.vm.app-200.internal"))
	}
	ahead.find()
	for i, m := range ahead.machines {
		if m == nil || m.ID != "000001000000c8" {
			t.Errorf("query %d: found machine %v", i, m)
		}
	}
	ahead.Read()
	if ahead.n != 0 || ahead.apps != (Ahead{}).apps || ahead.names != (Ahead{}).names || ahead.machines != (Ahead{}).machines {
		t.Error("after Read, an Ahead still holds a part of the Table")
	}
}

// Reading ahead touches no heap.
func TestAheadDoesNotAllocate(t *testing.T) {
	v := aheadTable(t, 300).For(aheadNetwork.Server(), wellKnownAddr)
	var ahead Ahead
	var msgs [][]byte
	for _, name := range []string{"app-1.internal", "ams.app-2.internal", "web.process.app-3.internal", "000001000000c8.vm.app-200.internal", "nobody.internal"} {
		msgs = append(msgs, aheadQuery(t, name))
	}
	got := testing.AllocsPerRun(100, func() {
		for _, msg := range msgs {
			ahead.Add(&v, msg)
		}
		ahead.Read()
	})
	if got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}

var wellKnownAddr = netip.AddrFrom16(wellKnown)

func aheadQuery(t *testing.T, name string) []byte {
	t.Helper()
	msg, err := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeAAAA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	return msg
}
