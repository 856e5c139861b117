//go:build unix

package servers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// freeAddr returns an address that no socket is bound to. If another program takes
// it first, the test fails because its server does not start.
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
	bin, err := BuildEcho(t.Context(), t.TempDir())
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
			t.Errorf("the echo prints %q, %v", line, err)
		}
		checkReturns(t, addr, tt.least)
		cmd.Process.Kill()
		cmd.Wait()
	}
}

func TestTheCProgramRefusesABadAddress(t *testing.T) {
	bin, err := BuildEcho(t.Context(), t.TempDir())
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("no C compiler here")
	}
	out, err := exec.Command(bin, "nowhere", "53").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "nowhere") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestBuildEchoSaysThatThereIsNoCompiler(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := BuildEcho(context.Background(), t.TempDir()); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("without a compiler: %v", err)
	}
}

func TestEchoReturnsDatagrams(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		s, err := listen(netip.AddrPortFrom(netip.MustParseAddr(host), 0))
		if err != nil {
			t.Fatal(err)
		}
		go s.echo(900) // ends with the test program
		checkReturns(t, s.addr, 900)
	}
}
