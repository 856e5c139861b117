//go:build linux

package netns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/test/internal/program"
)

// The server is the only one in resolv.conf. A lookup of a forwarded name gives what
// the upstream gives.
func TestForwardedNamesAreAsTheUpstreamHasThem(t *testing.T) {
	need(t, outside)
	// getaddrinfo(3) asks for A only where there is an IPv4 address.
	if err := ip("addr add 10.9.9.9/32 dev lo"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ip("addr del 10.9.9.9/32 dev lo") })
	zone, questions := upstreamZone()
	serveUpstream(t, zone)
	program.Serve(t, "--registry", "../../cmd/internaldns/sample/org.json", "--listen", "[fdaa::3]:53",
		"--admin", "127.0.0.1:9153", "--upstream", upstream)

	t.Run("dig", func(t *testing.T) { testDig(t, questions) })
	t.Run("getent", func(t *testing.T) { testGetent(t, questions) })
	t.Run("Go", func(t *testing.T) { testGo(t, questions) })

	var status struct {
		Forward struct {
			Upstreams []struct{ State string }
			Cache     struct{ Hits, Misses uint64 }
		}
	}
	resp, err := http.Get("http://127.0.0.1:9153/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	f := &status.Forward
	if len(f.Upstreams) != 1 || f.Upstreams[0].State != "healthy" || f.Cache.Misses < zoneNames || f.Cache.Hits < zoneNames {
		t.Errorf("the status of forwarding is %+v", *f)
	}
}

// local are lookups of local names.
var local = []struct{ command, want string }{
	{"dig +short web.internal AAAA", "fdaa:0:18:a7b:7d:f066:b83b:2\nfdaa:0:18:a7b:1d3:cb60:76c3:2\nfdaa:0:18:a7b:1d3:ea9b:7cc0:2\n"},
	{"dig +short _apps.internal TXT", `"asleep,fly-builder-quiet-sun-7,pg,web"` + "\n"},
	{"dig +short -x fdaa:0:18:a7b:7d:f066:b83b:2", "148e21dad76789.vm.web.internal.\n"},
	{"getent hosts ams.web.internal", "fdaa:0:18:a7b:7d:f066:b83b:2 ams.web.internal\n"},
	{"dig +short localhost A", "127.0.0.1\n"},
}

func testLocal(t *testing.T) {
	t.Helper()
	for _, tt := range local {
		if got := run(t, tt.command); got != tt.want {
			t.Errorf("$ %s\n got %s\nwant %s", tt.command, got, tt.want)
		}
	}
}

