//go:build amd64 || arm64 || loong64 || ppc64 || ppc64le || riscv64 || s390x

package socket

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func bind(t *testing.T, addr string) *Batch {
	t.Helper()
	b, err := NewBatch(netip.MustParseAddrPort(addr), 512)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if b.fd >= 0 {
			b.Close()
		}
	})
	return b
}

// echo answers the batch that Recv read with its own octets.
func echo(b *Batch, first, n int) {
	for i := first; i < n; i++ {
		d := b.Datagram(i)
		b.Reply(i, append(b.Out(), d.Msg...))
	}
}

// dial returns a client of b. It waits at most 10 s for a datagram.
func dial(t *testing.T, b *Batch) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(boundTo(t, b)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// The kernel refuses to send one response; the others of its batch arrive.
func TestALostResponseDoesNotDelayOthers(t *testing.T) {
	const n = 5
	for lost := range n {
		b := bind(t, "127.0.0.1:0")
		var clients []*net.UDPConn
		for id := range byte(n) {
			c := dial(t, b)
			c.Write([]byte{id})
			clients = append(clients, c)
		}
		first, got, err := b.Recv()
		if first != 0 || got != n || err != nil {
			t.Fatalf("Recv read datagrams %d to %d, want 0 to %d: %v", first, got, n, err)
		}
		echo(b, first, got)
		b.names[lost].Port = 0 // the kernel sends nothing to port 0
		if got := b.Send(); got != 1 {
			t.Errorf("Send lost %d responses, want 1", got)
		}
		for i, c := range clients {
			buf := make([]byte, 10)
			if i == lost {
				continue
			}
			if k, err := c.Read(buf); err != nil || k != 1 || buf[0] != byte(i) {
				t.Errorf("client %d gets %x, %v", i, buf[:k], err)
			}
		}
	}
}

// A full receive buffer drops what arrives, and a full batch leaves the rest for
// the next: nothing is answered twice, and nothing that was queued is lost.
func TestMoreDatagramsThanTheSocketHolds(t *testing.T) {
	b := bind(t, "127.0.0.1:0")
	if err := unix.SetsockoptInt(b.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<10); err != nil {
		t.Fatal(err)
	}
	c := dial(t, b)
	c.SetReadBuffer(4 << 20)
	const sent = 1000
	for id := range uint16(sent) {
		if _, err := c.Write(binary.BigEndian.AppendUint16(nil, id)); err != nil {
			t.Fatal(err)
		}
	}
	b.Stop()
	answered := 0
	for {
		first, n, err := b.Recv()
		if err == ErrStopped {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		echo(b, first, n)
		if lost := b.Send(); lost != 0 {
			t.Errorf("%d responses are lost", lost)
		}
		answered += n - first
	}
	if answered <= BatchSize || answered == sent {
		t.Errorf("%d datagrams of %d are answered", answered, sent)
	}
	buf := make([]byte, 10)
	for id := range uint16(answered) { // the socket queued the first ones
		if n, err := c.Read(buf); err != nil || n != 2 || binary.BigEndian.Uint16(buf) != id {
			t.Fatalf("response %d is %x, %v", id, buf[:n], err)
		}
	}
	c.SetReadDeadline(time.Now())
	if n, err := c.Read(buf); err == nil {
		t.Errorf("one response too many, of %d octets", n)
	}
}
