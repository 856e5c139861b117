package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Each file in testdata/bad-config begins with a list of its faults, in order.
func TestABadConfigFileIsRefusedWithEveryFault(t *testing.T) {
	files, err := filepath.Glob("testdata/bad-config/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files in testdata/bad-config, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var got, want, body strings.Builder
			for line := range strings.Lines(string(data)) {
				if fault, ok := strings.CutPrefix(line, "# want: "); ok {
					want.WriteString(fault)
				} else {
					body.WriteString(line)
				}
			}
			_, faults := parseConfig(data)
			for _, f := range faults {
				fmt.Fprintln(&got, f)
			}
			if *update {
				fixed := "# want: " + strings.ReplaceAll(strings.TrimSuffix(got.String(), "\n"), "\n", "\n# want: ") + "\n" + body.String()
				if err := os.WriteFile(path, []byte(fixed), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got.String() != want.String() {
				t.Errorf("%s\n got %swant %s", path, got.String(), want.String())
			}
		})
	}
}

// sample/internaldns.yaml has every setting with its reasons, as a start for users.
func TestTheSampleConfigHoldsEverySetting(t *testing.T) {
	const golden = "sample/internaldns.yaml"
	sample := sampleConfig()
	if *update {
		if err := os.WriteFile(golden, []byte(sample), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if sample != string(want) {
		t.Errorf("%s is not what the settings say; go test -update writes it anew. Got\n%s", golden, sample)
	}
}

// Every line of the sample is valid, also those that are commented out.
func TestTheSampleConfigIsRightWithAndWithoutItsComments(t *testing.T) {
	sample := sampleConfig()
	if _, faults := parseConfig([]byte(sample)); len(faults) > 0 {
		t.Errorf("as it is: %v", faults)
	}
	var plain strings.Builder
	for line := range strings.Lines(sample) {
		if !strings.HasPrefix(line, "# ") {
			plain.WriteString(strings.TrimPrefix(line, "#"))
		}
	}
	v, faults := parseConfig([]byte(plain.String()))
	if len(faults) > 0 {
		t.Errorf("with every setting in force: %v\n%s", faults, plain.String())
	}
	for i := range settings {
		s := &settings[i]
		if _, shown := v[s.path]; !s.outside && !shown {
			t.Errorf("the sample does not show %s", s.path)
		}
	}
}

func TestEverySettingSaysWhatItIsAndWhy(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	for i := range settings {
		s := &settings[i]
		_, isToggle := s.value(new(config)).(toggle)
		if s.help == "" || s.why == "" || (s.arg == "") != isToggle {
			t.Errorf("%s lacks help, why or arg", s.path)
		}
		if !s.outside && (s.def == "") == (s.eg == "") {
			t.Errorf("%s needs either a default or an example", s.path)
		}
		addFlags(flags, s.path)
		if flags.Lookup(s.flag()) == nil {
			t.Errorf("%s has no flag --%s", s.path, s.flag())
		}
		if n, ok := s.value(new(config)).(number); ok && n.min >= n.max {
			t.Errorf("%s is bounded by %d and %d", s.path, n.min, n.max)
		}
	}
	if c := defaults(); c.TTL.Seconds() != 5 || c.MaxUDPSize != 8192 || c.Admin != "127.0.0.1:9153" {
		t.Errorf("the defaults are %+v", c)
	}
}

// sampleConfig returns a config file with every setting: its default, or an example that is
// commented out.
func sampleConfig() string {
	var b strings.Builder
	b.WriteString(`# Settings of internaldns, for: internaldns serve --config FILE
#
# Each can also be given as a flag, or in the environment; flags win over the
# environment, and the environment wins over this file. An unknown key is a fault.
# To check the file: internaldns check FILE
`)
	for i := range settings {
		s := &settings[i]
		if s.outside {
			continue
		}
		b.WriteString("\n")
		for line := range strings.Lines(s.why + "\n") {
			b.WriteString("# " + line)
		}
		switch v := s.value(new(config)).(type) {
		case number:
			fmt.Fprintf(&b, "# From %d to %d.\n", v.min, v.max)
		case duration:
			fmt.Fprintf(&b, "# From %s to %s.\n", plain(v.min), plain(v.max))
		}
		fmt.Fprintf(&b, "# --%s, %s\n", s.flag(), s.env())
		if s.def == "" {
			b.WriteString("#")
		}
		fmt.Fprintf(&b, "%s: %s\n", s.path, s.def+s.eg)
	}
	return b.String()
}
