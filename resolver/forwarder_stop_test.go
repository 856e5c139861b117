package resolver

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// When the server stops, it first waits for the forwarder's responses. Meanwhile it
// answers local names as before, and refuses to forward other queries.
func TestStopWaitsForForwardedResponses(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			d := newFakeForwarder()
			r := start(t, Config{Forward: d})
			a, b := tr.dial(t, r.Addrs()[0]), tr.dial(t, r.Addrs()[0])
			first, second := question(t, 1, dns.TypeTXT, "one.example"), question(t, 2, dns.TypeTXT, "two.example")
			a.query(first)
			ka := d.next(t)
			b.query(second)
			kb := d.next(t)
			r.cancel()

			// Until the server has noticed, queries are submitted.
			refused := 0
			for end := time.Now().Add(patience); refused == 0 && time.Now().Before(end); {
				a.query(question(t, 3, dns.TypeTXT, "three.example"))
				a.query(question(t, 4, dns.TypeAAAA, "web.internal"))
				for {
					m := unpack(t, a.receive())
					if m.Id == 3 && m.Rcode == dns.RcodeRefused {
						refused++
						continue
					}
					if m.Id != 4 || len(m.Answer) != 3 {
						t.Errorf("a local query while the server stops gets %v", m)
					}
					break
				}
				for len(d.tasks) > 0 {
					k := <-d.tasks
					k.answer(0)
					a.receive()
				}
			}
			if refused == 0 {
				t.Fatal("queries are submitted after the order to stop")
			}
			ka.answer(100)
			wantForwarded(t, a, first, tr.stream, 100)
			select {
			case <-r.ended:
				t.Fatal("Run returns while a query has no response")
			default:
			}
			kb.answer(200)
			wantForwarded(t, b, second, tr.stream, 200)
			select {
			case err := <-r.ended:
				if err != nil {
					t.Error(err)
				}
				r.cancel = nil
			case <-time.After(patience):
				t.Fatal("Run does not return although all is answered")
			}
		})
	}
}

// A forwarder that does not answer delays the end of the server by forwardGrace. Its
// responses after that are dropped. They must not reach a socket that has the same
// descriptor then.
func TestStopWaitsAtMostForwardGrace(t *testing.T) {
	d := newFakeForwarder()
	r := start(t, Config{Forward: d, Listen: []string{"127.0.0.1:0", "[::]:0"}})
	var tasks []*task
	for _, tr := range transports {
		for _, addr := range r.Addrs() {
			if addr.Addr().IsUnspecified() {
				addr = netip.AddrPortFrom(netip.IPv6Loopback(), addr.Port())
			}
			tr.dial(t, addr).query(question(t, 1, dns.TypeTXT, "www.example.com"))
			tasks = append(tasks, d.next(t))
		}
	}
	client, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	began := time.Now()
	r.stop()
	if took := time.Since(began); took < forwardGrace {
		t.Errorf("the server stopped after %v, although queries have no response, want %v", took, forwardGrace)
	}
	// All descriptors of the server are now those of sockets that would send to
	// client.
	for range 50 {
		conn, err := net.DialUDP("udp", nil, client.LocalAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	for _, k := range tasks {
		k.answer(100)
	}
	mark, err := net.DialUDP("udp", nil, client.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer mark.Close()
	mark.Write([]byte("mark"))
	client.SetDeadline(time.Now().Add(patience))
	buf := make([]byte, 512)
	if n, err := client.Read(buf); err != nil || !bytes.Equal(buf[:n], []byte("mark")) {
		t.Errorf("another socket has sent %x, %v", buf[:n], err)
	}
}
