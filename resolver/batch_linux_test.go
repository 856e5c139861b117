//go:build amd64 || arm64 || loong64 || ppc64 || ppc64le || riscv64 || s390x

package resolver

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// In one batch are queries of both families to many addresses: each response
// leaves from its own, in the batches after it too.
func TestOneBatchHoldsManyAddressesAsked(t *testing.T) {
	r := listen(t, Config{Listen: []string{"[::]:0"}, UDPWorkers: 1})
	port := r.Addrs()[0].Port()
	var clients []*client // connected: they take only what comes from the address asked
	for i := range 20 {
		clients = append(clients,
			dialUDP(t, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i)}), port)),
			dialUDP(t, netip.AddrPortFrom(netip.IPv6Loopback(), port)))
	}
	for round := range 3 {
		for i, c := range clients {
			c.send(question(t, uint16(i), dns.TypeAAAA, "web.internal"))
		}
		if round == 0 {
			r.run() // what is sent so far is one batch
		}
		for i, c := range clients {
			if m := unpack(t, c.receive()); int(m.Id) != i || len(m.Answer) != 3 {
				t.Errorf("asked by %v: %v", c.conn.LocalAddr(), m)
			}
		}
	}
	wantCounts(t, r.counts(), map[string]float64{"dns_requests_total 1 udp AAAA": 60, "dns_requests_total 2 udp AAAA": 60})
}

// A response that the system refuses to send is lost; the others of its batch
// are not.
func TestALostResponseDoesNotHoldUpOthers(t *testing.T) {
	const n = 5
	for lost := range n {
		r := listen(t, Config{Listen: []string{"[::1]:0"}, UDPWorkers: 1})
		w := r.workers[0]
		var clients []*client
		for id := range uint16(n) {
			c := dialUDP(t, r.Addrs()[0])
			c.send(question(t, id, dns.TypeAAAA, "web.internal"))
			clients = append(clients, c)
		}
		_, got, err := w.batch.recv()
		if got != n || err != nil {
			t.Fatalf("recv took %d datagrams: %v", got, err)
		}
		for i := range got {
			w.answer(i)
		}
		w.batch.names[lost].Port = 0 // nobody can be sent to there
		if got := w.batch.send(); got != 1 {
			t.Errorf("send lost %d responses, want 1", got)
		}
		for i, c := range clients {
			if i != lost {
				c.receive()
			}
		}
		r.Close()
	}
}

// The same, counted, and from the network: a datagram may claim to come from
// port 0, to which nothing can be sent.
func TestADatagramFromPort0IsDropped(t *testing.T) {
	r := start(t, Config{UDPWorkers: 1})
	sent := 0.0
	for _, server := range r.Addrs() {
		conn := rawUDP(t, server.Addr())
		for id := range uint16(4) {
			msg := question(t, id, dns.TypeAAAA, "web.internal")
			datagram := make([]byte, 8, 8+len(msg)) // source port, destination port, length, checksum: RFC 768
			binary.BigEndian.PutUint16(datagram[2:], server.Port())
			binary.BigEndian.PutUint16(datagram[4:], uint16(8+len(msg)))
			datagram = append(datagram, msg...)
			if server.Addr().Is6() { // without a checksum there would be nothing to receive
				binary.BigEndian.PutUint16(datagram[6:], checksum6(server.Addr(), datagram))
			}
			if _, err := conn.WriteTo(datagram, &net.IPAddr{IP: server.Addr().AsSlice()}); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		dialUDP(t, server).ask(question(t, 9, dns.TypeAAAA, "web.internal"))
	}
	wantCounts(t, r.counts(), map[string]float64{
		"dns_dropped_total udp source": sent,
		"dns_dropped_total udp send":   0,
		"dns_responses_total NOERROR":  2,
	})
}

// rawUDP returns a socket that sends UDP datagrams with headers of the caller's
// making. That needs a privilege.
func rawUDP(t testing.TB, addr netip.Addr) net.PacketConn {
	t.Helper()
	network := "ip4:udp"
	if addr.Is6() {
		network = "ip6:udp"
	}
	conn, err := net.ListenPacket(network, addr.String())
	if errors.Is(err, unix.EPERM) {
		t.Skip("only root may send datagrams from port 0")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// checksum6 returns the checksum of a UDP datagram from addr to itself (RFC
// 8200, Section 8.1).
func checksum6(addr netip.Addr, datagram []byte) uint16 {
	pseudo := append(addr.AsSlice(), addr.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(datagram)))
	pseudo = append(append(pseudo, 0, 0, 0, unix.IPPROTO_UDP), datagram...)
	if len(pseudo)%2 == 1 {
		pseudo = append(pseudo, 0)
	}
	sum := uint32(0)
	for ; len(pseudo) > 0; pseudo = pseudo[2:] {
		sum += uint32(binary.BigEndian.Uint16(pseudo))
	}
	for sum > 0xFFFF {
		sum = sum&0xFFFF + sum>>16
	}
	return ^uint16(sum)
}

// A full receive buffer drops what comes, and a full batch leaves the rest for
// the next: nothing is answered twice, and nothing is stuck.
func TestMoreQueriesThanTheSocketHolds(t *testing.T) {
	r := listen(t, Config{Listen: []string{"127.0.0.1:0"}, UDPWorkers: 1})
	if err := unix.SetsockoptInt(r.workers[0].batch.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<10); err != nil {
		t.Fatal(err)
	}
	c := dialUDP(t, r.Addrs()[0])
	c.conn.SetReadBuffer(4 << 20)
	const sent = 1000
	for id := range uint16(sent) {
		c.send(question(t, id, dns.TypeAAAA, "nobody.internal"))
	}
	r.run()
	r.stop()
	seen := make(map[uint16]bool)
	answered := r.counts()["dns_responses_total NXDOMAIN"]
	for range int(answered) {
		m := unpack(t, c.receive())
		if seen[m.Id] {
			t.Errorf("query %d is answered twice", m.Id)
		}
		seen[m.Id] = true
	}
	if answered == 0 || answered == sent {
		t.Errorf("%v queries of %d are answered", answered, sent)
	}
	for id := range uint16(answered) { // the first were kept
		if !seen[id] {
			t.Errorf("query %d waited in the socket and is not answered", id)
		}
	}
	c.conn.SetReadDeadline(time.Now()) // whatever is still there is one too many
	if n, err := c.conn.Read(make([]byte, 512)); err == nil {
		t.Errorf("one more response, of %d octets", n)
	}
}
