package explain_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/explain"
	"github.com/miekg/dns"
)

var update = flag.Bool("update", false, "write what the golden files should hold")

// explainOptions is the server of testdata/explain.golden.
var explainOptions = zone.Options{
	TTL:    5,
	Region: "lhr",
	Clients: []zone.Client{
		{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Network: 0x18, Region: "ams"},
		{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: 0x18},
	},
}

var serverAddr = netip.MustParseAddr("fdaa::3")

// load returns the facts of org.json.
func load(t *testing.T) *registry.Snapshot {
	t.Helper()
	const path = "../../cmd/internaldns/sample/org.json"
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	facts, err := format.Parse(path, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := registry.NewStore(nil)
	if _, err := s.Apply(s.Snapshot().Diff(facts)); err != nil {
		t.Fatal(err)
	}
	return s.Snapshot()
}

// Explanations read as the golden file says. Its lines that begin with ">" are
// the questions: source, destination, type and name.
func TestExplanationsReadWell(t *testing.T) {
	const golden = "testdata/explain.golden"
	s := load(t)
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	n := 0
	for line := range strings.Lines(string(text)) {
		question, ok := strings.CutPrefix(line, "> ")
		if !ok {
			continue
		}
		n++
		part := strings.Fields(question)
		e := explain.Explain(s, explainOptions, netip.MustParseAddr(part[0]), netip.MustParseAddr(part[1]),
			dns.StringToType[part[2]], part[3])
		fmt.Fprintf(&got, "%s\n%v\n", line, e)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if n < 30 {
		t.Errorf("%s has %d questions, want at least 30", golden, n)
	}
	if got.String() != string(text) {
		t.Errorf("explanations differ from %s (-update rewrites it):\n%s", golden, firstDifference(got.String(), string(text)))
	}
}

// firstDifference shows the first line in which two texts differ.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return fmt.Sprintf("line %d\n got %s\nwant %s", i+1, g[i], strings.Join(w[min(i, len(w)):min(i+1, len(w))], ""))
		}
	}
	return fmt.Sprintf("line %d\n got nothing\nwant %s", len(g)+1, w[len(g)])
}

// What explain says to one network does not depend on the facts of another.
func TestExplanationTellsNothingOfOtherNetworks(t *testing.T) {
	s := load(t)
	src := netip.MustParseAddr("fdaa:0:18:a7b:7d:f066:b83b:2")
	explained := func(name string) string {
		return explain.Explain(s, explainOptions, src, serverAddr, dns.TypeAAAA, name).String()
	}
	for _, theirs := range []string{"vault.internal", "f0e1d2c3b4a596.vm.web.internal", "nrt.web.internal", "phantoon._peer.internal"} {
		missing := strings.Map(func(r rune) rune {
			if r == 'a' {
				return 'o'
			}
			return r
		}, strings.Replace(theirs, "nrt", "nrq", 1))
		missing = strings.Replace(missing, ".internol", ".internal", 1)
		want := strings.ReplaceAll(explained(missing), strings.Split(missing, ".")[0], strings.Split(theirs, ".")[0])
		if got := explained(theirs); got != want {
			t.Errorf("%s is explained otherwise than %s, which no network has:\n%s\n%s", theirs, missing, got, want)
		}
	}
	all := explained("_instances.internal") + explained("_apps.internal") + explained("web.internal")
	if strings.Contains(all, registry.Network(0x39018).Prefix().Addr().String()[:11]) {
		t.Errorf("an explanation shows an address of another network:\n%s", all)
	}
}
