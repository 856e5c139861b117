//go:build unix

package servers

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/internaldns/internaldns/bench/internal/mmsg"
)

//go:embed echo.c.txt
var echoSource []byte

// BuildEcho compiles the echo in C into dir with cc -O2 and returns its path. If
// there is no C compiler, the error is exec.ErrNotFound.
func BuildEcho(ctx context.Context, dir string) (string, error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "", fmt.Errorf("find a C compiler: %w", err)
	}
	src := filepath.Join(dir, "echo.c")
	if err := os.WriteFile(src, echoSource, 0o644); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "echo")
	if out, err := exec.CommandContext(ctx, cc, "-O2", "-o", bin, src).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the echo: %w\n%s", err, out)
	}
	return bin, nil
}

const (
	echoBatch = 32   // datagrams in one system call; more gain nothing measurable
	echoSize  = 4096 // octets of the longest datagram that comes back whole
)

// Echo returns datagrams until the socket fails, on the calling thread and with
// blocking system calls, as the C program does. Datagrams shorter than least
// octets are made that long.
func Echo(addr netip.AddrPort, least int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, err := listen(addr)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.echo(least)
}

func (s *socket) echo(least int) error {
	b := mmsg.New(echoBatch, echoSize, true)
	for {
		n, err := b.Recv(s.fd, echoBatch, true)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		for i := range n {
			b.SetLen(i, max(len(b.Received(i)), min(least, echoSize)))
		}
		s.send(b, 0, n)
	}
}

// A socket is a blocking UDP socket.
type socket struct {
	fd   int
	addr netip.AddrPort
}

// listen returns a socket at the address, or at a free port of it if its port is
// 0.
func listen(addr netip.AddrPort) (*socket, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	defer conn.Close() // f has a descriptor of its own
	// The system grants as much of this as it is configured to.
	conn.SetReadBuffer(4 << 20)
	f, err := conn.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	return &socket{fd, conn.LocalAddr().(*net.UDPAddr).AddrPort()}, err
}

// Close closes the socket, which must not be in use.
func (s *socket) Close() error { return unix.Close(s.fd) }

// send sends the datagrams of the batch from the first up to, but not including,
// end. A datagram that the socket does not take is lost, as on a network.
func (s *socket) send(b *mmsg.Batch, first, end int) {
	for first < end {
		n, _ := b.Send(s.fd, first, end)
		first += max(1, n)
	}
}
