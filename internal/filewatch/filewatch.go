// Package filewatch follows files that other programs change: the registry
// file, resolv.conf, the API's tokens, certificates.
//
// All of them are followed by one rule. A change takes effect within 2 s, also
// behind symbolic links and bind mounts. A file is read only after it has not
// changed between two looks, so a half-written file is never taken. While a
// file is missing or refused, its last good content stays in effect.
//
// A look is one stat for each file. Unlike notifications, it sees every change
// of what a path leads to, on every file system.
package filewatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	// Interval is the time between two looks. A change takes effect at the
	// second look after it, so at the latest after two intervals and the time
	// that reading takes. A writer may pause for less than one interval. A look
	// costs a few microseconds for each file.
	Interval = 500 * time.Millisecond

	// maxUnsettled is how long files may change without a pause before that is
	// an error. They are read as soon as they pause.
	maxUnsettled = 10 * time.Second
)

// ErrChanged reports that a file changed while it was read.
var ErrChanged = errors.New("the file changed while it was read")

// A Config says which files to follow and what to do with their content.
type Config struct {
	// Paths are the files. Several files are read as one: none of them may
	// change between two looks.
	Paths []string

	// Take reads the files, in the order of Paths, and puts their content into
	// effect. An error means that it did not; then the content before stays in
	// effect. Reading ends with ErrChanged instead of io.EOF if the file was
	// written meanwhile. Take may return ErrChanged to be called again. It is
	// not called twice for the same content, except after Reload.
	Take func(ctx context.Context, content ...io.Reader) error

	// Report, if not nil, is called by Run with each error, and with nil when
	// the files again hold what is in effect.
	Report func(err error)
}

// A Follower follows files. Load and Run must not be called at the same time.
type Follower struct {
	config Config
	reload chan struct{}

	mu     sync.Mutex
	status Status // guarded by mu

	// Used by Load and Run only.
	force     bool      // read the files even if they look as before
	seen      view      // the files when they were last read
	content   sum       // what they held when they were last read
	applied   sum       // the content in effect
	refused   sum       // the content that was last refused
	why       string    // the error that refused it
	held      *opened   // the files as the last look found them, if they differ from seen
	taking    *opened   // the files that Take reads; nil at other times
	unsettled time.Time // when the files began to change without a pause; zero if they do not
}

// A Status reports how following the files goes.
type Status struct {
	// LoadedAt is when the content in effect was taken; zero before the first.
	LoadedAt time.Time
	// CheckedAt is when the files last held the content in effect. While they
	// are missing or refused, the time since is the age of that content.
	CheckedAt time.Time
	// Loads counts how often content was taken, Failures how often it was
	// refused or could not be read.
	Loads, Failures uint64
	// LastError is what is wrong with the files now; "" if nothing is.
	LastError string
}

// New returns a follower. It reads nothing yet.
func New(c Config) *Follower {
	return &Follower{config: c, reload: make(chan struct{}, 1), force: true}
}

// Load reads the files for the first time. Files that were modified less than
// an interval ago are read once they no longer change.
func (f *Follower) Load(ctx context.Context) error {
	for {
		settled, err := f.look(ctx)
		if settled || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(Interval):
		}
	}
}

// Run follows the files until ctx is done, and then returns nil.
func (f *Follower) Run(ctx context.Context) error {
	next := time.NewTimer(Interval)
	defer next.Stop()
	defer func() { f.held.close(); f.held = nil }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.reload:
			f.force = true
		case <-next.C:
		}
		if _, err := f.look(ctx); err != nil && ctx.Err() == nil && f.config.Report != nil {
			f.config.Report(err)
		}
		next.Reset(Interval) // also after a look that took long
	}
}

// Reload makes Run read the files even if they look as before. It does not wait
// for that.
func (f *Follower) Reload() {
	select {
	case f.reload <- struct{}{}:
	default: // Run has not received the last one yet
	}
}

// Changed reports whether the files changed since they were opened for Take. Only
// Take may call it.
func (f *Follower) Changed() bool { return !stat(f.config.Paths).same(f.taking.view) }

// Status returns how following the files goes. It may be called at any time.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// look looks at the files and reads them if they are new and do not change any
// more. It reports whether it knows what the files hold.
func (f *Follower) look(ctx context.Context) (settled bool, err error) {
	if f.held != nil && time.Since(f.held.at) < Interval {
		return false, nil // Reload comes between two looks
	}
	now := stat(f.config.Paths)
	last := f.held
	f.held = nil
	defer last.close()
	switch {
	case !f.force && now.same(f.seen):
		settled = true
		f.asBefore()
	case last != nil && last.rests(now):
		settled, err = f.take(ctx, last)
	case f.force && now.old():
		o := open(f.config.Paths)
		settled, err = f.take(ctx, o)
		o.close()
	}
	if settled {
		f.unsettled = time.Time{}
	}
	if !f.force && now.same(f.seen) {
		return settled, err
	}
	// Held open, a file can be read whole even if it is replaced all the time.
	f.held = open(f.config.Paths)
	if settled || err != nil {
		return settled, err
	}
	if at := time.Now(); f.unsettled.IsZero() {
		f.unsettled = at
	} else if at.Sub(f.unsettled) >= maxUnsettled {
		f.unsettled = at
		return false, f.failed(fmt.Errorf("%s: has been changing for %v without a pause of %v", strings.Join(f.config.Paths, ", "), maxUnsettled, Interval))
	}
	return false, nil
}

// take reads o and puts it into effect. It returns false if o changed meanwhile.
func (f *Follower) take(ctx context.Context, o *opened) (settled bool, err error) {
	content, err := o.sum()
	asked := f.force
	switch {
	case errors.Is(err, ErrChanged):
		return false, nil
	case err != nil:
		// The next look tries again, also if the files look the same.
		f.seen, f.content, f.force = view{err: err}, sum{}, false
		if !asked && f.Status().LastError == err.Error() {
			return true, nil
		}
		return true, f.failed(err)
	case !asked && (content == f.applied || content == f.refused):
		f.seen, f.content = o.view, content
		f.asBefore()
		return true, nil
	}
	f.taking = o
	err = f.config.Take(ctx, o.readers()...)
	f.taking = nil
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, ErrChanged), !o.unchanged():
		return false, nil
	}
	f.seen, f.content, f.force = o.view, content, false
	if err != nil {
		f.refused, f.why = content, err.Error()
		return true, f.failed(err)
	}
	f.applied, f.refused = content, sum{}
	f.loaded()
	return true, nil
}

// loaded records that new content is in effect.
func (f *Follower) loaded() {
	at := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = Status{LoadedAt: at, CheckedAt: at, Loads: f.status.Loads + 1, Failures: f.status.Failures}
}

// asBefore records that the files hold what they held when they were last read.
func (f *Follower) asBefore() {
	if f.seen.err != nil { // they cannot be read
		return
	}
	f.mu.Lock()
	wrong := f.status.LastError
	f.status.LastError = ""
	if f.content == f.refused {
		f.status.LastError = f.why
	} else {
		f.status.CheckedAt = time.Now()
	}
	again := wrong != "" && f.status.LastError == ""
	f.mu.Unlock()
	if again && f.config.Report != nil {
		f.config.Report(nil)
	}
}

// failed records that the files could not be read or were refused, and returns
// err.
func (f *Follower) failed(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.Failures++
	f.status.LastError = err.Error()
	return err
}
