package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// A Report says what is in a database.
type Report struct {
	Path     string
	Octets   int64
	Index    uint64 // of the last commit
	Records  uint64
	Apps     int
	Machines int // gone ones included
	Peers    int
	Leases   int
	// Warnings are what was wrong with a database and could be left behind.
	Warnings []string
}

// Progress is told now and then how far a function is, in records. It may be
// nil.
type Progress func(records, of uint64)

// Check reads the database in dir, all of it, and returns what is in it. Its
// error is, or joins, Faults: all that is wrong. Nothing is written. It fails if
// a server is running on dir: ask that one.
func Check(dir string, progress Progress) (Report, error) {
	l, err := acquire(dir)
	if err != nil {
		return Report{}, err
	}
	defer l.release()
	path := filepath.Join(dir, fileName)
	c, err := readFile(path, readOptions{progress: progress.each()})
	if err != nil {
		return Report{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := c.facts.Validate(); err != nil {
		return Report{}, fmt.Errorf("%s: %w", path, err)
	}
	return c.report(path), nil
}

func (p Progress) each() func(records, of uint64) error {
	if p == nil {
		return nil
	}
	return func(records, of uint64) error {
		p(records, of)
		return nil
	}
}

func (c *contents) report(path string) Report {
	return Report{
		Path: path, Octets: c.octets, Index: c.index, Records: c.state.records,
		Apps: len(c.facts.Apps), Machines: len(c.facts.Machines), Peers: len(c.facts.Peers), Leases: len(c.leases),
	}
}

// Compact writes the database in dir anew, without what is free in it, and says
// how it was and is. It needs room for both. It mends a damaged meta page and a
// damaged list of free pages: that they were is in the warnings of before. It
// fails if a server is running on dir.
func Compact(dir string, progress Progress) (before, after Report, err error) {
	l, err := acquire(dir)
	if err != nil {
		return before, after, err
	}
	defer l.release()
	path := filepath.Join(dir, fileName)
	if before, err = rewrite(path, path, progress); err != nil {
		return before, after, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return before, after, err
	}
	after = before
	after.Octets, after.Warnings = info.Size(), nil
	return before, after, nil
}

// Backup writes a copy of the database in dir to a file, which is there whole and
// durable when it has returned, and says what is in it. It replaces a file that
// is there. The copy, named registry.db in a directory of its own, can be served
// from. Backup fails if a server is running on dir: its facts are had by GET
// /v1/export.
func Backup(dir, file string, progress Progress) (Report, error) {
	l, err := acquire(dir)
	if err != nil {
		return Report{}, fmt.Errorf("%w; of a running server, internaldns export writes a registry file", err)
	}
	defer l.release()
	path := filepath.Join(dir, fileName)
	if a, err := os.Stat(file); err == nil {
		if b, err := os.Stat(path); err == nil && os.SameFile(a, b) {
			return Report{}, fmt.Errorf("%s is the database itself", file)
		}
		if !a.Mode().IsRegular() {
			return Report{}, fmt.Errorf("%s is no file", file)
		}
	}
	return rewrite(path, file, progress)
}

// rewrite writes what is in the database at path to file, which may be the same,
// and says how it was.
func rewrite(path, file string, progress Progress) (r Report, err error) {
	c, err := readFile(path, readOptions{progress: progress.each(), mend: true})
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	r = c.report(path)
	r.Warnings = c.warnings
	err = build(file, func(d *database) (err error) {
		defer guard(&err)
		defer faultsArePanics()()
		from := &database{path: path}
		if err := from.open(os.O_RDONLY); err != nil {
			return err
		}
		d.bolt.NoSync = true // build syncs
		err = bbolt.Compact(d.bolt, from.bolt, compactOctets)
		return errors.Join(err, from.close(err))
	})
	return r, err
}

// compactOctets is how much one transaction of a copy takes up. All of it is in
// memory.
const compactOctets = 16 << 20
