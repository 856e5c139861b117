package filewatch

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
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

// octets returns how long the files are.
func (o *opened) octets() (n int64) {
	for _, info := range o.infos {
		n += info.Size()
	}
	return n
}

// A sum tells the content of files from other content.
type sum struct {
	octets int64
	hash   [sha256.Size]byte // SHA-256 of the SHA-256 of each file
}

// sum reads the files. It returns ErrChanged if they changed meanwhile.
func (o *opened) sum() (sum, error) {
	if o.failed != nil {
		return sum{}, o.failed
	}
	return sumOf(o.readers())
}

// readers returns a reader of each file, from its beginning. A read at the end
// of a file that was written since it was opened returns ErrChanged.
func (o *opened) readers() []io.Reader {
	var readers []io.Reader
	for i, file := range o.files {
		readers = append(readers, &reader{content: io.NewSectionReader(file, 0, math.MaxInt64), hash: sha256.New(), file: file, opened: o.infos[i]})
	}
	return readers
}

// sumOf returns the sum of the files of readers, of which it reads the rest.
func sumOf(readers []io.Reader) (s sum, err error) {
	all := sha256.New()
	for _, r := range readers {
		r := r.(*reader)
		if _, err := io.Copy(io.Discard, r); err != nil {
			return sum{}, err
		}
		s.octets += r.octets
		all.Write(r.hash.Sum(nil))
	}
	all.Sum(s.hash[:0])
	return s, nil
}

// A reader reads a file and sums what it reads.
type reader struct {
	content *io.SectionReader
	hash    hash.Hash
	octets  int64
	err     error // the first one, which stays
	file    *os.File
	opened  os.FileInfo
}

func (r *reader) Read(p []byte) (n int, err error) {
	if r.err != nil {
		return 0, r.err
	}
	n, r.err = r.content.Read(p)
	r.hash.Write(p[:n])
	r.octets += int64(n)
	if r.err == io.EOF {
		if now, failed := r.file.Stat(); failed != nil || !unwritten(r.opened, now) {
			r.err = ErrChanged
		}
	}
	return n, r.err
}
