package disk

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/internaldns/internaldns/registry"
)

const (
	// fileName is the name of the database in its directory.
	fileName = "registry.db"

	// newSuffix ends the name of a file that is still being written.
	newSuffix = ".new"

	// bulk is the number of records from which on a write fills its pages. Records
	// that come later rarely fall between those of a bulk write.
	bulk = 1000
)

// A database is a file that bbolt has open. It belongs to one goroutine at a time.
type database struct {
	path string
	bolt *bbolt.DB
	file *os.File // bbolt's
	state
}

var errPanic = errors.New("the database library gave up")

// protect calls f, which uses bbolt. bbolt panics where the file is not as it
// expects, and reading its mapping faults if the disk fails or the file was cut.
// Both become an error.
func protect(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // of this goroutine
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	return f()
}

// openDatabase opens the file at path for writing. read must have found that state
// in it.
func openDatabase(path string, st state) (*database, error) {
	d := &database{path: path, state: st}
	return d, d.open(os.O_RDWR)
}

func (d *database) open(flags int) error {
	err := protect(func() (err error) {
		d.bolt, err = bbolt.Open(d.path, 0o600, &bbolt.Options{
			Timeout:      time.Nanosecond, // does not wait for the lock
			FreelistType: bbolt.FreelistMapType,
			PageSize:     pageSize,
			NoStatistics: true,
			ReadOnly:     flags == os.O_RDONLY,
			OpenFile: func(path string, _ int, mode os.FileMode) (*os.File, error) {
				var err error
				d.file, err = os.OpenFile(path, flags, mode)
				return d.file, err
			},
		})
		return err
	})
	if err != nil && d.file != nil {
		unlock(d.file)
		d.file.Close() // unless bbolt did
	}
	if errors.Is(err, bolterrors.ErrTimeout) {
		return errInUse(d.path)
	}
	return err
}

// commit makes the changes and the state that they lead to durable, in one
// transaction, and returns that state. After an error they may be durable or not,
// and the database must be closed.
func (d *database) commit(changes []record, index uint64, now time.Time) (next state, err error) {
	next = state{index: index, records: d.records, sum: d.sum, clock: now}
	err = protect(func() error {
		if err := d.inPlace(); err != nil {
			return err
		}
		tx, err := d.bolt.Begin(true)
		if err != nil {
			return err
		}
		if err := d.apply(tx, changes, &next); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		return tx.Commit()
	})
	if err == nil {
		d.state = next
	}
	return next, err
}

// apply makes the changes in tx, and brings next up to date.
func (d *database) apply(tx *bbolt.Tx, changes []record, next *state) error {
	if len(changes) >= bulk {
		// A record in the middle of a page moves all behind it. The sort is stable
		// because the last of several records of one key must stay the last.
		slices.SortStableFunc(changes, func(a, b record) int {
			return cmp.Or(cmp.Compare(a.bucket, b.bucket), bytes.Compare(a.key, b.key))
		})
	}
	for _, r := range changes {
		b := tx.Bucket([]byte(r.bucket))
		if len(changes) >= bulk {
			b.FillPercent = 0.9
		}
		if old := b.Get(r.key); old != nil {
			next.records--
			next.sum -= uint64(sumOf(old))
		}
		var err error
		if r.value == nil {
			err = b.Delete(r.key)
		} else {
			next.records++
			next.sum += uint64(sumOf(r.value))
			err = b.Put(r.key, r.value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", object(r.bucket, r.key), err)
		}
	}
	return tx.Bucket([]byte(bMeta)).Put([]byte(keyState), next.seal())
}

// inPlace returns an error if another file is at the path now: what is written to
// the open one would be lost.
func (d *database) inPlace() error {
	open, err := d.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(d.path)
	if err != nil {
		return err
	}
	if !os.SameFile(open, there) {
		return fmt.Errorf("%s was replaced by another file", d.path)
	}
	return nil
}

// octets returns the size of the file.
func (d *database) octets() int64 {
	if info, err := d.file.Stat(); err == nil {
		return info.Size()
	}
	return 0
}

// close closes the file. cause is the error after which it is closed, or nil.
func (d *database) close(cause error) error {
	if errors.Is(cause, errPanic) {
		// bbolt may hold its mutexes for ever. Its mapping stays, and with it the
		// file and its lock, unless the lock is released here.
		return errors.Join(unlock(d.file), d.file.Close())
	}
	return protect(d.bolt.Close)
}

// create makes an empty database at path. It is there whole and durable, or not
// at all.
func create(path string) error {
	return build(path, func(d *database) error {
		err := protect(func() error { return d.bolt.Update(makeBuckets) })
		if err == nil {
			_, err = d.commit(nil, 0, time.Now())
		}
		return err
	})
}

func makeBuckets(tx *bbolt.Tx) error {
	for _, name := range append([]string{bMeta}, dataBuckets...) {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return err
		}
	}
	meta := tx.Bucket([]byte(bMeta))
	sample := seal(bMeta, []byte(keySample), registry.NewRaw([]byte(sampleObject)))
	return errors.Join(meta.Put([]byte(keyFormat), []byte(format)), meta.Put([]byte(keySample), sample))
}

// build makes a database in a file beside path, with what fill puts in it. When it
// is durable and was read back, it replaces the file at path.
func build(path string, fill func(*database) error) (err error) {
	temporary := path + newSuffix
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temporary)
		}
	}()
	d := &database{path: temporary}
	if err := d.open(os.O_RDWR | os.O_CREATE | os.O_EXCL); err != nil {
		return err
	}
	if err = fill(d); err == nil {
		err = d.file.Sync() // its size, too
	}
	if err := errors.Join(err, d.close(err)); err != nil {
		return err
	}
	if _, err := readFile(temporary, readOptions{skim: true}); err != nil {
		return fmt.Errorf("read back %s: %w", temporary, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes durable what was created, renamed and removed in a directory.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
