package echo

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"net/netip"
)

// freeAddr returns an address that nobody is bound to. Somebody else could
// take it first; the test then fails to start its server, and says so.
func freeAddr(t testing.TB, host string) netip.AddrPort {
	t.Helper()
	l, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.LocalAddr().(*net.UDPAddr).AddrPort()
}

// checkReturns fails the test unless the server returns datagrams as they are.
func checkReturns(t *testing.T, server netip.AddrPort) {
	t.Helper()
	conn, err := net.Dial("udp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	want := bytes.Repeat([]byte("datagram"), 100)
	got := make([]byte, 4096)
	for range 500 { // until the server listens
		conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		conn.Write(want)
		n, err := conn.Read(got)
		if err != nil {
			continue
		}
		if !bytes.Equal(got[:n], want) {
			t.Errorf("%d octets came back as %d others", len(want), n)
		}
		return
	}
	t.Error("nothing came back")
}

func TestTheCProgramReturnsDatagrams(t *testing.T) {
	bin, err := Build(t.Context(), t.TempDir())
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("no C compiler here")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		addr := freeAddr(t, host)
		cmd := exec.Command(bin, host, addr.String()[strings.LastIndexByte(addr.String(), ':')+1:])
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		checkReturns(t, addr)
		cmd.Process.Kill()
		cmd.Wait()
	}
}

func TestTheCProgramRefusesWhatIsNoAddress(t *testing.T) {
	bin, err := Build(t.Context(), t.TempDir())
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("no C compiler here")
	}
	out, err := exec.Command(bin, "nowhere", "53").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "nowhere") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestBuildSaysThatThereIsNoCompiler(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Build(context.Background(), t.TempDir()); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("without a compiler: %v", err)
	}
}

func TestServeReturnsDatagrams(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		fd, err := bind(netip.AddrPortFrom(netip.MustParseAddr(host), 0))
		if err != nil {
			t.Fatal(err)
		}
		name, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		var port int
		switch a := name.(type) {
		case *unix.SockaddrInet4:
			port = a.Port
		case *unix.SockaddrInet6:
			port = a.Port
		}
		go loop(fd) // has no other end than that of its process: it is left to it
		checkReturns(t, netip.AddrPortFrom(netip.MustParseAddr(host), uint16(port)))
	}
}
