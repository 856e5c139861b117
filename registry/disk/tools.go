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
	Octets   int64  // size of the file
	Index    uint64 // of the last commit
	Apps     int
	Machines int // gone ones included
	Peers    int
	Leases   int
	// Warnings are what was wrong with a database and is not in the new one.
	Warnings []string
}

// Progress is called with the number of records that a function has read so far,
// and at the end with both alike. It may be nil.
type Progress func(records, of uint64)

func (p Progress) options() (o readOptions) {
	if p != nil {
		o.progress = func(records, of uint64) error { p(records, of); return nil }
	}
	return o
}

// Check reads the database in dir, all of it, and returns what is in it. Its error
// is, or wraps, Faults: all that is wrong. Nothing is written. It fails while a
// server runs on dir.
func Check(dir string, progress Progress) (Report, error) {
	l, err := lockDir(dir)
	if err != nil {
		return Report{}, err
	}
	defer l.Close()
	path := filepath.Join(dir, fileName)
	c, err := readFile(path, progress.options())
	if err == nil {
		err = c.facts.Validate()
	}
	if err != nil {
		return Report{}, fmt.Errorf("%s: %w", path, err)
	}
	return c.report(path), nil
}

func (c *contents) report(path string) Report {
	return Report{
		Path: path, Octets: c.octets, Index: c.index, Warnings: c.warnings,
		Apps: len(c.facts.Apps), Machines: len(c.facts.Machines), Peers: len(c.facts.Peers), Leases: len(c.leases),
	}
}

// Compact writes the database in dir again, without its free pages. It returns how
// the database was, and how it is. It needs room for both. It mends a damaged meta
// page and a damaged list of free pages; before.Warnings has them. It fails while a
// server runs on dir.
func Compact(dir string, progress Progress) (before, after Report, err error) {
	l, err := lockDir(dir)
	if err != nil {
		return before, after, err
	}
	defer l.Close()
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

// Backup writes a copy of the database in dir to a file, and returns what is in it.
// Then the file is there whole and durable; it replaces one that was there. A server
// can be started on the copy, as registry.db in a directory of its own. Backup fails
// while a server runs on dir: GET /v1/export returns the facts of that one.
func Backup(dir, file string, progress Progress) (Report, error) {
	l, err := lockDir(dir)
	if err != nil {
		return Report{}, fmt.Errorf("%w; of a running server, internaldns export writes a registry file", err)
	}
	defer l.Close()
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

// rewrite writes what is in the database at path to file, which may be the same. It
// returns how the database was.
func rewrite(path, file string, progress Progress) (Report, error) {
	o := progress.options()
	o.mend = true
	c, err := readFile(path, o)
	if err != nil {
		return Report{}, fmt.Errorf("%s: %w", path, err)
	}
	return c.report(path), build(file, func(d *database) error {
		from := &database{path: path}
		if err := from.open(os.O_RDONLY); err != nil {
			return err
		}
		d.bolt.NoSync = true // build syncs
		err := protect(func() error { return bbolt.Compact(d.bolt, from.bolt, compactOctets) })
		return errors.Join(err, from.close(err))
	})
}

// compactOctets is the size of one transaction of a copy, in octets. It is held in
// memory.
const compactOctets = 16 << 20
