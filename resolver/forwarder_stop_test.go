package resolver

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The order to stop lets clients have what the forwarder owes them. Until they
// do, everything goes on, but that the forwarder takes nothing more.
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

			// Until the order has arrived, queries are taken.
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
				t.Fatal("forwarded queries are taken after the order to stop")
			}
			ka.answer(100)
			wantForwarded(t, a, first, tr.stream, 100)
			select {
			case <-r.ended:
				t.Fatal("Run returns while a client is owed its response")
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

// A forwarder that never answers does not keep the server from stopping, and when
// it does after all, nobody hears of it: not even who has the socket's number
// then.
func TestStopDoesNotWaitForForwardedResponsesForEver(t *testing.T) {
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
		t.Errorf("the server stopped after %v, although clients wait, want %v", took, forwardGrace)
	}
	// All numbers that were the server's are now those of sockets that would
	// send to client.
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
		t.Errorf("from a socket of another, there came %x, %v", buf[:n], err)
	}
}
