// Package internaldns_test holds the tests of the project as a whole: who may
// import whom, and that what the documents show is so.
package internaldns_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/internaldns/internaldns"

// mayImport is the map of the house: each package, the packages of this module
// that it may know, and those of others. A package that is not named may know
// none. "bench/..." and "test/..." may know all.
var mayImport = map[string]struct{ ours, theirs []string }{
	"zone/wire":                {},
	"metrics":                  {nil, []string{"github.com/prometheus/client_golang"}},
	"internal/client":          {},
	"internal/dig":             {[]string{"resolver/socket"}, []string{"github.com/miekg/dns"}},
	"internal/filewatch":       {},
	"internal/workers":         {},
	"registry":                 {[]string{"registry/index"}, []string{"github.com/hashicorp/go-memdb", "github.com/klauspost/compress"}},
	"registry/file":            {[]string{"internal/filewatch", "registry", "registry/format"}, []string{"go.uber.org/zap"}},
	"registry/format":          {[]string{"internal/workers", "registry"}, []string{"go.yaml.in/yaml", "github.com/go-json-experiment/json"}},
	"registry/index":           {},
	"registry/api":             {[]string{"internal/filewatch", "metrics", "registry", "registry/api/objects", "registry/api/watch", "registry/format"}, []string{"github.com/go-json-experiment/json", "go.uber.org/zap", "golang.org/x/net"}},
	"registry/api/objects":     {[]string{"registry", "registry/format"}, []string{"github.com/go-json-experiment/json"}},
	"registry/api/watch":       {[]string{"registry"}, []string{"github.com/go-json-experiment/json"}},
	"registry/disk":            {[]string{"internal/workers", "registry"}, []string{"go.etcd.io/bbolt", "go.uber.org/zap", "golang.org/x/sys"}},
	"registry/etcd":            {[]string{"registry", "registry/format"}, []string{"golang.org/x/sync", "go.etcd.io/etcd/client/v3", "go.etcd.io/etcd/api/v3", "google.golang.org/grpc", "github.com/go-json-experiment/json", "go.uber.org/zap"}},
	"registry/etcd/etcdtest":   {},
	"zone":                     {[]string{"registry", "zone/persist", "zone/wire"}, nil},
	"zone/explain":             {[]string{"registry", "zone", "zone/wire"}, []string{"github.com/miekg/dns"}},
	"zone/persist":             {},
	"resolver":                 {[]string{"zone", "zone/wire", "metrics", "resolver/socket"}, []string{"golang.org/x/sys", "go.uber.org/zap"}},
	"resolver/forward/message": {[]string{"zone/wire"}, nil},
	"resolver/socket":          {nil, []string{"golang.org/x/sys"}},
	"cmd/internaldns":          {[]string{"internal/client", "internal/dig", "internal/filewatch", "zone", "zone/explain", "zone/wire", "registry", "registry/file", "registry/format", "registry/disk", "registry/etcd", "registry/api", "registry/api/watch", "resolver", "resolver/forward", "metrics", "bench/dnsload"}, []string{"github.com/spf13", "go.uber.org/zap", "go.yaml.in/yaml", "github.com/miekg/dns", "github.com/prometheus/client_golang", "golang.org/x/"}},

	"resolver/forward":          {[]string{"internal/filewatch", "metrics", "resolver/forward/cache", "resolver/forward/clock", "resolver/forward/message", "resolver/forward/upstream", "zone/wire"}, []string{"github.com/miekg/dns", "go.uber.org/zap"}},
	"resolver/forward/cache":    {[]string{"resolver/forward/clock", "resolver/forward/message", "zone/wire"}, []string{"github.com/maypok86/otter"}},
	"resolver/forward/clock":    {},
	"resolver/forward/upstream": {[]string{"metrics", "resolver/forward/clock", "resolver/forward/message", "zone/wire"}, []string{"github.com/miekg/dns", "go.uber.org/zap", "golang.org/x/sync", "golang.org/x/sys"}},
}

