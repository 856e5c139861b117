package file

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
)

// A stamp is how a file looks without reading it. Files that look the same are
// taken to be the same.
type stamp struct {
	info     os.FileInfo // of the file itself, links followed; nil for none
	modified time.Time
	octets   int64
}

// stat returns the stamp of the file at path.
func stat(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	if !info.Mode().IsRegular() {
		return stamp{}, fmt.Errorf("%s is not a regular file", path)
	}
	return stamp{info, info.ModTime(), info.Size()}, nil
}

// same reports whether both are stamps of one file that did not change between
// them.
func (s stamp) same(t stamp) bool {
	return s.info != nil && t.info != nil && os.SameFile(s.info, t.info) &&
		s.modified.Equal(t.modified) && s.octets == t.octets
}

const (
	// restTime is how long a file must not have changed before it is read: a
	// writer that truncates the file and writes it again, or that removes it
	// and puts another in its place, is given time to finish. It delays every
	// change by as much. It must be longer than the resolution of modification
	// times, some 10 ms, or a change right after a reading could look like
	// none.
	restTime = 100 * time.Millisecond

	// restlessTime is how long to wait for a file that never rests.
	restlessTime = 10 * time.Second

	// secondLook is how long a file must stand by what takes away more than
	// half of a network's machines.
	secondLook = time.Second
)

// settled waits until the file at path has been at rest for restTime, or gone
// for that long, or restless for restlessTime, and returns its stamp.
func settled(ctx context.Context, path string) (stamp, error) {
	before, errBefore := stat(path)
	for waited := time.Duration(0); ; {
		wait := restTime
		if age := time.Since(before.modified); errBefore == nil && age >= restTime {
			return before, nil
		} else if errBefore == nil && age > 0 { // less than 0 is another machine's clock
			wait -= age
		}
		if err := sleep(ctx, wait); err != nil {
			return stamp{}, err
		}
		waited += wait
		now, err := stat(path)
		switch {
		case err == nil && errBefore == nil && now.same(before),
			err != nil && errBefore != nil,
			waited >= restlessTime:
			return now, err
		}
		before, errBefore = now, err
	}
}

// A sum is the SHA-256 of a file's content.
type sum [sha256.Size]byte

// sum reads the file and returns the sum of its content.
func (s *Source) sum() (sum, error) {
	f, err := s.open(s.path)
	if err != nil {
		return sum{}, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum{}, err
	}
	return sum(h.Sum(nil)), nil
}

// parse reads the file and returns its facts, the sum of the content they come
// from, which is good also if that has faults, and the faults.
func (s *Source) parse() (*registry.Facts, sum, error) {
	f, err := s.open(s.path)
	if err != nil {
		return nil, sum{}, err
	}
	defer f.Close()
	h := sha256.New()
	r := io.TeeReader(f, h)

	told := time.Now()
	facts, err := Parse(s.path, r, func(machines int) {
		if time.Since(told) > quiet {
			told = time.Now()
			s.log.Info("reading the registry file", zap.Int("machines", machines))
		}
	})
	if _, end := io.Copy(io.Discard, r); end != nil { // what Parse left
		return nil, sum{}, errors.Join(err, end)
	}
	return facts, sum(h.Sum(nil)), err
}

// quiet is how long reading a file and applying it go on without a word. Most
// files take less.
const quiet = 5 * time.Second

// aloud runs f and says what it is doing as long as that takes.
func (s *Source) aloud(message string, f func(), fields ...zap.Field) {
	done := make(chan struct{})
	var teller sync.WaitGroup
	teller.Go(func() {
		begin := time.Now()
		tick := time.NewTicker(quiet)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				s.log.Info(message, append(fields, zap.Duration("for", time.Since(begin)))...)
			}
		}
	})
	f()
	close(done)
	teller.Wait()
}

// sleep waits for d, or until ctx is done and returns its error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
