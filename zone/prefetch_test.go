package zone

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// prefetchNetwork is the network of prefetchTable.
const prefetchNetwork = registry.Network(0x18)

// prefetchTable returns a Table of so many apps of three machines each.
func prefetchTable(t *testing.T, apps int) *Table {
	t.Helper()
	p := NewPublisher(Options{TTL: 5})
	p.Ready()
	s := registry.NewStore(p.Commit)
	var events []registry.Event
	for i := range apps {
		app := fmt.Sprintf("app-%d", i)
		events = append(events, registry.Put(&registry.App{Network: prefetchNetwork, Name: app}))
		for j := range 3 {
			addr := prefetchNetwork.Prefix().Addr().As16()
			addr[12], addr[13], addr[14], addr[15] = byte(i>>8), byte(i), byte(j), 2
			events = append(events, registry.Put(&registry.Machine{
				Network: prefetchNetwork, App: app, ID: fmt.Sprintf("%06x%08x", j, i), State: registry.StateStarted,
				Region: "ams", Address: netip.AddrFrom16(addr),
				Metadata: []registry.Pair{{Key: "fly_process_group", Value: "web"}, {Key: "role", Value: "primary"}},
			}))
		}
	}
	if _, err := s.Apply(events); err != nil {
		t.Fatal(err)
	}
	return p.Table()
}

// A prefetch finds what the lookup finds: the app, and the slice of addresses in the
// answer.
func TestPrefetchFindsWhatLookupFinds(t *testing.T) {
	const apps = 700 // so that the trie has several levels
	v := prefetchTable(t, apps).For(prefetchNetwork.Server(), wellKnownAddr)
	var prefetch Prefetch
	var q wire.Query
	for _, form := range []string{"%s", "global.%s", "ams.%s", "web.process.%s", "primary.role.kv._metadata.%s"} {
		for first := 0; first < apps; first += PrefetchMax {
			var msgs [PrefetchMax][]byte
			for i := range msgs {
				msgs[i] = prefetchQuery(t, fmt.Sprintf(form, fmt.Sprintf("app-%d.internal", (first+i)%apps)))
				prefetch.Add(&v, msgs[i])
			}
			prefetch.find()
			for i := range msgs {
				var a Answer
				q.Parse(msgs[i])
				v.Lookup(&q, wire.MaxMessageLen, &a)
				set, _ := a.set.Short()
				if a.Finding != Data || len(set) != 3 {
					t.Fatalf("%s: the answer is %v with %d addresses, want 3", q.Name(), a.Finding, len(set))
				}
				if got := prefetch.apps[i].Found; got == nil || got.name != string(q.Label(1)) {
					t.Fatalf("%s: the app was not prefetched", q.Name())
				}
				if got := prefetch.sets[i]; len(got) != 3 || &got[0] != &set[0] {
					t.Fatalf("%s: the addresses were not prefetched", q.Name())
				}
			}
			prefetch.Read()
		}
	}
}

// A prefetch ignores names that do not exist, names outside our zones, malformed messages,
// and queries after PrefetchMax.
func TestPrefetchIgnoresWhatItCannotFind(t *testing.T) {
	table := prefetchTable(t, 300)
	v := table.For(prefetchNetwork.Server(), wellKnownAddr)
	stranger := table.For(netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"))
	var prefetch Prefetch
	for _, name := range []string{
		".", "internal", "missing.internal", "vm.app-1.internal", "x.vm.app-1.internal", "x.vm.missing.internal",
		"ffffffffffff.vm.app-1.internal", "fra.app-1.internal", "process.app-1.internal", "a.process.app-1.internal",
		"kv._metadata.missing.internal", "_apps.internal", "a._peer.internal", "www.example.com", "app-1.flycast", "APP-1.INTERNAL",
	} {
		msg := prefetchQuery(t, name)
		for cut := range msg {
			prefetch.Add(&v, msg[:cut])
			prefetch.Add(&stranger, msg)
			prefetch.find()
			for i, set := range prefetch.sets[:prefetch.n] {
				if set != nil || prefetch.machines[i] != nil {
					t.Errorf("%s, %d octets of it: %d addresses and machine %v found", name, cut, len(set), prefetch.machines[i])
				}
			}
			prefetch.Read()
		}
	}
	for range PrefetchMax + 1 {
		prefetch.Add(&v, prefetchQuery(t, "000001000000c8.vm.app-200.internal"))
	}
	prefetch.find()
	for i, m := range prefetch.machines {
		if m == nil || m.ID != "000001000000c8" {
			t.Errorf("query %d: found machine %v", i, m)
		}
	}
	prefetch.Read()
	if prefetch.n != 0 || prefetch.apps != (Prefetch{}).apps || prefetch.names != (Prefetch{}).names || prefetch.machines != (Prefetch{}).machines {
		t.Error("after Read, a Prefetch still holds a part of the Table")
	}
}

// A message is not checked before a prefetch, which must not panic on any octets. A label
// of 255 octets once ended the server.
func TestPrefetchTakesAnyOctets(t *testing.T) {
	v := prefetchTable(t, 300).For(prefetchNetwork.Server(), wellKnownAddr)
	var prefetch Prefetch
	long := append(make([]byte, wire.HeaderLen), 255)
	long = append(long, strings.Repeat("a", 255)+"\x02vm\x05app-1\x08internal\x00\x00\x1c\x00\x01"...)
	prefetch.Add(&v, long)
	prefetch.Read()
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		msg := slices.Clone(long)
		if r.IntN(2) == 0 {
			msg = prefetchQuery(t, "000001000000c8.vm.app-200.internal")
		}
		for range 1 + r.IntN(4) {
			msg[wire.HeaderLen+r.IntN(len(msg)-wire.HeaderLen)] = byte(r.UintN(256))
		}
		prefetch.Add(&v, msg[:r.IntN(len(msg)+1)])
		if prefetch.Add(&v, msg); prefetch.n > PrefetchMax-2 {
			prefetch.Read()
		}
	}
}

// A prefetch does not allocate.
func TestPrefetchDoesNotAllocate(t *testing.T) {
	v := prefetchTable(t, 300).For(prefetchNetwork.Server(), wellKnownAddr)
	var prefetch Prefetch
	var msgs [][]byte
	for _, name := range []string{"app-1.internal", "ams.app-2.internal", "web.process.app-3.internal", "000001000000c8.vm.app-200.internal", "missing.internal"} {
		msgs = append(msgs, prefetchQuery(t, name))
	}
	got := testing.AllocsPerRun(100, func() {
		for _, msg := range msgs {
			prefetch.Add(&v, msg)
		}
		prefetch.Read()
	})
	if got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}

var wellKnownAddr = netip.AddrFrom16(wellKnown)

func prefetchQuery(t *testing.T, name string) []byte {
	t.Helper()
	msg, err := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeAAAA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	return msg
}
