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
	// fileName is the database in its directory.
	fileName = "registry.db"

	// newSuffix ends the name of a file that is not whole yet.
	newSuffix = ".new"

	// bulk is from how many records on a write fills its pages: what comes
	// later rarely falls between them.
	bulk = 1000
)

// A database is the open file. It belongs to one goroutine.
type database struct {
	path string
	bolt *bbolt.DB
	file *os.File // bbolt's
	state
}

// openDatabase opens the file at path, in which read found that
// state.
func openDatabase(path string, st state) (*database, error) {
	d := &database{path: path, state: st}
	return d, d.open(os.O_RDWR)
}

// open opens the file. bbolt panics where it finds what it does not expect.
func (d *database) open(flags int) (err error) {
	defer func() {
		if err != nil && d.file != nil { // unless bbolt did
			unlock(d.file)
			d.file.Close()
		}
	}()
	defer guard(&err)
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
	if errors.Is(err, bolterrors.ErrTimeout) {
		return errInUse(d.path)
	}
	return err
}

// guard turns a panic, also one for memory that cannot be read, into an error.
func guard(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", errPanic, r)
	}
}

var errPanic = errors.New("the database library gave up")

// commit makes the changes and the state that they lead to durable, in one
// transaction. Without an error they are; with one they may be or not, and the
// database must be closed.
func (d *database) commit(changes []record, index uint64, now time.Time) (next state, err error) {
	defer guard(&err)
	next = state{index: index, records: d.records, sum: d.sum, clock: now}
	if err := d.inPlace(); err != nil {
		return next, err
	}
	tx, err := d.bolt.Begin(true)
	if err != nil {
		return next, err
	}
	if len(changes) >= bulk {
		// A page grows by as many as come, and whatever comes in the middle of it
		// moves all behind. Of several records of one key the last must stay last.
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
		if r.value == nil {
			err = b.Delete(r.key)
		} else {
			next.records++
			next.sum += uint64(sumOf(r.value))
			err = b.Put(r.key, r.value)
		}
		if err != nil {
			return next, errors.Join(fmt.Errorf("%s: %w", object(r.bucket, r.key), err), tx.Rollback())
		}
	}
	if err := tx.Bucket([]byte(bMeta)).Put([]byte(keyState), next.seal()); err != nil {
		return next, errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return next, err
	}
	d.state = next
	return next, nil
}

// inPlace reports that the file that is open is no longer the one at its path:
// what is written to it would be lost.
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

// close closes the file. After a panic of bbolt's its locks may be held for
// ever, so only the descriptor is closed, and the mapping is left behind.
func (d *database) close(cause error) (err error) {
	if errors.Is(cause, errPanic) {
		// The mapping keeps the file open, and with it bbolt's lock.
		return errors.Join(unlock(d.file), d.file.Close())
	}
	defer guard(&err)
	return d.bolt.Close()
}

// create makes an empty database at path. It is there whole, and durably, or not
// at all.
func create(path string) error {
	return build(path, func(d *database) error {
		if err := d.makeBuckets(); err != nil {
			return err
		}
		_, err := d.commit(nil, 0, time.Now())
		return err
	})
}

// build makes a database with what fill puts in it, and when that is durable and
// was read back, puts it in the place of what is at path.
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
		err = d.file.Sync() // the size, too
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

func (d *database) makeBuckets() (err error) {
	defer guard(&err)
	return d.bolt.Update(func(tx *bbolt.Tx) error {
		for _, name := range append([]string{bMeta}, dataBuckets...) {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		meta := tx.Bucket([]byte(bMeta))
		sample := seal(bMeta, []byte(keySample), registry.NewRaw([]byte(sampleObject)))
		return errors.Join(meta.Put([]byte(keyFormat), []byte(format)), meta.Put([]byte(keySample), sample))
	})
}

// syncDir makes durable what was created, renamed and removed in a directory.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// faultsArePanics makes reading mapped memory that cannot be read, as when a
// disk fails, a panic of this goroutine and not the end of the process. It
// returns what undoes that.
func faultsArePanics() (undo func()) {
	was := debug.SetPanicOnFault(true)
	return func() { debug.SetPanicOnFault(was) }
}