// A listed package is what go list says of one.
type listed struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Deps       []string
	Standard   bool
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,GoFiles,Imports,Deps,Standard"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImports(t *testing.T) {
	packages := list(t, "./...")
	if len(packages) < len(mayImport) {
		t.Fatalf("go list found %d packages, fewer than the map has", len(packages))
	}
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		if strings.HasPrefix(name, "bench") || strings.HasPrefix(name, "test") || len(p.GoFiles) == 0 {
			continue
		}
		may := mayImport[name]
		for _, path := range p.Imports {
			if ours, ok := strings.CutPrefix(path, module+"/"); ok {
				if !slices.Contains(may.ours, ours) {
					t.Errorf("%s imports %s", name, ours)
				}
			} else if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
				if !slices.ContainsFunc(may.theirs, func(prefix string) bool { return strings.HasPrefix(path, prefix) }) {
					t.Errorf("%s imports %s", name, path)
				}
			}
		}
	}
}

// The code that answers a query uses no other DNS library, and package wire does
// not use fmt, which allocates.
func TestTheHotPathKnowsNoFmtAndNoOtherDNSLibrary(t *testing.T) {
	for _, p := range list(t, "./zone/wire") {
		if slices.Contains(p.Deps, "fmt") {
			t.Errorf("%s depends on fmt", p.ImportPath)
		}
	}
	for _, p := range list(t, "./zone/wire", "./zone", "./resolver") {
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range f.Imports {
				if spec.Path.Value == `"github.com/miekg/dns"` {
					t.Errorf("%s of %s imports github.com/miekg/dns", name, p.ImportPath)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItPromises(t *testing.T) {
	for _, p := range list(t, "./...") {
		documented := len(p.GoFiles) == 0
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			documented = documented || f.Doc.Text() != ""
		}
		if !documented {
			t.Errorf("%s has no doc comment", p.ImportPath)
		}
	}
}

// A comment that names a file of the project, such as lookup.go or zone/lookup.go, names one
// that exists: in its own folder, in the one above, or from the project's root.
func TestCommentsNameFilesThatExist(t *testing.T) {
	word := regexp.MustCompile(`[\w./-]*\w\.go\b`)
	seen := 0
	for _, p := range list(t, "./...") {
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, group := range f.Comments {
				for _, file := range word.FindAllString(group.Text(), -1) {
					seen++
					if !slices.ContainsFunc([]string{p.Dir, filepath.Dir(p.Dir), "."}, func(dir string) bool {
						_, err := os.Stat(filepath.Join(dir, file))
						return err == nil
					}) {
						t.Errorf("a comment of %s/%s names %s, which does not exist", strings.TrimPrefix(p.ImportPath, module+"/"), name, file)
					}
				}
			}
		}
	}
	if seen < 50 {
		t.Errorf("found %d names of files; does this test still find them?", seen)
	}
}

// The links of the documents, and the make commands that they show, lead to something.
func TestDocumentsNameWhatThereIs(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	target := regexp.MustCompile("(?m)(?:`|\\$ |or: |^)make ([a-z-]+)")
	seen := 0
	for _, pattern := range []string{"*.md", "docs/*.md", "bench/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range link.FindAllSubmatch(text, -1) {
				seen++
				if _, err := os.Stat(filepath.Join(filepath.Dir(file), string(m[1]))); err != nil {
					t.Errorf("%s has a link to %s: %v", file, m[1], err)
				}
			}
			for _, m := range target.FindAllSubmatch(text, -1) {
				seen++
				if !bytes.Contains(makefile, []byte("\n"+string(m[1])+":")) {
					t.Errorf("%s says make %s, and the Makefile has no such target", file, m[1])
				}
			}
		}
	}
	if seen < 8 {
		t.Errorf("found %d links and make commands; does this test still find them?", seen)
	}
}
