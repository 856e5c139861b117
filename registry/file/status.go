package file

import (
	"time"

	"github.com/internaldns/internaldns/registry"
)

// A Status says how a source is doing.
type Status struct {
	// LoadedAt is when the facts in effect were applied; zero before the first
	// were.
	LoadedAt time.Time
	// CheckedAt is when the file was last found to say what is in effect. It
	// is at most some seconds ago unless the file is missing or bad: then the
	// time since is the age of the facts.
	CheckedAt time.Time
	// ModifiedAt is the modification time of the file in effect.
	ModifiedAt time.Time

	// Loads counts the files that were applied, Failures those that were not:
	// bad content, each time it was read, and not being there, each time it
	// vanished.
	Loads, Failures uint64
	// LastError is what is wrong with the file now, all of it; "" if nothing is.
	LastError string

	// Apps, Machines and Peers are what the file in effect holds, gone
	// machines included; Octets is its size.
	Apps, Machines, Peers int
	Octets                int64
}

// Status returns how the source is doing. It may be called at any time.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// loaded notes that facts, from a file that looks like now, are in effect.
func (s *Source) loaded(facts *registry.Facts, now stamp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := time.Now()
	s.status = Status{
		LoadedAt: at, CheckedAt: at, ModifiedAt: now.modified,
		Loads: s.status.Loads + 1, Failures: s.status.Failures,
		Apps: len(facts.Apps), Machines: len(facts.Machines), Peers: len(facts.Peers),
		Octets: now.octets,
	}
}

// asBefore notes that the file holds what it held when it was last read.
func (s *Source) asBefore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.content == s.refused {
		s.status.LastError = s.why
		return
	}
	s.status.CheckedAt = time.Now()
	if s.status.LastError != "" {
		s.status.LastError, s.told = "", ""
		s.log.Info("registry file again as it was applied")
	}
}

// missing is failed for a file that could not be read at all. If that is known
// and not asked for by force, it does nothing.
func (s *Source) missing(err error, force bool) error {
	if !force && s.Status().LastError == err.Error() {
		return nil
	}
	s.seen = stamp{}
	return s.failed(err)
}

// failed notes that the file is not fit, and returns err.
func (s *Source) failed(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Failures++
	s.status.LastError = err.Error()
	return err
}
