//go:build linux

package netns

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/internaldns/internaldns/resolver/socket"
	"github.com/internaldns/internaldns/test/internal/program"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// insideEnv is set for the process that runs in the namespaces.
const insideEnv = "TEST_IN_NETNS"

// outside is the reason why the tests do not run in their own namespaces; nil if they
// do.
var outside error

// TestMain runs the tests in another process, in new network and mount namespaces:
// their changes to interfaces and files end with the process.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(insideEnv) != "":
		if err := setUp(); err != nil {
			fmt.Fprintf(os.Stderr, "set up the namespace: %v\n", err)
			os.Exit(1)
		}
		os.Exit(program.Main(m))
	case os.Geteuid() != 0:
		outside = fmt.Errorf("network namespaces need root")
		os.Exit(m.Run())
	}
	os.Exit(enter(m))
}

// enter runs this program again, in namespaces, and returns its exit status.
func enter(m *testing.M) int {
	path, remove, err := program.Build() // go build can need the network, which the namespace has not
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1", program.Env+"="+path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil { // root without the permission, as in a container
		outside = fmt.Errorf("make namespaces: %w", err)
		return m.Run()
	}
	cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

// need skips a test that cannot run, or fails it in CI, unless missing is nil.
func need(t testing.TB, missing error) {
	t.Helper()
	switch {
	case missing == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(missing)
	default:
		t.Skip(missing)
	}
}

// Addresses in the namespace. A client that does not choose an address sends from
// that of machine.
const (
	server  = "fdaa::3"
	machine = "fdaa:0:18:a7b:7d:f066:b83b:2" // of app web
	laptop  = "fd00::9"                      // no 6PN address
)

// setUp makes every 6PN address local to the namespace, puts fdaa::3 on an interface,
// and makes it the server in resolv.conf.
func setUp() error {
	if err := ip("link set lo up"); err != nil {
		return err
	}
	for _, addr := range []string{server, machine, laptop} {
		if err := ip("-6 addr add " + addr + "/128 dev lo nodad"); err != nil {
			return err
		}
		if err := reach(addr); err != nil {
			return err
		}
	}
	for _, args := range []string{
		"add local fdaa::/16 dev lo src " + machine,
		"del local " + server + " dev lo table local", // with it, clients of fdaa::3 would send from fdaa::3
	} {
		if err := ip("-6 route " + args); err != nil {
			return err
		}
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("mount /", err)
	}
	for path, text := range map[string]string{
		"/etc/resolv.conf":   "nameserver " + server + "\n",
		"/etc/nsswitch.conf": "hosts: files dns\n",
	} {
		if err := replace(path, text); err != nil {
			return fmt.Errorf("replace %s: %w", path, err)
		}
	}
	return nil
}

func ip(args string) error {
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, out)
	}
	return nil
}

// reach returns when datagrams to an address that was just added reach it. The kernel
// adds its route later.
func reach(addr string) error {
	lc := net.ListenConfig{Control: socket.Freebind}
	conn, err := lc.ListenPacket(context.Background(), "udp", net.JoinHostPort(addr, "0"))
	if err != nil {
		return err
	}
	defer conn.Close()
	for range 500 {
		conn.WriteTo([]byte{0}, conn.LocalAddr()) // fails while there is no route
		conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, _, err := conn.ReadFrom(make([]byte, 1)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("nothing reaches %s", addr)
}

// replace replaces the file at path, for this process and those that it starts.
func replace(path, text string) error {
	f, err := os.CreateTemp("", filepath.Base(path))
	if err != nil {
		return err
	}
	defer f.Close()
	defer os.Remove(f.Name()) // the mount still refers to the file
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	return os.NewSyscallError("mount", unix.Mount(f.Name(), path, "", unix.MS_BIND, ""))
}

// serve starts the program with org.json, at the addresses.
func serve(t testing.TB, listen ...string) {
	t.Helper()
	need(t, outside)
	args := []string{"--registry", "../../cmd/internaldns/sample/org.json", "--admin", "off"}
	for _, l := range listen {
		args = append(args, "--listen", l)
	}
	program.Serve(t, args...)
}

// dial returns a socket at address from, which need not be on an interface, that is
// connected to port 53 of address to.
func dial(t testing.TB, network, from, to string) *dns.Conn {
	t.Helper()
	d := net.Dialer{
		Timeout:   10 * time.Second,
		LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)},
		Control:   socket.Freebind,
	}
	if network == "tcp" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := d.DialContext(context.Background(), network, net.JoinHostPort(to, "53"))
	if err != nil {
		t.Fatalf("connect %s to %s: %v", from, to, err)
	}
	t.Cleanup(func() { conn.Close() })
	return &dns.Conn{Conn: conn, UDPSize: 8192}
}

// exchange sends a query and returns the response.
func exchange(t testing.TB, conn *dns.Conn, qtype uint16, name string) *dns.Msg {
	t.Helper()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype).SetEdns0(8192, false)
	if err := conn.WriteMsg(q); err != nil {
		t.Fatal(err)
	}
	m, err := conn.ReadMsg()
	if err != nil {
		t.Fatalf("%s %s, from %v to %v: %v", dns.TypeToString[qtype], name, conn.LocalAddr(), conn.RemoteAddr(), err)
	}
	if m.Id != q.Id || len(m.Question) != 1 || m.Question[0] != q.Question[0] || m.Truncated {
		t.Errorf("%s %s: the response is %v", dns.TypeToString[qtype], name, m)
	}
	return m
}

// outcome writes a response as expect.tsv does, with a space for the tab.
func outcome(m *dns.Msg) string {
	items := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.AAAA:
			items = append(items, rr.AAAA.String())
		case *dns.TXT:
			items = append(items, `"`+strings.Join(rr.Txt, "")+`"`)
		case *dns.PTR:
			items = append(items, rr.Ptr)
		case *dns.NS:
			items = append(items, rr.Ns)
		case *dns.SOA:
			items = append(items, "SOA")
		default:
			items = append(items, rr.String())
		}
	}
	return strings.Join(items, " ")
}
