package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
)

// A Source keeps a store as a registry file says.
//
//	Run      wait for the watch, the poll, or Reload; then
//	refresh   ├ at rest?     a file that someone is writing is not read yet
//	          ├ new?         by its stamp, then by the hash of its content
//	          ├ Parse        all of it, or no more than its faults
//	          ├ halved?      it must say so twice, a second apart
//	          └ Store.Apply  the difference, in one commit
//
// Whatever goes wrong leaves the store as it is.
type Source struct {
	path   string
	store  *registry.Store
	log    *zap.Logger
	reload chan struct{}

	// What tests replace.
	watch func(path string) (watcher, error)
	open  func(path string) (io.ReadCloser, error)

	mu     sync.Mutex
	status Status // guarded by mu

	// What Load and Run, which are never at work at once, know of the file.
	seen    stamp  // how it looked when it was last read
	content sum    // what it held then
	applied sum    // the content that is in effect
	refused sum    // the content that was last refused
	why     string // why it was
	told    string // what was last logged of it
	unarmed string // what was last logged of its watch
}

const (
	// pollEvery is how often the file is looked at (one stat) in case the
	// watch missed something, as it does on network file systems and bind
	// mounts. It is the longest that a change can go unnoticed.
	pollEvery = 5 * time.Second

	// maxTries bounds how often a file is read that changes each time; then
	// it is a failure, and the next look starts over.
	maxTries = 10
)

// NewSource returns a source that applies the file at path to store. Nothing
// else should change what the file says in it: the next change of the file
// would take it back.
func NewSource(path string, store *registry.Store, log *zap.Logger) *Source {
	return &Source{
		path:   path,
		store:  store,
		log:    log.With(zap.String("path", path)),
		reload: make(chan struct{}, 1),
		watch:  watchFile,
		open:   func(path string) (io.ReadCloser, error) { return os.Open(path) },
	}
}

// Load reads the file for the first time, before Run. The error says everything
// that is wrong with it; it is not logged.
func (s *Source) Load(ctx context.Context) error {
	return s.refresh(ctx, true)
}

// Run follows the file until ctx is done, and then returns nil. What is wrong
// with it is logged, once for the same content, and changes nothing.
func (s *Source) Run(ctx context.Context) error {
	w, err := s.watch(s.path)
	if err != nil {
		s.log.Warn("the registry file cannot be watched; it is looked at from time to time",
			zap.Duration("every", pollEvery), zap.Error(err))
		w = unwatched{}
	}
	defer w.close()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()

	for force := false; ; {
		s.arm(w) // before reading: what changes after the reading is seen
		err := s.refresh(ctx, force)
		if ctx.Err() != nil {
			return nil
		}
		s.report(err, force)
		force = false
		select {
		case <-ctx.Done():
			return nil
		case <-w.changed():
		case <-poll.C:
		case <-s.reload:
			force = true
		}
	}
}

// Reload makes Run read the file even if it looks as before. It does not wait
// for that.
func (s *Source) Reload() {
	select {
	case s.reload <- struct{}{}:
	default: // one is on its way
	}
}

// refresh brings the store to what the file says. It returns an error if the
// file is not fit for that; if that is known already, it returns nil, unless
// force is set, which has the file read whatever it looks like.
func (s *Source) refresh(ctx context.Context, force bool) error {
	for range maxTries {
		if now, err := stat(s.path); err == nil && !force && s.seen.same(now) {
			s.asBefore()
			return nil
		}
		now, err := settled(ctx, s.path)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return s.missing(err, force)
		}
		content, err := s.sum()
		if err != nil {
			return s.missing(err, force)
		}
		if !force && (content == s.applied || content == s.refused) {
			s.seen, s.content = now, content
			s.asBefore()
			return nil
		}
		facts, parsed, err := s.parse()
		if parsed != content {
			continue // it changed meanwhile
		}
		if err == nil {
			err = s.apply(ctx, facts, content, now)
		}
		switch {
		case errors.Is(err, errChanged):
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		}
		s.seen, s.content = now, content
		if err != nil {
			s.refused, s.why = content, err.Error()
			return s.failed(err)
		}
		return nil
	}
	return s.failed(fmt.Errorf("%s: %w", s.path, errChanged))
}

var errChanged = errors.New("the file kept changing while it was read")

// apply makes the store say what facts do, which are those of content. It
// returns errChanged if the file must be read again instead.
func (s *Source) apply(ctx context.Context, facts *registry.Facts, content sum, now stamp) error {
	start := time.Now()
	before := s.store.Snapshot()
	events := before.Diff(facts)
	if lost := before.Halved(events); len(lost) > 0 {
		s.warn("the registry file takes away more than half of a network's machines; it is read again", lost)
		if err := sleep(ctx, secondLook); err != nil {
			return err
		}
		if again, err := s.sum(); err != nil || again != content {
			return errChanged
		}
		s.warn("the registry file still says so; the machines are taken away", lost)
	}
	var changes *registry.Changes
	var err error
	s.aloud("applying the registry file", func() { changes, err = s.store.Apply(events) }, zap.Int("changes", len(events)))
	if err != nil {
		return fmt.Errorf("apply %s: %w", s.path, err)
	}
	s.applied, s.refused, s.told = content, sum{}, ""
	s.loaded(facts, now)
	s.log.Info("registry file applied",
		zap.Int("apps", len(facts.Apps)), zap.Int("machines", len(facts.Machines)),
		zap.Int("peers", len(facts.Peers)), zap.Int("changes", len(events)),
		zap.Uint64("index", changes.Index), zap.Duration("took", time.Since(start)))
	return nil
}

// arm arms w, and logs if that leaves it with the poll alone, once.
func (s *Source) arm(w watcher) {
	if err := w.arm(); err != nil && err.Error() != s.unarmed {
		s.unarmed = err.Error()
		s.log.Warn("changes of the registry file may be seen late", zap.Duration("after", pollEvery), zap.Error(err))
	}
}

// report logs what refresh returned. What was the last thing logged is not
// logged again, but said to be so if the reading was asked for.
func (s *Source) report(err error, force bool) {
	if err == nil {
		return
	}
	if err.Error() == s.told {
		if force {
			s.log.Error("registry file refused as before; the facts stay as they are")
		}
		return
	}
	s.told = err.Error()
	faults, ok := errors.AsType[registry.Faults](err)
	if !ok {
		s.log.Error("registry file refused; the facts stay as they are", zap.Error(err))
		return
	}
	s.log.Error("registry file refused; the facts stay as they are", zap.Int("faults", len(faults)))
	for i, f := range faults {
		if i == maxLogged {
			s.log.Error("more faults in the registry file", zap.Int("faults", len(faults)-i))
			return
		}
		s.log.Error("fault in the registry file",
			zap.String("object", f.Object), zap.String("field", f.Field), zap.String("problem", f.Problem))
	}
}

// maxLogged bounds the lines that one bad file writes to the log.
const maxLogged = 100

func (s *Source) warn(message string, lost []registry.Loss) {
	for i, l := range lost {
		if i == maxLogged {
			s.log.Warn("more networks lose machines", zap.Int("networks", len(lost)-i))
			return
		}
		s.log.Warn(message, zap.Stringer("network", l.Network), zap.Int("lost", l.Lost), zap.Int("of", l.Of))
	}
}
