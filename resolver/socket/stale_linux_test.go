//go:build amd64 || arm64 || loong64 || ppc64 || ppc64le || riscv64 || s390x

package socket

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// staleBatch returns a batch whose Recv was not called for staleAfter. Datagrams
// wait in its socket, and the last of them is reported to be as old as last.
func staleBatch(t *testing.T, last time.Duration, msgs ...string) *Batch {
	t.Helper()
	b, err := NewBatch(netip.MustParseAddrPort("127.0.0.1:0"), 512)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	sendTo(t, b, msgs...)
	b.age = func(fd int) time.Duration {
		if got := age(fd); got < 0 || got > time.Minute {
			t.Errorf("the kernel reports that the datagram is %v old", got)
		}
		return last
	}
	b.checked = time.Now().Add(-staleAfter)
	return b
}

func sendTo(t *testing.T, b *Batch, msgs ...string) {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(boundTo(t, b)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, msg := range msgs {
		if _, err := conn.Write([]byte(msg)); err != nil {
			t.Fatal(err)
		}
	}
}

func received(t *testing.T, b *Batch) (msgs []string) {
	t.Helper()
	first, n, err := b.Recv()
	if err != nil {
		t.Fatal(err)
	}
	for i := first; i < n; i++ {
		msgs = append(msgs, string(b.Datagram(i).Msg))
	}
	return msgs
}

func TestAfterAStallOldDatagramsAreDropped(t *testing.T) {
	b := staleBatch(t, staleAfter, "old", "older")
	b.age = func(int) time.Duration { // a new one arrives meanwhile
		sendTo(t, b, "new")
		b.age = func(int) time.Duration { return 0 }
		return staleAfter
	}
	if got := received(t, b); len(got) != 1 || got[0] != "new" {
		t.Errorf("received %q, want the new one alone", got)
	}
	if got := b.TakeStale(); got != 2 {
		t.Errorf("%d datagrams were dropped for their age, want 2", got)
	}
	if got := b.TakeStale(); got != 0 {
		t.Errorf("%d more were dropped, want 0", got)
	}
}

func TestAfterAStallADatagramKnownToBeFreshIsKept(t *testing.T) {
	b := staleBatch(t, staleAfter-1, "unknown", "fresh")
	if got := received(t, b); len(got) != 1 || got[0] != "fresh" {
		t.Errorf("received %q, want the fresh one alone", got)
	}
	sendTo(t, b, "next", "after")
	if got := received(t, b); len(got) != 2 {
		t.Errorf("received %q once the stall was over, want both", got)
	}
}

// A long wait is no stall.
func TestAnIdleBatchDropsNothing(t *testing.T) {
	b := staleBatch(t, time.Hour, "first")
	b.checked = time.Now()
	if got := received(t, b); len(got) != 1 {
		t.Errorf("received %q, want the one that was sent", got)
	}
	if got := b.TakeStale(); got != 0 {
		t.Errorf("%d were dropped, want 0", got)
	}
}

// boundTo returns the address of a batch's socket.
func boundTo(t *testing.T, b *Batch) netip.AddrPort {
	t.Helper()
	sa, err := unix.Getsockname(b.fd)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(b.local, uint16(sa.(*unix.SockaddrInet4).Port))
}
