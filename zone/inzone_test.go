package zone

import (
	"testing"

	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// InZone and Lookup agree on the names in our zones. If they did not, a query for such a name
// could be forwarded, or a response of an upstream could be believed.
func TestInZoneAgreesWithLookup(t *testing.T) {
	for name, want := range map[string]bool{
		"internal.": true, "web.internal.": true, "a.b.c.d.e.internal.": true, "_apps.internal.": true,
		"flycast.": true, "web.flycast.": true,
		"fly-local-6pn.": true, "x.fly-local-6pn.": true,
		"a.a.d.f.ip6.arpa.":     true,
		"8.a.a.d.f.ip6.arpa.":   true,
		"d.f.ip6.arpa.":         false,
		"b.a.d.f.ip6.arpa.":     false,
		"a.a.d.f.ip6.arpa.com.": false,
		".":                     false, "com.": false, "internal.com.": false, "xinternal.": false,
		`a\.internal.`: false, `\008internal.`: false, "local-6pn.": false, "arpa.": false, "ip6.arpa.": false,
	} {
		var buf [wire.MaxNameLen]byte
		n, err := dns.PackDomainName(name, buf[:], 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := InZone(buf[:n]); got != want {
			t.Errorf("InZone(%s) is %v, want %v", name, got, want)
		}
		msg, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		var q wire.Query
		if q.Parse(msg) != wire.Answer {
			t.Fatalf("%s: not a query", name)
		}
		if got := zoneOf(&q) != otherZone; got != want {
			t.Errorf("Lookup finds %s in a zone: %v, want %v", name, got, want)
		}
	}
}
