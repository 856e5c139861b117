//go:build linux

package netns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// upstream is the address of the upstream in these tests.
const upstream = "127.0.0.53"

// A question is one for a forwarded name.
type question struct{ name, qtype string }

// zoneNames is the number of names in the zone of the upstream, besides some special
// ones.
const zoneNames = 3000

// upstreamZone returns a zone file, and a question for each name in it: A, AAAA, MX, TXT
// and HTTPS records, CNAMEs that lead to one of them over up to eight others, and
// RRsets of 60 kB, which need TCP.
func upstreamZone() (zone string, questions []question) {
	var z strings.Builder
	z.WriteString("$ORIGIN example.com.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.53\n")
	chain := 0
	for i := range zoneNames {
		n, qtype := fmt.Sprintf("n%d", i), ""
		switch i % 6 {
		case 0:
			qtype, chain = "A", 0
			for j := range 1 + i%7 {
				fmt.Fprintf(&z, "%s A 192.0.2.%d\n", n, j+1)
			}
			if i%12 == 0 {
				fmt.Fprintf(&z, "%s AAAA 2001:db8:1::%x\n", n, i)
			}
		case 1:
			qtype = "AAAA"
			fmt.Fprintf(&z, "%s AAAA 2001:db8::%x\n", n, i)
		case 2:
			qtype = "MX"
			fmt.Fprintf(&z, "%s MX 10 mail.%s\n%s MX 20 n%d.example.net.\n", n, n, n, i)
		case 3:
			qtype = "TXT"
			fmt.Fprintf(&z, "%s TXT \"%s\" \"of %d\"\n", n, strings.Repeat("x", 1+i%250), i)
		case 4:
			qtype = "HTTPS"
			fmt.Fprintf(&z, "%s HTTPS 1 n%d alpn=h2,h3 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1\n", n, i-4)
		case 5:
			qtype = "A"
			for chain = range i % 9 {
				fmt.Fprintf(&z, "%s CNAME c%d.%s\n", n, chain, n)
				n = fmt.Sprintf("c%d.%s", chain, n)
			}
			fmt.Fprintf(&z, "%s CNAME n%d\n", n, i-5)
		}
		questions = append(questions, question{fmt.Sprintf("n%d.example.com", i), qtype})
	}
	for i := range 3700 {
		fmt.Fprintf(&z, "huge A 198.18.%d.%d\n", i/250, i%250)
	}
	for i := range 230 {
		fmt.Fprintf(&z, "story TXT \"%03d %s\"\n", i, strings.Repeat("y", 240))
	}
	return z.String(), append(questions,
		question{"huge.example.com", "A"}, question{"story.example.com", "TXT"},
		question{"absent.example.com", "A"}, question{"n0.example.com", "MX"}, question{"N0.Example.COM", "A"},
		question{"mail.n2.example.com", "A"}, question{"example.com", "SOA"}, question{"n3.example.com", "TYPE65280"},
	)
}

// serveUpstream runs Knot DNS with a zone at the upstream's address, port 53, until
// the test ends.
func serveUpstream(t testing.TB, zone string) {
	t.Helper()
	knotd, err := exec.LookPath("knotd")
	if err != nil {
		knotd = "/usr/sbin/knotd" // often a directory that only root has in PATH
	}
	if _, err := os.Stat(knotd); err != nil {
		need(t, errors.New("knotd is not installed: apt-get install -y knot"))
	}
	dir := t.TempDir()
	conf := fmt.Sprintf(`
server:
    rundir: %[1]s
    listen: %[2]s@53
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
`, dir, upstream)
	for name, text := range map[string]string{"conf": conf, "zone": zone} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(knotd, "-c", filepath.Join(dir, "conf"))
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	c := dns.Client{Net: "tcp", Timeout: time.Second}
	for range 200 {
		m, _, err := c.Exchange(new(dns.Msg).SetQuestion("example.com.", dns.TypeSOA), net.JoinHostPort(upstream, "53"))
		if err == nil && m.Rcode == dns.RcodeSuccess {
			return
		}
		select {
		case <-ended:
			t.Fatalf("knotd ended: %s", &log)
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatal("knotd does not answer")
}
