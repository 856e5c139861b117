package resolver

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// After a stall, datagrams that waited for too long are dropped one by one, up
// to the first that did not.
func TestStaleDatagramsAreDroppedAfterAStall(t *testing.T) {
	conn, err := listenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b, err := newBatch(conn, netip.MustParseAddr("127.0.0.1"), 512)
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.DialUDP("udp", nil, conn.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, msg := range []string{"old", "older", "fresh", "new"} {
		if _, err := client.Write([]byte(msg)); err != nil {
			t.Fatal(err)
		}
	}

	ages := []time.Duration{staleAfter, time.Hour, staleAfter - 1}
	b.age = func(fd uintptr) time.Duration {
		if got := age(fd); got < 0 || got > time.Minute {
			t.Errorf("the kernel says that the datagram is %v old", got)
		}
		a := ages[0]
		ages = ages[1:]
		return a
	}
	b.began = time.Now().Add(-staleAfter) // as if the worker had been stopped since
	for _, want := range []string{"fresh", "new"} {
		n, err := b.recv()
		if err != nil || n != 1 {
			t.Fatalf("recv: %d datagrams, %v", n, err)
		}
		if got := string(b.datagram(0).msg); got != want {
			t.Errorf("received %q, want %q", got, want)
		}
	}
	if got := b.stales(); got != 2 {
		t.Errorf("%d datagrams were dropped for their age, want 2", got)
	}
	if got := b.stales(); got != 0 {
		t.Errorf("%d more were dropped, want 0", got)
	}
}
