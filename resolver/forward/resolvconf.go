package forward

import (
	"bufio"
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// resolvConfEvery is how often resolv.conf is looked at. Looking costs one system
// call, finds changes behind symlinks and bind mounts too, and is what resolvers
// in C libraries do.
const resolvConfEvery = time.Second

// readResolvConf returns the nameservers in a resolv.conf(5), but for those that
// own has, each once and in order. Lines it does not know it leaves to others.
func readResolvConf(path string, own ownAddrs) ([]Upstream, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var upstreams []Upstream
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(fields[1])
		if err != nil || addr.IsUnspecified() {
			continue
		}
		u := Upstream{Addr: netip.AddrPortFrom(addr.Unmap(), portDNS)}
		if !own.has(u.Addr) && !slices.Contains(upstreams, u) {
			upstreams = append(upstreams, u)
		}
	}
	return upstreams, lines.Err()
}

// followResolvConf reads the file again whenever it changes, until ctx is done. A
// file that is gone, or names nobody, changes nothing: better an upstream that
// may be gone than none.
func (f *Forwarder) followResolvConf(ctx context.Context) {
	path, log := f.config.ResolvConf, f.config.Log
	last, _ := os.Stat(path) // nil if it is not there
	for sleep(ctx, resolvConfEvery) {
		info, err := os.Stat(path)
		if err != nil || last != nil && os.SameFile(info, last) && info.ModTime().Equal(last.ModTime()) && info.Size() == last.Size() {
			continue
		}
		last = info
		upstreams, err := readResolvConf(path, newOwnAddrs(f.config.Own))
		switch {
		case err != nil:
			log.Warn("cannot read the nameservers; the last ones stay", zap.Error(err))
		case len(upstreams) == 0:
			log.Warn("no nameserver but ourselves; the last ones stay", zap.String("file", path))
		case f.setUpstreams(upstreams):
			log.Info("the nameservers have changed", zap.Stringers("upstreams", upstreams))
		}
	}
}
