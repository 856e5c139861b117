package main

import (
	"errors"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/resolver/forward"
	"github.com/internaldns/internaldns/zone"
)

// off is the value that turns a setting off.
const off = "off"

// forwards reports whether any name is forwarded.
func (c *config) forwards() bool {
	return !slices.Equal(c.Upstream, []string{off}) || len(c.Forward) > 0
}

// forwarding returns the settings of package forward in c: all but Own.
func (c *config) forwarding(log *zap.Logger) forward.Config {
	f := forward.Config{
		Local:        zone.InZone,
		MaxInFlight:  c.MaxInFlight,
		MaxPerSource: c.MaxPerSource,
		CacheOctets:  c.CacheSize,
		StaleAfter:   c.StaleAfter,
		StaleAge:     c.StaleAge,
		Log:          log,
	}
	if c.StaleAge == 0 {
		f.StaleAge = -1 // never
	}
	switch {
	case len(c.Upstream) == 0:
		f.ResolvConf = c.ResolvConf
	case c.Upstream[0] != off:
		f.Upstreams = parsed(c.Upstream, forward.ParseUpstream)
	}
	f.Forwards = parsed(c.Forward, forward.ParseForward)
	f.Allow = parsed(c.Allow, parsePrefix)
	return f
}

// A lateForwarder stands in for the Forwarder until it is made. The resolver needs it to bind
// its sockets, and the Forwarder needs the addresses of these sockets.
type lateForwarder struct{ *forward.Forwarder }

// newForwarder makes the forwarder and puts it into late, unless the settings turn it off. None
// of its upstreams may be one of s.addrs, or queries would go round in a loop.
func (s *server) newForwarder(late *lateForwarder) error {
	if !s.config.forwards() {
		return nil
	}
	c := s.config.forwarding(s.log)
	c.Own = s.addrs
	f, err := forward.New(c)
	if err != nil {
		return err
	}
	s.forwarder, late.Forwarder = f, f
	var upstreams []string
	for _, u := range f.Status().Upstreams {
		if u.Suffix != "." {
			u.Upstream = u.Suffix + "=" + u.Upstream
		}
		upstreams = append(upstreams, u.Upstream)
	}
	if len(upstreams) > 0 {
		s.log.Info("forwarding", zap.Strings("upstreams", upstreams))
	}
	return nil
}

// parsed parses the items of a setting, which load has checked. It returns nil if there are
// none.
func parsed[T any](items []string, parse func(string) (T, error)) []T {
	var list []T
	for _, item := range items {
		v, err := parse(item)
		if err != nil {
			panic(err)
		}
		list = append(list, v)
	}
	return list
}

func checkUpstream(s string) error {
	_, err := forward.ParseUpstream(s)
	return err
}

func checkForward(s string) error {
	_, err := forward.ParseForward(s)
	return err
}

// checkUpstreams returns the faults that package forward finds in upstreams.
func checkUpstreams(items []string) error {
	return checkForwarding(forward.Config{Upstreams: parsed(items, forward.ParseUpstream)}, "upstream: ")
}

// checkForwards returns the faults that package forward finds in forwards.
func checkForwards(items []string) error {
	return checkForwarding(forward.Config{Forwards: parsed(items, forward.ParseForward)}, "forward ")
}

// checkForwarding returns the faults that package forward finds in f, without the prefix that
// repeats the setting.
func checkForwarding(f forward.Config, prefix string) error {
	f.Local, f.Log = zone.InZone, zap.NewNop()
	if _, err := forward.New(f); err != nil {
		return errors.Join(eachLine(err, func(line string) string { return strings.TrimPrefix(line, prefix) })...)
	}
	return nil
}
