package forward

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/resolver/forward/upstream"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// routes map names to the upstreams that are asked for them. They are immutable.
type routes struct {
	others   *group            // for names that no suffix covers; nil: these are refused
	suffixes map[string]*group // by wire format in lower case
	above    map[string]bool   // names above a suffix or a local zone
}

// localReverse is the apex of the one local zone that is below a special name.
const localReverse = "\x01a\x01a\x01d\x01f\x03ip6\x04arpa\x00"

// noteAbove adds all names above name to above.
func (r *routes) noteAbove(name string) {
	for name[0] != 0 {
		name = name[1+int(name[0]):]
		r.above[name] = true
	}
}

// A group is the upstreams for one suffix, in the order in which they are asked. It
// is immutable.
type group struct {
	suffix    string // "." for names that no other suffix covers
	upstreams []*upstream.Server
}

// find returns the group that is asked for a name in wire format and lower case,
// and the length of its suffix, in octets; nil if there is none.
func (r *routes) find(name []byte) (g *group, suffix int) {
	if len(r.suffixes) > 0 {
		for ; name[0] != 0; name = wire.Parent(name) {
			if g := r.suffixes[string(name)]; g != nil {
				return g, len(name)
			}
		}
	}
	return r.others, 0
}

// groups returns all groups: others first, then by suffix.
func (r *routes) groups() []*group {
	var gs []*group
	if r.others != nil {
		gs = append(gs, r.others)
	}
	bySuffix := func(a, b *group) int { return strings.Compare(a.suffix, b.suffix) }
	return append(gs, slices.SortedFunc(maps.Values(r.suffixes), bySuffix)...)
}

// live appends the upstreams of g that are not dead to buf: first the healthy ones,
// then the silent ones, each in the order of g.
func (g *group) live(buf []*upstream.Server) []*upstream.Server {
	for _, u := range g.upstreams {
		if !u.Dead() && !u.Silent() {
			buf = append(buf, u)
		}
	}
	for _, u := range g.upstreams {
		if !u.Dead() && u.Silent() && !slices.Contains(buf, u) {
			buf = append(buf, u)
		}
	}
	return buf
}

// blame notes that a question failed because no upstream of g answered, and
// returns the extended error that says why.
func (g *group) blame() (ede uint16) {
	ede = wire.EDENetwork
	for _, u := range g.upstreams {
		if u.Blame() != wire.EDENetwork {
			ede = wire.EDENoReach
		}
	}
	return ede
}

// setUpstreams sets the upstreams for names that no Forward covers, and reports
// whether that changed them. A server that stays in use keeps what is known about
// it, also if it moves to another group.
func (f *Forwarder) setUpstreams(upstreams []Upstream) (changed bool) {
	known := make(map[Upstream]*upstream.Server)
	for _, u := range f.upstreams() {
		known[u.Address] = u
	}
	newGroup := func(suffix string, list []Upstream) *group {
		g := &group{suffix: suffix}
		for _, u := range list {
			if known[u] == nil {
				known[u] = f.upstream.NewServer(u)
			}
			g.upstreams = append(g.upstreams, known[u])
		}
		return g
	}
	r := &routes{suffixes: make(map[string]*group), above: make(map[string]bool)}
	if f.config.Local([]byte(localReverse)) {
		r.noteAbove(localReverse)
	}
	if len(upstreams) > 0 {
		r.others = newGroup(".", upstreams)
	}
	for _, forward := range f.config.Forwards {
		r.noteAbove(forward.Suffix.name)
		g := newGroup(forward.Suffix.String(), forward.Upstreams)
		switch before := r.suffixes[forward.Suffix.name]; {
		case g.suffix == ".":
			r.others = g
		case before != nil:
			for _, u := range g.upstreams {
				if !slices.Contains(before.upstreams, u) {
					before.upstreams = append(before.upstreams, u)
				}
			}
		default:
			r.suffixes[forward.Suffix.name] = g
		}
	}
	before := f.routes.Swap(r)
	for _, u := range known {
		if !slices.Contains(f.upstreams(), u) {
			u.Retire()
		}
	}
	return before.others == nil || r.others == nil || !slices.Equal(before.others.upstreams, r.others.upstreams)
}

// upstreams returns the upstreams in use, each once.
func (f *Forwarder) upstreams() (list []*upstream.Server) {
	for _, g := range f.routes.Load().groups() {
		for _, u := range g.upstreams {
			if !slices.Contains(list, u) {
				list = append(list, u)
			}
		}
	}
	return list
}

// A Suffix is a domain name. It covers every name at or below it. Suffixes that are
// == are the same.
type Suffix struct{ name string } // in wire format and lower case

// ParseSuffix reads a domain name, with or without its last dot.
func ParseSuffix(s string) (Suffix, error) {
	var buf [255]byte
	if s == "" {
		return Suffix{}, errors.New(`a domain name cannot be empty; the root is "."`)
	}
	n, err := dns.PackDomainName(dns.CanonicalName(s), buf[:], 0, nil, false)
	if err != nil {
		return Suffix{}, fmt.Errorf("%q is not a domain name", s)
	}
	return Suffix{string(buf[:n])}, nil
}

// ParseForward reads SUFFIX=UPSTREAM[,UPSTREAM]….
func ParseForward(s string) (Forward, error) {
	name, list, ok := strings.Cut(s, "=")
	if !ok {
		return Forward{}, fmt.Errorf("%q: want SUFFIX=UPSTREAM, such as corp.example=10.0.0.53", s)
	}
	suffix, err := ParseSuffix(name)
	if err != nil {
		return Forward{}, err
	}
	f := Forward{Suffix: suffix}
	for item := range strings.SplitSeq(list, ",") {
		u, err := ParseUpstream(item)
		if err != nil {
			return Forward{}, err
		}
		f.Upstreams = append(f.Upstreams, u)
	}
	return f, nil
}

// String returns the name with its last dot.
func (s Suffix) String() string {
	name, _, err := dns.UnpackDomainName([]byte(s.name), 0)
	if err != nil {
		return "."
	}
	return name
}

func (s Suffix) wire() []byte { return []byte(s.name) }