// testDig sends every question with dig to the upstream, and twice to the server: the
// second response is from the cache.
func testDig(t *testing.T, questions []question) {
	hasProgram(t, "dig")
	batch := filepath.Join(t.TempDir(), "questions")
	var lines strings.Builder
	for _, q := range questions {
		fmt.Fprintf(&lines, "%s %s\n", q.name, q.qtype)
	}
	if err := os.WriteFile(batch, []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	ask := func(server string) []string {
		t.Helper()
		command := "dig " + server + " -f " + batch + " +noall +comments +question +answer +authority +nottlid"
		out := run(t, command)
		blocks := strings.Split(out, ";; Got answer:\n")[1:]
		if len(blocks) != len(questions) {
			t.Fatalf("$ %s\nprints %d answers to %d questions:\n%.2000s", command, len(blocks), len(questions), out)
		}
		return blocks
	}
	want := ask("@" + upstream)
	for _, from := range []string{"upstream", "the cache"} {
		got := ask("")
		for i := range questions {
			if g, w := digResponse(got[i]), digResponse(want[i]); g != w {
				t.Errorf("%s %s, from %s\n got %.600s\nwant %.600s", questions[i].qtype, questions[i].name, from, g, w)
			}
			if !strings.Contains(got[i], ";; flags: qr rd ra;") {
				t.Errorf("%s %s, from %s, has other flags than qr rd ra:\n%.300s", questions[i].qtype, questions[i].name, from, got[i])
			}
		}
		testLocal(t)
	}
}

// digResponse returns the part of dig's output for one response that is compared:
// status, question, records; the authority section of negative responses only.
func digResponse(block string) string {
	var status, section string
	var question, answer, authority []string
	for line := range strings.Lines(block) {
		line = strings.TrimSuffix(line, "\n")
		_, after, isHeader := strings.Cut(line, "status: ")
		switch name, isSection := strings.CutSuffix(line, " SECTION:"); {
		case isHeader:
			status, _, _ = strings.Cut(after, ",")
		case isSection:
			section = strings.TrimPrefix(name, ";; ")
		case line == "" || strings.HasPrefix(line, ";;") || strings.HasPrefix(line, "; "):
		case section == "QUESTION":
			question = append(question, line)
		case section == "ANSWER":
			answer = append(answer, line)
		case section == "AUTHORITY":
			authority = append(authority, line)
		}
	}
	if len(answer) > 0 {
		authority = nil
	}
	slices.Sort(answer)
	return strings.Join(slices.Concat([]string{status}, question, answer, authority), "\n")
}

// testGetent looks up hosts with getent, as programs in C do.
func testGetent(t *testing.T, questions []question) {
	hasProgram(t, "getent")
	var names []string
	for _, q := range questions {
		if q.qtype == "A" || q.qtype == "AAAA" {
			names = append(names, q.name)
		}
	}
	for _, database := range []string{"ahosts", "hosts"} {
		command := "getent " + database + " " + strings.Join(names, " ")
		got := run(t, command)
		want := ""
		withResolvConf(t, "nameserver "+upstream+"\n", func() { want = run(t, command) })
		if strings.Count(want, "\n") < zoneNames/2 {
			t.Fatalf("getent %s finds little: %.300s", database, want)
		}
		gots, wants := strings.Split(got, "\n"), strings.Split(want, "\n")
		for i, line := range wants {
			if i >= len(gots) || gots[i] != line {
				t.Errorf("getent %s, line %d of %d:\n got %s\nwant %s", database, i, len(wants), strings.Join(gots[min(i, len(gots)):min(i+3, len(gots))], "\n"), line)
				break
			}
		}
	}
	testLocal(t)
}

// testGo looks up names with Go's own resolver, which reads resolv.conf, and with one
// that asks the upstream.
func testGo(t *testing.T, questions []question) {
	ours := &net.Resolver{PreferGo: true}
	direct := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(upstream, "53"))
	}}
	ctx := context.Background()
	for _, q := range questions {
		look := func(r *net.Resolver) string {
			var found any
			var err error
			switch q.qtype {
			case "A", "AAAA":
				var list []netip.Addr
				list, err = r.LookupNetIP(ctx, "ip", q.name+".")
				slices.SortFunc(list, netip.Addr.Compare) // A and AAAA responses come in any order
				found = list
			case "MX":
				var list []*net.MX
				list, err = r.LookupMX(ctx, q.name+".")
				var texts []string
				for _, mx := range list {
					texts = append(texts, fmt.Sprint(*mx))
				}
				found = texts
			case "TXT":
				found, err = r.LookupTXT(ctx, q.name+".")
			default:
				found, err = r.LookupCNAME(ctx, q.name+".")
			}
			if dnsErr, ok := errors.AsType[*net.DNSError](err); ok {
				err = fmt.Errorf("%s, not found: %v", dnsErr.Err, dnsErr.IsNotFound)
			}
			return fmt.Sprintf("%v, %v", found, err)
		}
		if got, want := look(ours), look(direct); got != want {
			t.Errorf("%s %s\n got %.600s\nwant %.600s", q.qtype, q.name, got, want)
		}
	}
	if ips, err := ours.LookupNetIP(ctx, "ip6", "ams.web.internal"); err != nil || fmt.Sprint(ips) != "["+machine+"]" {
		t.Errorf("ams.web.internal is at %v, %v", ips, err)
	}
}

// withResolvConf runs f with another resolv.conf, for programs that f starts. The
// file belongs to the namespace.
func withResolvConf(t testing.TB, text string, f func()) {
	t.Helper()
	const path = "/etc/resolv.conf"
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text []byte) {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write([]byte(text))
	defer write(before)
	f()
}
