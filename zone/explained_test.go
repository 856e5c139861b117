package zone_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/explain"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

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

// In random registries, an explanation has the answer that the server gives, and every
// machine of the app in question is either in the answer or left out for a reason.
func TestExplanationsAgreeWithAnswers(t *testing.T) {
	r := newRand(t)
	accounted := 0
	for range 15 {
		w, pub := newWorldOfCommits(r)
		for range 30 {
			w.step()
		}
		v := newVersion(pub.Table(), w.store.Snapshot(), w.options, w.serials)
		for range 60 {
			src, dst, q := w.ask(v)
			if w.one(2) {
				q.qtype = dns.TypeAAAA
			}
			name := dns.Fqdn(unpackedName(t, q.labels))
			e := explain.Explain(w.store.Snapshot(), w.options, src, dst, q.qtype, name)

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

// unpackedName returns a name in presentation format.
func unpackedName(t testing.TB, labels []string) string {
	t.Helper()
	name, _, err := dns.UnpackDomainName(slowWire(labels), 0)
	if err != nil {
		t.Fatal(err)
	}
	return name
}
