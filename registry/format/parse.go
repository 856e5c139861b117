package format

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/internaldns/internaldns/registry"
)

// Parse reads a registry file from r and returns its facts, or, if anything is
// wrong with them, registry.Faults that say all of it. Other errors are those
// of r.
//
// The name decides the form: YAML if it ends in .yaml or .yml, JSON if it ends
// in .json; otherwise a text that begins with a brace is JSON and others are
// YAML. JSON is read as a stream and may be of any size.
//
// progress, unless nil, is called from time to time with the number of machines
// read so far.
func Parse(name string, r io.Reader, progress func(machines int)) (*registry.Facts, error) {
	if progress == nil {
		progress = func(int) {}
	}
	buffered := bufio.NewReaderSize(r, readSize)
	r = buffered
	var faults registry.Faults
	if isYAML(name, buffered) {
		text, err := io.ReadAll(io.LimitReader(r, maxYAML+1))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		json, fs := toJSON(text)
		if json == nil {
			return nil, fs
		}
		r, faults = bytes.NewReader(json), fs
	}

	w := newWalk(r, progress)
	w.file()
	a := assemble(w, w.pool.wait())
	if w.in.err != nil {
		return nil, fmt.Errorf("read %s: %w", name, w.in.err)
	}
	faults = append(faults, a.faults...)
	faults = append(faults, w.faults...)
	if w.end != nil {
		faults = append(faults, *w.end)
	}
	faults = append(faults, news(a.facts.Validate(), append(a.silent, faults...))...)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return &a.facts, nil
}

// readSize is how many octets are read from a file at once; the JSON decoder
// would ask for 4096.
const readSize = 64 << 10

// isYAML says whether the file of that name, which r begins to read, is YAML. It
// consumes nothing.
func isYAML(name string, r *bufio.Reader) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml":
		return true
	case ".json":
		return false
	}
	for n := 1; ; n++ {
		b, err := r.Peek(n)
		if err != nil {
			return false // nothing but white space, or an error to come
		}
		if c := b[n-1]; !strings.ContainsRune(" \t\r\n", rune(c)) {
			return c != '{'
		}
	}
}

// news returns the faults in err, which Validate returned, that are about a
// field of which nothing was said: a field that could not be decoded looks empty
// to Validate.
func news(err error, said registry.Faults) registry.Faults {
	var found registry.Faults
	if !errors.As(err, &found) || len(said) == 0 {
		return found
	}
	type place struct{ object, field string }
	known := make(map[place]bool, len(said))
	for _, f := range said {
		known[place{f.Object, f.Field}] = true
	}
	fresh := found[:0]
	for _, f := range found {
		if !known[place{f.Object, f.Field}] {
			fresh = append(fresh, f)
		}
	}
	return fresh
}
