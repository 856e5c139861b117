package filewatch

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"time"
)

// A view is how files look without reading them, or why they cannot be looked
// at.
type view struct {
	infos []os.FileInfo // of the files at the end of all links
	err   error
}

// stat returns the view of the files at paths.
func stat(paths []string) (v view) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if failed, ok := errors.AsType[*fs.PathError](err); ok {
			failed.Op = "open" // as if opening it had failed, which users understand
		}
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a regular file", path)
		}
		if err != nil {
			return view{err: err}
		}
		v.infos = append(v.infos, info)
	}
	return v
}

// same reports whether v and w are of the same files, which did not change from
// one to the other.
func (v view) same(w view) bool {
	if v.err != nil || w.err != nil {
		return v.err != nil && w.err != nil && v.err.Error() == w.err.Error()
	}
	if len(v.infos) != len(w.infos) {
		return false
	}
	for i, info := range v.infos {
		if !os.SameFile(info, w.infos[i]) || !unwritten(info, w.infos[i]) ||
			info.Mode() != w.infos[i].Mode() || changeTime(info) != changeTime(w.infos[i]) {
			return false
		}
	}
	return true
}

// old reports whether the files were last modified more than an interval ago.
func (v view) old() bool {
	for _, info := range v.infos {
		if time.Since(info.ModTime()) < Interval {
			return false
		}
	}
	return true
}

// unwritten reports whether nothing was written to a file between a and b. It
// does not look at the change time, which also changes when another file is
// renamed over this one.
func unwritten(a, b os.FileInfo) bool {
	return a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// An opened is a view with the files open.
type opened struct {
	view
	files  []*os.File
	at     time.Time // when they were opened
	failed error     // why not all of them are open
}

// open opens the files at paths. The caller must close it.
func open(paths []string) *opened {
	o := &opened{at: time.Now(), view: stat(paths)} // before opening, which would wait for the writer of a pipe
	if o.failed = o.err; o.failed != nil {
		return o
	}
	for i, path := range paths {
		file, err := os.Open(path)
		if err == nil {
			o.files = append(o.files, file)
			o.infos[i], err = file.Stat()
		}
		if err != nil {
			o.failed = err
			break
		}
	}
	return o
}

// close closes the files. o may be nil.
func (o *opened) close() {
	if o == nil {
		return
	}
	for _, file := range o.files {
		file.Close()
	}
}

// rests reports whether the files did not change until now. A single file that
// was replaced did not change: it is whole, and its successor is read later. Of
// several files, one may have been replaced before the others.
func (o *opened) rests(now view) bool {
	if o.failed == nil && len(o.files) == 1 {
		return o.unchanged()
	}
	return o.same(now)
}

// unchanged reports whether nothing was written to the open files.
func (o *opened) unchanged() bool {
	for i, file := range o.files {
		if now, err := file.Stat(); err != nil || !unwritten(o.infos[i], now) {
			return false
		}
	}
	return true
}

// A sum is the SHA-256 of the content of files.
type sum [sha256.Size]byte

// sum reads the files. It returns ErrChanged if they changed meanwhile.
func (o *opened) sum() (s sum, err error) {
	if o.failed != nil {
		return s, o.failed
	}
	all := sha256.New()
	for _, r := range o.readers() {
		n, err := io.Copy(all, r)
		if err != nil {
			return s, err
		}
		// The sizes keep octets of one file apart from those of the next.
		all.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	}
	return sum(all.Sum(nil)), nil
}

// readers returns a reader of each file, from its beginning. A read at the end
// of a file that was written since it was opened returns ErrChanged.
func (o *opened) readers() []io.Reader {
	var readers []io.Reader
	for i, file := range o.files {
		readers = append(readers, &reader{io.NewSectionReader(file, 0, math.MaxInt64), file, o.infos[i]})
	}
	return readers
}

type reader struct {
	content *io.SectionReader
	file    *os.File
	opened  os.FileInfo
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.content.Read(p)
	if err == io.EOF {
		if now, failed := r.file.Stat(); failed != nil || !unwritten(r.opened, now) {
			err = ErrChanged
		}
	}
	return n, err
}
