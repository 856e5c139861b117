package zone_test

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// Each test here is named for a bug that was found, and fails if it comes back.

// An address outside of fdaa::/16 whose bits 16 to 47 are a network's number
// placed its client in that network.
func TestOnly6PNAddressesNameANetwork(t *testing.T) {
	_, p := load(t, "../cmd/internaldns/sample/org.json", zone.Options{})
	for _, src := range []string{"2001:0:18::1", "fdab:0:18::1", "::18:0:0:0:0:1", "0:0:18::1"} {
		view := p.Table().For(netip.MustParseAddr(src), serverAddr)
		if n := view.Network(); n != 0 {
			t.Errorf("a client at %s sees the names of %v, want of none", src, n)
		}
		if got := text(ask(t, p, netip.MustParseAddr(src), serverAddr, dns.TypeAAAA, "web.internal")); got != "REFUSED\t" {
			t.Errorf("AAAA web.internal, asked by %s\n got %s\nwant REFUSED", src, got)
		}
	}
}

// A list longer than a message was cut when it was rendered, and was then reported as
// whole.
func TestCutListIsKnownToBeCut(t *testing.T) {
	p := zone.NewPublisher(zone.Options{TTL: 5})
	p.Ready()
	s := registry.NewStore(p.Commit)
	app := registry.App{Network: 0x18, Name: "big"}
	events := []registry.Event{registry.Put(&app)}
	for i := range 4000 {
		addr := app.Network.Server().As16()
		addr[12], addr[13], addr[14] = 1, byte(i>>8), byte(i)
		events = append(events, registry.Put(&registry.Machine{
			Network: app.Network, App: app.Name, ID: fmt.Sprintf("machine%07d", i), State: "started", Region: "ams", Address: netip.AddrFrom16(addr),
		}))
	}
	if _, err := s.Apply(events); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"vms.big.internal", "all.vms.big.internal", "_instances.internal", "all._instances.internal", "top4000.nearest.of.big.internal"} {
		var q wire.Query
		q.Parse(packed(t, dns.TypeTXT, name))
		view := p.Table().For(app.Network.Server(), serverAddr)
		var a zone.Answer
		view.Lookup(&q, wire.MaxMessageLen, &a)
		msg, cut := a.AppendTo(nil, &q, zone.Frame{Limit: wire.MaxMessageLen})
		if !cut {
			t.Errorf("TXT %s of 4,000 machines is reported as whole in %d octets", name, len(msg))
		}
	}
}

// The longest round trip that can be measured was taken for an unknown one.
func TestLongestRoundTripIsKnown(t *testing.T) {
	s, p := load(t, "../cmd/internaldns/sample/org.json", zone.Options{})
	rtt := registry.RTT{From: "ams", To: "xx1", MS: math.MaxUint32}
	if _, err := s.Apply([]registry.Event{registry.Put(&rtt)}); err != nil {
		t.Fatal(err)
	}
	got := text(ask(t, p, netip.MustParseAddr("fdaa:0:18:a7b:7d:f066:b83b:2"), serverAddr, dns.TypeTXT, "top3.nearest.of.pg.internal"))
	if want := "region=xx1,ping=4294967295\""; !strings.HasSuffix(got, want) {
		t.Errorf("TXT top3.nearest.of.pg.internal, the third machine 4294967295 ms away\n got %s\nwant … %s", got, want)
	}
}

// A key FLY_process_group names no group, and fly_process_group does. A change from one to the
// other makes a name, and left the SERIAL as it was.
func TestTheSerialChangesWithTheLetterCaseOfAGroupsKey(t *testing.T) {
	s, p := load(t, "../cmd/internaldns/sample/org.json", zone.Options{})
	const id = "148e21dad76789"
	put := func(key string) uint64 {
		t.Helper()
		m := *s.Snapshot().Machine(id)
		m.Metadata = []registry.Pair{{Key: key, Value: "x"}}
		if _, err := s.Apply([]registry.Event{registry.Put(&m)}); err != nil {
			t.Fatal(err)
		}
		return s.Snapshot().NetworkIndex(m.Network)
	}
	before, after := put("FLY_process_group"), put("fly_process_group")
	if got := text(ask(t, p, netip.MustParseAddr("fdaa:0:18:a7b:7d:f066:b83b:2"), serverAddr, dns.TypeAAAA, "x.process.web.internal")); before == after || got == "" {
		t.Errorf("the SERIAL was %d and is %d, with the answer %q", before, after, got)
	}
}

// Replacing the configured clients wrote to a table that other goroutines were reading.
func TestClientsAreReplacedBesideReaders(t *testing.T) {
	_, p := load(t, "../cmd/internaldns/sample/org.json", kindOptions)
	old, src := p.Table(), netip.MustParseAddr(fromLoopback)
	var readers sync.WaitGroup
	readers.Go(func() {
		for range 1000 {
			old.For(src, serverAddr)
		}
	})
	p.SetClients(nil)
	readers.Wait()
	was, is := old.For(src, serverAddr), p.Table().For(src, serverAddr)
	if was.Network() != 0x18 || is.Network() != 0 {
		t.Errorf("a loopback client is in %v in the old table and in %v in the new; want fdaa:0:18::/48 and none", was.Network(), is.Network())
	}
}

// A commit was lost if it came while Ready or SetClients made their table, and all later
// tables lacked its changes.
func TestNoCommitIsLostBesideOtherChanges(t *testing.T) {
	p := zone.NewPublisher(zone.Options{TTL: 5})
	s := registry.NewStore(p.Commit)
	const apps = 300
	var others sync.WaitGroup
	for _, change := range []func(){p.Ready, func() { p.SetClients(nil) }} {
		others.Go(func() {
			for range 10 * apps {
				change()
			}
		})
	}
	for i := range apps {
		if _, err := s.Apply([]registry.Event{registry.Put(&registry.App{Network: 0x18, Name: fmt.Sprint("app", i)})}); err != nil {
			t.Fatal(err)
		}
	}
	others.Wait()
	src := registry.Network(0x18).Server()
	for i := range apps {
		name := fmt.Sprintf("app%d.internal", i)
		if got := text(ask(t, p, src, serverAddr, dns.TypeAAAA, name)); got != "NOERROR\t" {
			t.Fatalf("AAAA %s, an app without machines\n got %s\nwant NODATA", name, got)
		}
	}
}

// All addresses of a /112 were in one list, which was copied for each change and searched
// from end to end for each query.
func TestManyPeersOfOneGatewayCostLittle(t *testing.T) {
	const few, many = 100, 20_000
	cost := func(peers int) uint64 {
		s, p := publishFleet(t, 1, 1)
		var events []registry.Event
		for i := range peers {
			b := fleetNetwork.Prefix().Addr().As16()
			b[13], b[14], b[15] = 0xa, byte(i>>8), byte(i)
			events = append(events, registry.Put(&registry.Peer{Name: fmt.Sprint("peer-", i), Address: netip.AddrFrom16(b), Region: "ams"}))
		}
		if _, err := s.Apply(events); err != nil {
			t.Fatal(err)
		}
		return p.allocated / uint64(peers)
	}
	if one, each := cost(few), cost(many); each > 3*one {
		t.Errorf("compiling one of %d peers in a /112 allocates %d octets, and one of %d allocates %d", few, one, many, each)
	}
}
