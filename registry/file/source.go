package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/internal/filewatch"
	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// A Source applies the changes of a registry file to a store. It follows the file as
// package filewatch describes. For each new content:
//
//	take
//	 ├ Parse        returns all facts, or all faults
//	 ├ Halved       does it remove more than half of a network's machines?
//	 │  └ confirm   then only two readings in a row can do that
//	 └ Store.Apply  applies the difference in one commit
//
// If any step fails, the store stays as it is.
type Source struct {
	// Follower follows the file. Load returns all faults of the file and does not
	// log them. Run logs them, once for the same content.
	*filewatch.Follower

	path  string
	store *registry.Store
	log   *zap.Logger

	// Used by Load and Run only.
	halved bool   // the last reading removed more than half of a network, and was not applied
	logged string // the last error that Run logged; "" if the file is good
}

// secondLook is how long a file must stay the same before it may remove more than
// half of a network's machines by itself.
const secondLook = time.Second

// NewSource returns a source that applies the file at path to store. No other writer
// should change the store: the next change of the file would undo that.
func NewSource(path string, store *registry.Store, log *zap.Logger) *Source {
	s := &Source{path: path, store: store, log: log.With(zap.String("path", path))}
	s.Follower = filewatch.New(filewatch.Config{Paths: []string{path}, Take: s.take, Report: s.report})
	return s
}

// take makes the store hold the facts of the file.
func (s *Source) take(ctx context.Context, content ...io.Reader) error {
	halved := s.halved
	s.halved = false
	logged := time.Now()
	facts, err := format.Parse(s.path, content[0], func(machines int) {
		if time.Since(logged) > progressEvery {
			logged = time.Now()
			s.log.Info("reading the registry file", zap.Int("machines", machines))
		}
	})
	if err != nil {
		return err
	}
	start := time.Now()
	before := s.store.Snapshot()
	events := before.Diff(facts)
	if lost := before.Halved(events); len(lost) > 0 {
		if err := s.confirm(ctx, lost, halved); err != nil {
			return err
		}
	}
	var changes *registry.Changes
	s.logProgress("applying the registry file", func() { changes, err = s.store.Apply(events) }, zap.Int("changes", len(events)))
	if err != nil {
		return fmt.Errorf("apply %s: %w", s.path, err)
	}
	s.logged = ""
	s.log.Info("registry file applied",
		zap.Int("apps", len(facts.Apps)), zap.Int("machines", len(facts.Machines)),
		zap.Int("peers", len(facts.Peers)), zap.Int("changes", len(events)),
		zap.Uint64("index", changes.Index), zap.Duration("took", time.Since(start)))
	return nil
}

// confirm returns nil if a file may remove more than half of a network's machines: if
// the reading before did so too, or if the file stays the same for secondLook. Else it
// returns ErrChanged, and the file is read again.
func (s *Source) confirm(ctx context.Context, lost []registry.Loss, before bool) error {
	if !before {
		s.warn("the registry file takes away more than half of a network's machines; it is read again", lost)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(secondLook):
		}
		if s.Changed() {
			s.halved = true
			return filewatch.ErrChanged
		}
	}
	s.warn("the registry file still says so; the machines are taken away", lost)
	return nil
}

// report logs err, or, if it is nil, that the file is good again. An error that is the
// same as the last one logged takes one line.
func (s *Source) report(err error) {
	if err == nil {
		s.logged = ""
		s.log.Info("registry file again as it was applied")
		return
	}
	if err.Error() == s.logged {
		s.log.Error("registry file refused as before; the facts stay as they are")
		return
	}
	s.logged = err.Error()
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

// progressEvery is how long reading or applying a file may take before a line of
// progress is logged, and the time between two such lines. Most files take less.
const progressEvery = 5 * time.Second

// logProgress runs f and logs message every progressEvery until f returns.
func (s *Source) logProgress(message string, f func(), fields ...zap.Field) {
	done := make(chan struct{})
	var logging sync.WaitGroup
	logging.Go(func() {
		begin := time.Now()
		tick := time.NewTicker(progressEvery)
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
	logging.Wait()
}
