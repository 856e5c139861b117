package resolver

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// One batch has queries of both families to many addresses. Each response leaves from
// the address asked, in later batches too.
func TestResponsesOfOneBatchLeaveFromTheAddressesAsked(t *testing.T) {
	r := listen(t, Config{Listen: []string{"[::]:0"}, UDPWorkers: 1})
	port := r.Addrs()[0].Port()
	var clients []*client // connected: they receive only from the address asked
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
			r.run() // all queries so far are one batch
		}
		for i, c := range clients {
			if m := unpack(t, c.receive()); int(m.Id) != i || len(m.Answer) != 3 {
				t.Errorf("asked by %v: %v", c.conn.LocalAddr(), m)
			}
		}
	}
	wantCounts(t, r.counts(), map[string]float64{"dns_requests_total 1 udp AAAA": 60, "dns_requests_total 2 udp AAAA": 60})
}

// A datagram may claim to come from port 0, to which nothing can be sent.
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
			if server.Addr().Is6() { // the kernel drops datagrams without a checksum
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

// rawUDP returns a socket that sends UDP datagrams whose headers the caller writes.
// That needs a privilege.
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
