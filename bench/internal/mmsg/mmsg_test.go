package mmsg

import (
	"testing"

	"golang.org/x/sys/unix"
)

// pair returns two UDP sockets on loopback: one bound, and one connected to it.
func pair(t testing.TB) (server, client int) {
	t.Helper()
	var fds [2]int
	for i := range fds {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		fds[i] = fd
	}
	addr, err := unix.Getsockname(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fds[1], addr); err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

// send sends the texts, and fails the test unless the socket takes all.
func send(t testing.TB, b *Batch, fd int, texts ...string) {
	t.Helper()
	for i, s := range texts {
		b.SetLen(i, copy(b.Buffer(i), s))
	}
	if n, err := b.Send(fd, 0, len(texts)); n != len(texts) || err != nil {
		t.Fatalf("sent %d of %d datagrams: %v", n, len(texts), err)
	}
}

func TestDatagramsAreSentToTheirSource(t *testing.T) {
	server, client := pair(t)
	there, here := New(8, 64, true), New(8, 64, false)
	send(t, here, client, "one", "three", "five and more")
	n, err := there.Recv(server, 8, true)
	if n != 3 || err != nil {
		t.Fatalf("received %d datagrams: %v", n, err)
	}
	for i := range n {
		there.SetLen(i, len(there.Received(i)))
	}
	if n, err := there.Send(server, 0, n); n != 3 || err != nil {
		t.Fatalf("returned %d datagrams: %v", n, err)
	}
	n, err = here.Recv(client, 8, true)
	if n != 3 || err != nil {
		t.Fatalf("received %d datagrams back: %v", n, err)
	}
	if got := string(here.Received(2)); got != "five and more" {
		t.Errorf("third datagram came back as %q", got)
	}
}

func TestAnEmptySocketIsEAGAIN(t *testing.T) {
	server, _ := pair(t)
	if n, err := New(4, 64, false).Recv(server, 4, false); n != 0 || err != unix.EAGAIN {
		t.Errorf("got %d datagrams, %v", n, err)
	}
}

func TestLongDatagramsAreCutToTheBuffer(t *testing.T) {
	server, client := pair(t)
	send(t, New(1, 64, false), client, "0123456789")
	small := New(1, 4, false)
	if n, err := small.Recv(server, 1, true); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if got := string(small.Received(0)); got != "0123" {
		t.Errorf("got %q", got)
	}
}

func TestBatchesDoNotAllocate(t *testing.T) {
	server, client := pair(t)
	there, here := New(8, 64, true), New(8, 64, false)
	got := testing.AllocsPerRun(200, func() {
		send(t, here, client, "a", "b", "c")
		n, _ := there.Recv(server, 8, true)
		for i := range n {
			there.SetLen(i, len(there.Received(i)))
		}
		there.Send(server, 0, n)
		here.Recv(client, 8, true)
		there.Recv(server, 8, false)
	})
	if got != 0 {
		t.Errorf("%v allocations a batch, want 0", got)
	}
}
