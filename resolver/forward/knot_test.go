package forward

import (
	"fmt"
	"github.com/internaldns/internaldns/resolver/forward/upstream"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// startKnot runs Knot DNS, if it is installed, with a zone.
func startKnot(t *testing.T, zone string) Upstream {
	t.Helper()
	knotd, err := exec.LookPath("knotd")
	if err != nil {
		if knotd = "/usr/sbin/knotd"; exec.Command(knotd, "-V").Run() != nil {
			t.Skip("knotd is not installed")
		}
	}
	dir := t.TempDir()
	for range 5 {
		port := freePort(t)
		conf := fmt.Sprintf(`
server:
    rundir: %[1]s
    listen: 127.0.0.1@%[2]d
    udp-max-payload: 1232
database:
    storage: %[1]s
log:
  - target: stderr
    any: error
zone:
  - domain: example.com
    storage: %[1]s
    file: zone
`, dir, port)
		for name, content := range map[string]string{"conf": conf, "zone": zone} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(knotd, "-c", filepath.Join(dir, "conf"))
		log := new(strings.Builder)
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		up := Upstream{Addr: addrPort(fmt.Sprintf("127.0.0.1:%d", port))}
		for range 200 {
			if m, err := askDirectly(up, "example.com.", dns.TypeSOA); err == nil && m.Rcode == 0 {
				t.Cleanup(func() {
					cmd.Process.Kill()
					<-ended
				})
				return up
			}
			select {
			case <-ended:
			case <-time.After(50 * time.Millisecond):
				continue
			}
			break
		}
		t.Logf("Knot did not start: %s", log)
		cmd.Process.Kill()
	}
	t.Fatal("Knot does not start")
	return Upstream{}
}

// freePort returns a port that was free for UDP and TCP a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func askDirectly(up Upstream, name string, qtype uint16) (*dns.Msg, error) {
	c := dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	m, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, qtype), up.Addr.String())
	return m, err
}

// Through us a client gets what the upstream says, for 3,000 names of an upstream
// that others wrote.
func TestKnotUpstream(t *testing.T) {
	const names = 3000
	z := new(strings.Builder)
	z.WriteString("$ORIGIN example.com.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.53\n")
	types := []string{"A", "AAAA", "MX", "TXT", "HTTPS", "CNAME"}
	for i := range names {
		n := fmt.Sprintf("n%d", i)
		switch types[i%len(types)] {
		case "A":
			for j := range 1 + i%7 {
				fmt.Fprintf(z, "%s A 192.0.2.%d\n", n, j+1)
			}
		case "AAAA":
			fmt.Fprintf(z, "%s AAAA 2001:db8::%x\n", n, i)
		case "MX":
			fmt.Fprintf(z, "%s MX 10 mail.%s\n%s MX 20 n%d.example.net.\n", n, n, n, i)
		case "TXT":
			fmt.Fprintf(z, "%s TXT \"%s\"\n", n, strings.Repeat("x", 1+i%250))
		case "HTTPS":
			fmt.Fprintf(z, "%s HTTPS 1 n%d alpn=h2,h3 ipv4hint=192.0.2.1\n", n, i-4)
		case "CNAME":
			if i%12 == 5 {
				fmt.Fprintf(z, "%s CNAME n%d\n", n, i-5)
			} else {
				fmt.Fprintf(z, "%s CNAME n%d\n", n, i-6)
			}
		}
	}
	for i := range 3500 {
		fmt.Fprintf(z, "huge A 10.0.%d.%d\n", i/250, i%250)
	}
	up := startKnot(t, z.String())
	f := start(t, Config{Upstreams: []Upstream{up}})
	overTCP := client{Client: wire.Client{Addr: local, Limit: 65535, Stream: true}, rd: true}
	compare := func(name string, qtype uint16) {
		t.Helper()
		want, err := askDirectly(up, name, qtype)
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{"upstream", "the cache"} {
			got, _ := overTCP.ask(t, f, dns.TypeToString[qtype]+" "+name)
			if g, w := rrset(got), rrset(want); g != w {
				t.Errorf("%s %s, from %s:\n got %.300s\nwant %.300s", dns.TypeToString[qtype], name, from, g, w)
			}
		}
	}
	for i := range names {
		compare(fmt.Sprintf("n%d.example.com.", i), dns.StringToType[[]string{"A", "AAAA", "MX", "TXT", "HTTPS", "A"}[i%6]])
	}
	compare("huge.example.com.", dns.TypeA)
	compare("absent.example.com.", dns.TypeA)
	compare("n0.example.com.", dns.TypeMX)
	compare("n0.example.com.", dns.TypeANY)
	if m, _ := stub.ask(t, f, "A huge.example.com."); !m.Truncated || len(m.Answer) < 60 {
		t.Errorf("over UDP, of 3500 records came %d, TC %v; want what fits, and TC", len(m.Answer), m.Truncated)
	}
	u := f.upstreams()[0]
	for kind, name := range message.Mismatches {
		if n := u.Stats.Mismatches(kind); n != 0 {
			t.Errorf("%d mismatches %q of a good upstream are counted, want none", n, name)
		}
	}
	if u.State() != upstream.Healthy {
		t.Errorf("a good upstream is %s", u.State())
	}
}

// rrset returns what counts of a response, in an order of its own.
func rrset(m *dns.Msg) string {
	list := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		list = append(list, showRR(rr))
	}
	if len(m.Answer) == 0 {
		for _, rr := range m.Ns {
			list = append(list, showRR(rr))
		}
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}
