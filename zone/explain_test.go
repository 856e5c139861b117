package zone_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
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

// Explanations read as the golden file says. Its lines that begin with ">" are
// the questions: source, destination, type and name.
func TestExplanationsReadWell(t *testing.T) {
	const golden = "testdata/explain.golden"
	s, _ := load(t, "testdata/org.json", explainOptions)
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
		e := zone.Explain(s.Snapshot(), explainOptions, netip.MustParseAddr(part[0]), netip.MustParseAddr(part[1]),
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
	s, _ := load(t, "testdata/org.json", explainOptions)
	src := netip.MustParseAddr("fdaa:0:18:a7b:7d:f066:b83b:2")
	explain := func(name string) string {
		return zone.Explain(s.Snapshot(), explainOptions, src, serverAddr, dns.TypeAAAA, name).String()
	}
	for _, theirs := range []string{"vault.internal", "f0e1d2c3b4a596.vm.web.internal", "nrt.web.internal", "phantoon._peer.internal"} {
		nobodys := strings.Map(func(r rune) rune {
			if r == 'a' {
				return 'o'
			}
			return r
		}, strings.Replace(theirs, "nrt", "nrq", 1))
		nobodys = strings.Replace(nobodys, ".internol", ".internal", 1)
		want := strings.ReplaceAll(explain(nobodys), strings.Split(nobodys, ".")[0], strings.Split(theirs, ".")[0])
		if got := explain(theirs); got != want {
			t.Errorf("%s is explained otherwise than %s, which nobody has:\n%s\n%s", theirs, nobodys, got, want)
		}
	}
	all := explain("_instances.internal") + explain("_apps.internal") + explain("web.internal")
	if strings.Contains(all, registry.Network(0x39018).Prefix().Addr().String()[:11]) {
		t.Errorf("an explanation shows an address of another network:\n%s", all)
	}
}

// Explanations come to the answer that the server gives, in random registries,
// and every machine of an app that was asked for is either in the answer or left
// out for a reason.
func TestExplanationsAgreeWithAnswers(t *testing.T) {
	r := newRand(t)
	accounted := 0
	for range 15 {
		w, pub := born(r)
		for range 30 {
			w.step()
		}
		v := newVersion(pub.Table(), w.store.Snapshot(), w.options)
		for range 60 {
			src, dst, q := w.ask(v)
			if w.one(2) {
				q.qtype = dns.TypeAAAA
			}
			name := dns.Fqdn(unpackedName(t, q.labels))
			e := zone.Explain(w.store.Snapshot(), w.options, src, dst, q.qtype, name)

			var road road
			road.q.Parse(q.message())
			msg := road.answer(pub.Table(), src, dst, wire.MaxMessageLen)
			view := pub.Table().For(src, dst)
			if e.Finding != road.a.Finding || e.Finding != zone.Refused && (e.Network != view.Network() || e.Region != view.Region()) {
				t.Fatalf("%v %s, asked by %v at %v: network %v, region %q, %v\nwant %v, %q, %v\n%v", dns.Type(q.qtype), name, src, dst,
					e.Network, e.Region, e.Finding, view.Network(), view.Region(), road.a.Finding, e)
			}
			if e.NameReason == "" || e.NetworkReason == "" || e.RegionReason == "" {
				t.Fatalf("an explanation lacks a reason:\n%v", e)
			}
			if e.Finding != zone.Data {
				continue
			}
			m := new(dns.Msg)
			if err := m.Unpack(msg); err != nil || len(m.Answer) != len(e.Records) {
				t.Fatalf("%v %s: explained with %d records, answered with %d (%v)", dns.Type(q.qtype), name, len(e.Records), len(m.Answer), err)
			}
			if q.qtype != dns.TypeAAAA {
				continue
			}
			if e.Form == "<app>.internal" || e.Form == "global.<app>.internal" || strings.HasPrefix(e.Form, "top") ||
				strings.HasPrefix(e.Form, "<region>") || strings.HasPrefix(e.Form, "<group>") || strings.HasPrefix(e.Form, "<value>") {
				app := w.store.Snapshot().App(e.Network, strings.ToLower(q.labels[len(q.labels)-2]))
				machines := 0
				for range w.store.Snapshot().Machines(app) {
					machines++
				}
				if len(e.Records)+len(e.LeftOut) != machines {
					t.Fatalf("%s has %d machines, but the explanation accounts for %d:\n%v", app.Name, machines, len(e.Records)+len(e.LeftOut), e)
				}
				accounted++
			}
		}
	}
	if accounted < 10 {
		t.Errorf("only %d answers held machines of an app", accounted)
	}
}

// unpackedName returns a name as people write it.
func unpackedName(t testing.TB, labels []string) string {
	t.Helper()
	name, _, err := dns.UnpackDomainName(slowWire(labels), 0)
	if err != nil {
		t.Fatal(err)
	}
	return name
}
