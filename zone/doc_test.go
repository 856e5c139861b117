package zone_test

import (
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/explain"
	"github.com/miekg/dns"
)

// Every name form of the table in doc.go exists, with values from org.json, and has
// records of the type in the table. Explain finds the form. A word in the place of a
// region is reserved.
func TestDocNames(t *testing.T) {
	s, p := load(t, "../cmd/internaldns/sample/org.json", zone.Options{})
	src := netip.MustParseAddr("fdaa:0:18:a7b:7d:f066:b83b:2")
	fill := strings.NewReplacer("<app>", "web", "<region>", "ams", "<group>", "worker", "<value>", "1.2.3", "<key>", "version",
		"<N>", "2", "<id>", "148e21dad76789", "<peer>", "my-peer",
		"<address>", "2.0.0.0.b.3.8.b.6.6.0.f.d.7.0.0.b.7.a.0.8.1.0.0.0.0.0.0.a.a.d.f")
	forms := make(map[string]bool)
	for _, row := range docTable(t) {
		form, qtype := row[0], row[1]
		name := fill.Replace(form)
		if strings.Contains(name, "<") {
			t.Fatalf("doc_test.go has no value for a placeholder of %s", name)
		}
		forms[form] = true
		if m := regexp.MustCompile(`(?:^|\.)([a-z]+)\.<app>\.internal$`).FindStringSubmatch(form); m != nil && !slices.Contains(registry.ReservedRegions, m[1]) {
			t.Errorf("a region can be called %s, as in %s: registry/check.go does not reserve the word", m[1], form)
		}
		m := ask(t, p, src, serverAddr, dns.StringToType[qtype], name)
		if got := text(m); len(m.Answer) == 0 || strings.HasSuffix(got, "\t\"\"") {
			t.Errorf("%s %s, as doc.go lists it\n got %s\nwant data", qtype, name, got)
			continue
		}
		for _, rr := range m.Answer {
			if rr.Header().Rrtype != dns.StringToType[qtype] {
				t.Errorf("%s %s has in its answer %v", qtype, name, rr)
			}
		}
		e := explain.Explain(s.Snapshot(), zone.Options{TTL: 5}, src, serverAddr, dns.StringToType[qtype], name)
		if e.Form != form {
			t.Errorf("%s is explained with form %q, want %q", name, e.Form, form)
		}
	}
	if len(forms) < 20 {
		t.Errorf("doc.go lists %d name forms, want at least 20", len(forms))
	}
}

// docTable returns the rows of the table in doc.go: form and type.
func docTable(t testing.TB) (rows [][2]string) {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^//\t(\S+)  +(AAAA|TXT|PTR)  +\S`)
	for _, m := range row.FindAllStringSubmatch(string(doc), -1) {
		rows = append(rows, [2]string{m[1], m[2]})
	}
	return rows
}
