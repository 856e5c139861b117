package echo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"os/exec"
	"strconv"
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
func checkReturns(t *testing.T, server netip.AddrPort, least int) {
	t.Helper()
	conn, err := net.Dial("udp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	want := bytes.Repeat([]byte("datagram"), 100)
	got := make([]byte, 4096)
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write(want); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(got)
	if err != nil {
		t.Fatal(err)
	}
	if n != max(len(want), least) || !bytes.HasPrefix(got[:n], want) {
		t.Errorf("%d octets came back as %d others", len(want), n)
	}
}

func TestTheCProgramReturnsDatagrams(t *testing.T) {
	bin, err := Build(t.Context(), t.TempDir())
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("no C compiler here")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		host  string
		least int
	}{{"127.0.0.1", 0}, {"::1", 0}, {"127.0.0.1", 2000}} {
		addr := freeAddr(t, tt.host)
		cmd := exec.Command(bin, tt.host, strconv.Itoa(int(addr.Port())), strconv.Itoa(tt.least))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
			t.Errorf("the echo says %q, %v", line, err)
		}
		checkReturns(t, addr, tt.least)
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
		go loop(fd, 900) // has no other end than that of its process: it is left to it
		checkReturns(t, netip.AddrPortFrom(netip.MustParseAddr(host), uint16(port)), 900)
	}
}
