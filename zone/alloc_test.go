package zone_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// A kind is a question that takes its own way through a lookup. The allocation limits and
// the benchmarks ask the same questions.
type kind struct {
	name     string
	qtype    uint16
	question string
	src      string
}

const (
	fromMachine  = "fdaa:0:18:a7b:7d:f066:b83b:2"
	fromPeer     = "fdaa:0:18:a7b:d6b:0:a:102"
	fromNowhere  = "fdaa:0:18:ffff:1:1:1:9"
	fromLoopback = "127.0.0.1"
)

var kinds = []kind{
	{"addresses of an app", dns.TypeAAAA, "web.internal", fromMachine},
	{"addresses in mixed case", dns.TypeAAAA, "WeB.iNtErNaL", fromMachine},
	{"addresses of a region", dns.TypeAAAA, "ams.web.internal", fromPeer},
	{"asked from loopback", dns.TypeAAAA, "web.internal", fromLoopback},
	{"NODATA for A", dns.TypeA, "web.internal", fromMachine},
	{"NODATA of a stopped app", dns.TypeAAAA, "asleep.internal", fromMachine},
	{"NXDOMAIN", dns.TypeAAAA, "nope.internal", fromMachine},
	{"NXDOMAIN below an app", dns.TypeAAAA, "zzz.web.internal", fromMachine},
	{"vms", dns.TypeTXT, "vms.web.internal", fromMachine},
	{"all.regions", dns.TypeTXT, "all.regions.web.internal", fromMachine},
	{"_apps", dns.TypeTXT, "_apps.internal", fromMachine},
	{"_instances", dns.TypeTXT, "_instances.internal", fromMachine},
	{"all._instances", dns.TypeTXT, "all._instances.internal", fromMachine},
	{"_peer", dns.TypeTXT, "_peer.internal", fromMachine},
	{"a peer", dns.TypeAAAA, "my-peer._peer.internal", fromMachine},
	{"_api", dns.TypeAAAA, "_api.internal", fromMachine},
	{"one machine", dns.TypeAAAA, "148e21dad76789.vm.web.internal", fromMachine},
	{"a process group", dns.TypeAAAA, "worker.process.web.internal", fromMachine},
	{"metadata", dns.TypeAAAA, "1.2.3.version.kv._metadata.web.internal", fromMachine},
	{"nearest to a machine", dns.TypeAAAA, "top2.nearest.of.web.internal", fromMachine},
	{"nearest to a peer", dns.TypeAAAA, "top3.nearest.of.pg.internal", fromPeer},
	{"nearest to an unknown region", dns.TypeAAAA, "top3.nearest.of.pg.internal", fromNowhere},
	{"nearest with pings", dns.TypeTXT, "top3.nearest.of.pg.internal", fromMachine},
	{"nearest without pings", dns.TypeTXT, "top3.nearest.of.pg.internal", fromNowhere},
	{"Flycast", dns.TypeAAAA, "web.flycast", fromMachine},
	{"own address", dns.TypeAAAA, "fly-local-6pn", fromMachine},
	{"PTR of a machine", dns.TypePTR, "2.0.0.0.b.3.8.b.6.6.0.f.d.7.0.0.b.7.a.0.8.1.0.0.0.0.0.0.a.a.d.f.ip6.arpa", fromMachine},
	{"PTR of a free address", dns.TypePTR, "3.0.0.0.b.3.8.b.6.6.0.f.d.7.0.0.b.7.a.0.8.1.0.0.0.0.0.0.a.a.d.f.ip6.arpa", fromMachine},
	{"part of a reverse name", dns.TypePTR, "d.7.0.0.b.7.a.0.8.1.0.0.0.0.0.0.a.a.d.f.ip6.arpa", fromMachine},
	{"SOA", dns.TypeSOA, "internal", fromMachine},
	{"ANY", dns.TypeANY, "web.internal", fromMachine},
	{"out of zone", dns.TypeAAAA, "example.com", fromMachine},
	{"refused", dns.TypeAAAA, "web.internal", "192.0.2.1"},
}

// kindOptions places loopback in the network of org.json.
var kindOptions = zone.Options{TTL: 5, Clients: []zone.Client{{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Network: 0x18, Region: "ams"}}}

// A road answers queries as a worker does, with memory that it reuses.
type road struct {
	q   wire.Query
	a   zone.Answer
	out []byte
}

// answer answers the query in r.q.
func (r *road) answer(table *zone.Table, src, dst netip.Addr, limit int) []byte {
	view := table.For(src, dst)
	view.Lookup(&r.q, limit, &r.a)
	r.out, _ = r.a.AppendTo(r.out[:0], &r.q, zone.Frame{Limit: limit, Truncate: limit < wire.MaxMessageLen})
	return r.out
}

// Once a list has been rendered, no step from a parsed query to its response allocates.
func TestAnsweringDoesNotAllocate(t *testing.T) {
	_, p := load(t, "../cmd/internaldns/sample/org.json", kindOptions)
	for _, k := range kinds {
		for _, edns := range []bool{false, true} {
			for _, limit := range []int{wire.MinUDPSize, wire.MaxMessageLen} {
				t.Run(fmt.Sprintf("%s, EDNS %v, limit %d", k.name, edns, limit), func(t *testing.T) {
					m := new(dns.Msg).SetQuestion(dns.Fqdn(k.question), k.qtype)
					if edns {
						m.SetEdns0(1232, true)
					}
					msg, err := m.Pack()
					if err != nil {
						t.Fatal(err)
					}
					src := netip.MustParseAddr(k.src)
					r := &road{out: make([]byte, 0, wire.MaxMessageLen)}
					r.q.Parse(msg)
					got := testing.AllocsPerRun(100, func() {
						if len(r.answer(p.Table(), src, serverAddr, limit)) < wire.HeaderLen {
							t.Fatal("no response")
						}
					})
					if got != 0 {
						t.Errorf("%s %s: %v allocations, want 0", dns.Type(k.qtype), k.question, got)
					}
				})
			}
		}
	}
}
