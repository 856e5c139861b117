package forward

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
	"go.uber.org/zap"

	"github.com/internaldns/internaldns/internal/filewatch"
	"github.com/internaldns/internaldns/resolver/forward/upstream"
)

// followResolvConf returns a Follower that takes the upstreams from the resolv.conf
// at path. A file that is missing, or has no nameserver, changes nothing: an
// upstream that may be down is better than none.
func (f *Forwarder) followResolvConf(path string) *filewatch.Follower {
	own, log := newOwnAddrs(f.config.Own), f.config.Log
	take := func(_ context.Context, content ...io.Reader) error {
		upstreams, err := parseResolvConf(content[0], own)
		if err != nil {
			return err
		}
		if len(upstreams) == 0 {
			return errNoNameserver
		}
		st := f.resolvConf.Status()
		if first := st.Loads+st.Failures == 0; f.setUpstreams(upstreams) && !first {
			log.Info("the nameservers have changed", zap.Stringers("upstreams", upstreams))
		}
		return nil
	}
	report := func(err error) {
		switch {
		case errors.Is(err, errNoNameserver):
			log.Warn("no nameserver other than this server; the last ones stay in use", zap.String("file", path))
		case err != nil:
			log.Warn("cannot read the nameservers; the last ones stay in use", zap.Error(err))
		}
	}
	return filewatch.New(filewatch.Config{Paths: []string{path}, Take: take, Report: report})
}

// errNoNameserver reports a resolv.conf without a nameserver other than this server.
var errNoNameserver = errors.New("no nameserver other than this server")

// parseResolvConf returns the nameservers in a resolv.conf(5), without those in
// own, each once and in order. It ignores lines that it does not know.
func parseResolvConf(r io.Reader, own ownAddrs) ([]Upstream, error) {
	conf, err := dns.ClientConfigFromReader(r)
	if err != nil {
		return nil, err
	}
	var upstreams []Upstream
	for _, server := range conf.Servers {
		addr, err := netip.ParseAddr(server)
		if err != nil || addr.IsUnspecified() {
			continue
		}
		u := Upstream{Addr: netip.AddrPortFrom(addr.Unmap(), upstream.PortDNS)}
		if !own.has(u.Addr) && !slices.Contains(upstreams, u) {
			upstreams = append(upstreams, u)
		}
	}
	return upstreams, nil
}
