package format

import (
	"fmt"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry"
)

// Where the file has strings, YAML's literal text is used, even if YAML reads it as
// another type.
func TestYAMLTextIsLiteral(t *testing.T) {
	for _, id := range []string{
		"148e21", "5683e5", "1e999", "0x18", "0o17", "017", "0b11", "1-000", "123", "12345678901234567890123",
		"true", "no", "Yes", "off", "2026-10-31", "'148e21'", `"148e21"`, "!!int 148", "!!float 1e3", "nan",
	} {
		f := mustParse(t, "x.yaml", fmt.Sprintf(`
apps:
- name: %[1]s
  machines:
  - id: %[1]s
    state: %[1]s
    region: ams
    private_ip: fdaa:0:18::2
    config: {metadata: {%[1]s: %[1]s}}
rtt_ms:
  5e3: {0x1f: 5}
`, id))
		want := strings.ToLower(strings.Trim(id[strings.LastIndex(id, " ")+1:], `'"`))
		m := f.Machines[0]
		for field, got := range map[string]string{
			"name": m.App, "id": m.ID, "state": strings.ToLower(m.State),
			"metadata key": strings.ToLower(m.Metadata[0].Key), "metadata value": strings.ToLower(m.Metadata[0].Value),
		} {
			if got != want {
				t.Errorf("%s: %s is read as %q, want %q", field, id, got, want)
			}
		}
		if got, want := f.RTTs[0], (registry.RTT{From: "5e3", To: "0x1f", MS: 5}); got != want {
			t.Errorf("round trip %+v, want %+v", got, want)
		}
	}
}

// The object of a machine in YAML is stored as JSON: its keys in their order, and its
// numbers with all digits.
func TestYAMLMachineAsJSON(t *testing.T) {
	const head = `
defaults: &defaults
  region: ams
  state: started
  config: &config {metadata: {role: primary}}
apps:
- name: web
  machines:
  - id: a
    private_ip: fdaa:0:18::2
    <<: *defaults
`
	const start, end = `{"id":"a","private_ip":"fdaa:0:18::2","region":"ams","state":"started","config":{"metadata":{"role":"primary"}},`, `}`
	for _, tt := range []struct{ name, yaml, want string }{
		{"integers", "z: [1, -5, 0, +7, 1_000, 0x1F, 0o17, 017, 0b11, 18446744073709551615, 123456789012345678901234567890]",
			`"z":[1,-5,0,7,1000,31,15,15,3,18446744073709551615,123456789012345678901234567890]`},
		{"floats", "z: [1.10, .5, 1., 1e3, 6.02e+23, -0.0]", `"z":[1.10,0.5,1,1e3,6.02e+23,-0.0]`},
		{"words", "z: [true, False, null, ~, yes, no, '', ]", `"z":[true,false,null,null,"yes","no",""]`},
		{"quoted words", `z: ["true", '5', !!str 5, "null"]`, `"z":["true","5","5","null"]`},
		{"times", "z: 2026-10-31T02:30:10Z", `"z":"2026-10-31T02:30:10Z"`},
		{"text of several lines", "z: |\n      a\n      b\n    y: >-\n      a\n      b", `"z":"a\nb\n","y":"a b"`},
		{"keys that are numbers", "1: 2\n    0x10: {~: 5}", `"1":2,"0x10":{"~":5}`},
		{"an alias", "z: *config", `"z":{"metadata":{"role":"primary"}}`},
		{"tags of one's own", "z: !secret x", `"z":"x"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := mustParse(t, "x.yaml", head+"    "+tt.yaml+"\n")
			if got, want := raw(t, f.Machines[0]), start+tt.want+end; got != want {
				t.Errorf("raw object\n got %s\nwant %s", got, want)
			}
		})
	}
}

func TestYAMLMerge(t *testing.T) {
	f := mustParse(t, "x.yaml", `
a: &a {region: ams, state: started, x: a}
b: &b {region: fra, x: b, y: b}
c: &c {<<: *b, z: c}
apps:
- name: web
  machines:
  - <<: [*a, *c]
    id: m
    private_ip: fdaa:0:18::2
    x: own
`)
	const want = `{"region":"ams","state":"started","y":"b","z":"c","id":"m","private_ip":"fdaa:0:18::2","x":"own"}`
	if got := raw(t, f.Machines[0]); got != want {
		t.Errorf("merged machine\n got %s\nwant %s", got, want)
	}
}

func TestYAMLIsBounded(t *testing.T) {
	deep := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
	deeper := "a0: &a0 " + deep + "\n"
	for i := range 2 {
		deeper += fmt.Sprintf("a%d: &a%d %s*a%d%s\n", i+1, i+1, strings.Repeat("[", 9000), i, strings.Repeat("]", 9000))
	}
	merges := "a0: &a0 {x: y}\n"
	for i := range 60 {
		merges += fmt.Sprintf("a%[1]d: &a%[1]d {<<: [*a%[2]d, *a%[2]d]}\n", i+1, i)
	}
	empty := "a0: &a0 {}\n"
	for i := range 60 {
		empty += fmt.Sprintf("a%[1]d: &a%[1]d {<<: [*a%[2]d, *a%[2]d]}\n", i+1, i)
	}
	for _, tt := range []struct{ name, yaml, want string }{
		{"aliases nested within aliases", deeper + "apps: []\n", "nested more than 10000 deep"},
		{"merges of merges", merges + "apps: []\n", "aliases make the file larger by more than 16 MiB"},
		{"merges of nothing", empty + "apps: []\n", "aliases make the file larger by more than 16 MiB"},
		{"a merge of itself", "a: &a\n  <<: *a\napps: []\n", `the alias "a" is within its own value`},
		{"a huge file", strings.Repeat("#", maxYAML+1), "the file is larger than 64 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			json, faults := toJSON([]byte(tt.yaml))
			if json != nil || !strings.Contains(faults.Error(), tt.want) {
				t.Errorf("got %.20q and faults %v, want %s", json, faults, tt.want)
			}
		})
	}
}

// An alias can give every machine a block of defaults.
func TestYAMLAliasesOfUsualSize(t *testing.T) {
	var b strings.Builder
	b.WriteString("defaults: &defaults {state: started, region: ams, config: {image: \"" + strings.Repeat("i", 300) + "\"}}\n")
	b.WriteString("apps:\n- name: web\n  machines:\n")
	const machines = 2000
	for i := range machines {
		fmt.Fprintf(&b, "  - {id: m%d, private_ip: \"fdaa:0:18::%x\", <<: *defaults}\n", i, 16+i)
	}
	f := mustParse(t, "x.yaml", b.String())
	if len(f.Machines) != machines || f.Machines[machines-1].Region != "ams" {
		t.Errorf("%d machines, the last %+v", len(f.Machines), f.Machines[len(f.Machines)-1])
	}
}
