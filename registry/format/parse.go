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

// Parse reads a registry file from r and returns its facts. If anything is wrong
// with them, the error is registry.Faults with all of it. Other errors are those of
// r.
//
// The name decides the form: YAML if it ends in .yaml or .yml, JSON if it ends
// in .json; otherwise a text that begins with a brace is JSON and others are
// YAML. JSON is read as a stream and may be of any size.
//
// progress, unless nil, is called every 4,096 machines with the number of machines
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
	if w.problem != nil {
		faults = append(faults, *w.problem)
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

// isYAML reports whether the file of that name is YAML. r is at its beginning, and
// stays there.
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
			return false // only white space, or an error that the reader will meet
		}
		if c := b[n-1]; !strings.ContainsRune(" \t\r\n", rune(c)) {
			return c != '{'
		}
	}
}

// news returns the faults in err, which Validate returned, about fields that have
// no fault in known yet: a field that could not be decoded is empty for Validate.
func news(err error, known registry.Faults) registry.Faults {
	var found registry.Faults
	if !errors.As(err, &found) || len(known) == 0 {
		return found
	}
	type place struct{ object, field string }
	seen := make(map[place]bool, len(known))
	for _, f := range known {
		seen[place{f.Object, f.Field}] = true
	}
	fresh := found[:0]
	for _, f := range found {
		if !seen[place{f.Object, f.Field}] {
			fresh = append(fresh, f)
		}
	}
	return fresh
}

// An assembly makes facts of what a walk has found. What cannot be made a fact
// leaves a fault, and the rest is checked all the same.
type assembly struct {
	facts  registry.Facts
	faults registry.Faults // of apps and machines, in the order of the file
	silent registry.Faults // faults of Validate that would only repeat faults
}

// assemble makes facts of what w has read and of the machines, which the pool
// has decoded.
func assemble(w *walk, machines []decoded) *assembly {
	s := &assembly{facts: w.facts}
	s.facts.Apps = make([]registry.App, 0, len(w.apps))
	s.facts.Machines = make([]*registry.Machine, 0, len(machines))
	for i := range w.apps {
		a := &w.apps[i]
		s.app(a, machines[a.first:a.first+a.machines], w.err != nil)
	}
	return s
}

// app adds an app with its machines. If the file was cut short, a missing field is
// no fault of the app.
func (s *assembly) app(a *app, machines []decoded, cutShort bool) {
	object := a.object()
	s.faults = append(s.faults, in(object, a.faults)...)
	excused := cutShort || hasFault(a.faults, "network") || hasFault(a.faults, "machines")
	for i := range machines {
		d := &machines[i]
		if len(d.faults) > 0 {
			s.faults = append(s.faults, in(d.object(i, object), d.faults)...)
			excused = true
		}
	}
	if a.name == "" {
		return // its machines can only be checked by themselves
	}
	if a.network == 0 {
		a.network = networkOf(machines)
	}
	if a.network == 0 {
		s.facts.Apps = append(s.facts.Apps, registry.App{Name: a.name}) // Validate refuses it
		if excused {
			s.silent = append(s.silent, registry.Fault{Object: object, Field: "network"})
		}
		s.machines(a, machines) // what else is wrong with them
		return
	}
	s.facts.Apps = append(s.facts.Apps, registry.App{Network: a.network, Name: a.name})
	for _, addr := range a.flycast {
		s.facts.Flycast = append(s.facts.Flycast, registry.Flycast{Address: addr, App: a.name, Owner: a.network})
	}
	s.machines(a, machines)
}

// machines adds the machines of an app, except those without an id.
func (s *assembly) machines(a *app, machines []decoded) {
	for _, d := range machines {
		if d.machine.ID == "" && !d.machine.Gone() {
			continue // it has a fault already, under its position
		}
		d.machine.App, d.machine.Network = a.name, a.network
		s.facts.Machines = append(s.facts.Machines, d.machine)
	}
}

// networkOf returns the network of an app that names none. It is that of its first
// machine that is not gone and has an address in a network, else that of its first
// gone one, else 0.
func networkOf(machines []decoded) (gone registry.Network) {
	for _, d := range machines {
		n, ok := registry.NetworkOf(d.machine.Address)
		switch {
		case ok && !d.machine.Gone():
			return n
		case ok && gone == 0:
			gone = n
		}
	}
	return gone
}

// object names the machine in faults: by its id, or by its position among the
// app's machines if it has none.
func (d *decoded) object(position int, app string) string {
	if d.machine.ID == "" {
		return fmt.Sprintf("machines[%d] of %s", position, app)
	}
	return fmt.Sprintf("machine %s of %s", registry.Quote(d.machine.ID), app)
}
