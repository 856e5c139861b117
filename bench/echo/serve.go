//go:build unix

package echo

import (
	"fmt"
	"net/netip"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/internaldns/internaldns/bench/internal/mmsg"
)

const (
	batch = 32   // datagrams to one system call; more gain nothing measurable
	size  = 4096 // octets of the longest datagram that comes back whole
)

// Serve returns datagrams until the socket fails, on the calling thread and
// with blocking system calls, as the C program does. Datagrams shorter than
// least octets are made that long.
func Serve(addr netip.AddrPort, least int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fd, err := bind(addr)
	if err != nil {
		return fmt.Errorf("listen on %v: %w", addr, err)
	}
	defer unix.Close(fd)
	return loop(fd, least)
}

func loop(fd, least int) error {
	b := mmsg.New(batch, size, true)
	for {
		n, err := b.Recv(fd, batch, true)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		for i := range n {
			b.SetLen(i, max(len(b.Received(i)), min(least, size)))
		}
		for sent := 0; sent < n; {
			k, _ := b.Send(fd, sent, n)
			sent += max(1, k) // what cannot be sent is lost, as it is elsewhere
		}
	}
}

func bind(addr netip.AddrPort) (int, error) {
	family := unix.AF_INET6
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	if addr.Addr().Is4() {
		family = unix.AF_INET
		sa = &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	if err := unix.Bind(fd, sa); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
