package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// askAsFlyctl sends a query in the way of flyctl: over TCP. Like flyctl, it reads the
// response with a single Read, ignores the RCODE, and asserts that each record of the
// answer section has the QTYPE.
func askAsFlyctl(t testing.TB, server netip.AddrPort, qtype uint16, name string) string {
	t.Helper()
	conn, err := net.Dial("tcp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	msg, err := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype).Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2+65535)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if n < 2 || n != 2+int(binary.BigEndian.Uint16(buf)) {
		t.Fatalf("%s: one Read returns %d octets, not the whole response: %x", name, n, buf[:min(n, 64)])
	}
	var m dns.Msg
	if err := m.Unpack(buf[2:n]); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var items []string
	for _, rr := range m.Answer {
		switch qtype {
		case dns.TypeAAAA:
			items = append(items, rr.(*dns.AAAA).AAAA.String())
		case dns.TypeTXT:
			items = append(items, strings.Join(rr.(*dns.TXT).Txt, ""))
		}
	}
	return quoted(items...)
}

func TestFlyctl(t *testing.T) {
	server := serve(t)
	for _, tt := range []struct {
		qtype uint16
		name  string
		want  string
	}{
		{dns.TypeTXT, "_apps.internal", quoted("asleep,big,fly-builder-quiet-sun-7,pg,web")},
		{dns.TypeTXT, "_peer.internal", quoted("my-peer")},
		{dns.TypeTXT, "regions.web.internal", quoted("ams,sjc,yyz")},
		{dns.TypeTXT, "vms.asleep.internal", quoted("")},
		{dns.TypeTXT, "regions.absent.internal", ""},
		{dns.TypeTXT, "web.internal", ""},
		{dns.TypeAAAA, "web.internal", quoted(webAMS, webSJC, webYYZ)},
		{dns.TypeAAAA, "top2.nearest.of.web.internal", quoted(webAMS, webYYZ)},
		{dns.TypeAAAA, "148e21dad76789.vm.web.internal", quoted(webAMS)},
		{dns.TypeAAAA, "my-peer._peer.internal", quoted(myPeer)},
		{dns.TypeAAAA, "_api.internal", quoted("fdaa::3")},
		{dns.TypeAAAA, "asleep.internal", ""},
		{dns.TypeAAAA, "absent.internal", ""},
		{dns.TypeAAAA, "example.com", ""},
	} {
		if got := askAsFlyctl(t, server, tt.qtype, tt.name); got != tt.want {
			t.Errorf("%s %s\n got %s\nwant %s", dns.TypeToString[tt.qtype], tt.name, got, tt.want)
		}
	}
	if got := askAsFlyctl(t, server, dns.TypeAAAA, "big.internal"); strings.Count(got, `" "`) != 99 {
		t.Errorf("big.internal is at %s", got)
	}
}

// Items of lists have their documented order, and addresses are ascending. Go's
// resolver sorts them; miekg/dns does not.
func TestOrder(t *testing.T) {
	server := serve(t)
	for _, network := range []string{"udp", "tcp"} {
		c := &dns.Client{Net: network, UDPSize: 8192, Timeout: 20 * time.Second}
		m, _, err := c.Exchange(new(dns.Msg).SetQuestion("big.internal.", dns.TypeAAAA).SetEdns0(8192, false), server.String())
		if err != nil {
			t.Fatal(err)
		}
		if m.Truncated || len(m.Answer) != 100 {
			t.Fatalf("over %s: TC %v, %d records", network, m.Truncated, len(m.Answer))
		}
		for i, rr := range m.Answer {
			if got, want := rr.(*dns.AAAA).AAAA.String(), bigAddr(i).String(); got != want || rr.Header().Ttl != 5 {
				t.Errorf("over %s: record %d is %v, want %s for 5 s", network, i, rr, want)
			}
		}
		m, _, err = c.Exchange(new(dns.Msg).SetQuestion("vms.big.internal.", dns.TypeTXT), server.String())
		if network == "udp" {
			if err != nil || !m.Truncated || len(m.Answer) != 0 {
				t.Errorf("a text too large for UDP: %v, %v", m, err)
			}
			continue
		}
		if err != nil || len(m.Answer) != 1 {
			t.Fatalf("vms.big.internal: %v, %v", m, err)
		}
		txt := m.Answer[0].(*dns.TXT).Txt
		var whole []string
		for _, s := range txt { // string by string, as some clients read it
			whole = append(whole, strings.Split(strings.TrimSuffix(s, ","), ",")...)
		}
		for i, item := range whole {
			if want := fmt.Sprintf("%014x ams", i); item != want {
				t.Errorf("item %d of vms.big.internal is %q, want %q", i, item, want)
			}
		}
		if len(whole) != 100 || len(txt) < 2 {
			t.Errorf("vms.big.internal has %d items in %d strings", len(whole), len(txt))
		}
	}
}
