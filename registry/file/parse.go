package file

import (
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
	r, yaml, err := form(name, r)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	var faults registry.Faults
	if yaml {
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
	faults = append(faults, news(a.facts.Validate(), faults)...)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return &a.facts, nil
}

// form says whether r is YAML, and returns r as it was before it looked.
func form(name string, r io.Reader) (_ io.Reader, yaml bool, err error) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml":
		return r, true, nil
	case ".json":
		return r, false, nil
	}
	var seen []byte
	for len(bytes.TrimLeft(seen, " \t\r\n")) == 0 {
		var b [1]byte
		n, err := r.Read(b[:])
		seen = append(seen, b[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, false, err
		}
	}
	text := bytes.TrimLeft(seen, " \t\r\n")
	return io.MultiReader(bytes.NewReader(seen), r), len(text) > 0 && text[0] != '{', nil
}

// news returns the faults in err, which Validate returned, that are about a
// field of which nothing was said yet: a field that could not be decoded looks
// empty to Validate.
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
