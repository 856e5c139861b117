package zone_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// slow is the twin of a Table: it answers from the facts, by listing every name of
// a network and comparing strings. It was written from the rules and shares no
// code with what it checks.
type slow struct {
	snap     *registry.Snapshot
	options  zone.Options
	serials  slowSerials
	ready    bool
	networks map[registry.Network]slowNames // those asked about so far
}

func newSlow(snap *registry.Snapshot, o zone.Options, serials slowSerials, ready bool) *slow {
	return &slow{snap: snap, options: o, serials: serials, ready: ready, networks: make(map[registry.Network]slowNames)}
}

// slowSerials holds the SERIAL of each network: the index of the last commit that
// changed a fact on which its answers depend.
type slowSerials map[registry.Network]slowSerial

type slowSerial struct {
	index uint64
	facts string // of that commit
}

// commit compares the facts of every network with those of the commits before.
func (serials slowSerials) commit(snap *registry.Snapshot) {
	facts := make(map[registry.Network]*strings.Builder)
	in := func(n registry.Network) *strings.Builder {
		if facts[n] == nil {
			facts[n] = new(strings.Builder)
		}
		return facts[n]
	}
	for n := range serials { // also networks that have lost all their facts
		in(n)
	}
	for a := range snap.Apps() {
		fmt.Fprintln(in(a.Network), "app", a.Name, a.Modified)
		for m := range snap.Machines(a) {
			if slowGone(m) {
				continue
			}
			fmt.Fprintln(in(a.Network), "machine", a.Name, m.ID, m.Region, m.Address, slowDeployed(m), slowStarted(m))
			if slowDeployed(m) {
				fmt.Fprintf(in(a.Network), "group %s\n", slowKey([]string{slowGroup(m)}))
			}
			for _, p := range m.Metadata {
				if slowDeployed(m) {
					fmt.Fprintf(in(a.Network), "metadata %s %q\n", slowKey([]string{p.Key}), slowKey([]string{p.Value}))
				}
			}
		}
	}
	for p := range snap.Peers() {
		fmt.Fprintln(in(slowNetwork(p.Address)), "peer", p.Name, p.Address, p.Region)
	}
	for f := range snap.Flycast() {
		fmt.Fprintln(in(slowNetwork(f.Address)), "flycast", f.Address, f.App)
	}
	for n, now := range facts {
		if now.String() != serials[n].facts {
			serials[n] = slowSerial{snap.Index, now.String()}
		}
	}
}

// slowNames holds the names that exist in one network, by owner: its wire form
// in lower case.
type slowNames map[string]*slowName

// A slowName is the data of a name. It is empty if the name is only above others.
type slowName struct {
	labels []string
	addrs  []netip.Addr
	text   *slowText
	ptr    []string // labels
	apex   bool
}

// A slowText is a list of items.
type slowText struct {
	items []string
	sep   string
}

// A slowQuery is one question: labels from the left, as sent.
type slowQuery struct {
	id      uint16
	flags   uint16
	labels  []string
	qtype   uint16
	opt, do bool
	udpSize uint16
}

// slowKey names an owner. Only the letters A to Z have a lower case.
func slowKey(labels []string) string {
	key := slowWire(labels)
	for i, c := range key {
		if 'A' <= c && c <= 'Z' { // no length of a label is in this range
			key[i] = c - 'A' + 'a'
		}
	}
	return string(key)
}

// lookupSlow returns the whole response, and whether it lacks data. It returns no response if
// the name is in none of our zones.
func (s *slow) lookupSlow(src, dst netip.Addr, q slowQuery, limit int, truncate bool, flags uint16) (msg []byte, cut bool) {
	src, dst = src.Unmap().WithZone(""), dst.Unmap().WithZone("")
	network, region, conflict := s.place(src, dst)
	apex := slowApex(q.labels)
	switch {
	case conflict:
		return slowResponse(q, dns.RcodeRefused, flags, nil, nil, 0), false
	case apex == nil:
		return nil, false
	case !s.ready:
		return slowResponse(q, dns.RcodeServerFailure, flags, nil, nil, 14), false
	case network == 0:
		return slowResponse(q, dns.RcodeRefused, flags, nil, nil, 0), false
	}
	flags |= 1 << 10 // AA
	soa := slowRR(12+slowLen(q.labels)-slowLen(apex), dns.TypeSOA, s.options.TTL, s.soa(network))
	n := s.find(network, region, src, dst, q.labels)
	if n == nil {
		return slowResponse(q, dns.RcodeNameError, flags, nil, [][]byte{soa}, 0), false
	}
	rrs, items := s.records(n, q.qtype, soa)
	if rrs == nil {
		return slowResponse(q, dns.RcodeSuccess, flags, nil, [][]byte{soa}, 0), false
	}
	whole := slowResponse(q, dns.RcodeSuccess, flags, rrs, nil, 0)
	if len(whole) <= limit {
		return whole, false
	}
	if truncate {
		flags |= 1 << 9 // TC
	}
	total := len(rrs)
	some := func(n int) []byte { return slowResponse(q, dns.RcodeSuccess, flags, rrs[:n], nil, 0) }
	if items != nil && !truncate {
		total = len(items.items)
		some = func(n int) []byte {
			rr := slowRR(12, dns.TypeTXT, s.options.TTL, slowTXT(slowText{items.items[:n], items.sep}))
			return slowResponse(q, dns.RcodeSuccess, flags, [][]byte{rr}, nil, 0)
		}
	}
	return some(sort.Search(total-1, func(n int) bool { return len(some(n+1)) > limit })), true
}

// records returns the RRset of that type. For ANY it returns the one RRset of the answer.
func (s *slow) records(n *slowName, qtype uint16, soa []byte) (rrs [][]byte, text *slowText) {
	add := func(rtype uint16, rdata []byte) {
		rrs = append(rrs, slowRR(12, rtype, s.options.TTL, rdata))
	}
	wants := func(rtype uint16) bool {
		return len(rrs) == 0 && (qtype == rtype || qtype == dns.TypeANY)
	}
	if wants(dns.TypeAAAA) {
		for _, a := range n.addrs {
			add(dns.TypeAAAA, a.AsSlice())
		}
	}
	if wants(dns.TypeTXT) && n.text != nil {
		add(dns.TypeTXT, slowTXT(*n.text))
		text = n.text
	}
	if wants(dns.TypePTR) && n.ptr != nil {
		add(dns.TypePTR, slowWire(n.ptr))
	}
	if wants(dns.TypeSOA) && n.apex {
		rrs = append(rrs, soa)
	}
	if qtype == dns.TypeNS && n.apex {
		add(dns.TypeNS, slowWire([]string{"_api", "internal"}))
	}
	return rrs, text
}

func (s *slow) soa(n registry.Network) []byte {
	b := slowWire([]string{"_api", "internal"})
	b = append(b, slowWire([]string{"hostmaster", "internal"})...)
	for _, v := range []uint32{uint32(s.serials[n].index), 3600, 600, 86400, s.options.TTL} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// The client.

// slowNetwork returns the network that an address names, or 0.
func slowNetwork(a netip.Addr) registry.Network {
	if !netip.MustParsePrefix("fdaa::/16").Contains(a.WithZone("")) {
		return 0
	}
	b := a.As16()
	return registry.Network(binary.BigEndian.Uint32(b[2:6]))
}

func (s *slow) place(src, dst netip.Addr) (n registry.Network, region string, conflict bool) {
	n = slowNetwork(src)
	there := slowNetwork(dst)
	if n != 0 && there != 0 && n != there {
		return 0, "", true
	}
	if n == 0 && there != 0 && dst == there.Server() {
		n = there
	}
	bits := -1
	var client zone.Client
	for _, c := range s.options.Clients {
		if c.Prefix.Contains(src) && c.Prefix.Bits() > bits {
			client, bits = c, c.Prefix.Bits()
		}
	}
	if n == 0 {
		n = client.Network
	}
	return n, s.region(src, client), false
}

func (s *slow) region(src netip.Addr, client zone.Client) string {
	block, _ := src.Prefix(min(112, src.BitLen()))
	var beside []string
	for m := range s.machines(slowNetwork(src), "") {
		if slowGone(m) {
			continue
		}
		if m.Address == src {
			return m.Region
		}
		if block.Contains(m.Address) {
			beside = append(beside, m.Region)
		}
	}
	for p := range s.snap.Peers() {
		if p.Address == src && slowNetwork(src) != 0 && p.Region != "" {
			return p.Region
		}
	}
	if len(beside) == 1 {
		return beside[0]
	}
	if client.Region != "" {
		return client.Region
	}
	return s.options.Region
}

// Facts.

// machines yields the machines of a network, or of one of its apps.
func (s *slow) machines(n registry.Network, app string) func(func(*registry.Machine) bool) {
	return func(yield func(*registry.Machine) bool) {
		for a := range s.snap.Apps() {
			if a.Network != n || app != "" && a.Name != app {
				continue
			}
			for m := range s.snap.Machines(a) {
				if !yield(m) {
					return
				}
			}
		}
	}
}

func slowGone(m *registry.Machine) bool {
	return slices.Contains([]string{"destroying", "destroyed", "replaced", "migrated"}, m.State)
}

func slowDeployed(m *registry.Machine) bool { return !slowGone(m) && !m.Skip }
func slowStarted(m *registry.Machine) bool  { return slowDeployed(m) && m.State == "started" }

// slowGroup returns the machine's process group, "" if it has none.
func slowGroup(m *registry.Machine) string {
	for _, key := range []string{"fly_process_group", "process_group"} {
		for _, p := range m.Metadata {
			if p.Key == key && p.Value != "" {
				return p.Value
			}
		}
	}
	return ""
}

// ping returns the round trip as text, "" if it is unknown.
func (s *slow) ping(from, to string) string {
	if from == "" {
		return ""
	}
	if from == to {
		return "0"
	}
	for _, way := range [][2]string{{from, to}, {to, from}} {
		for r := range s.snap.RTTs() {
			if r.From == way[0] && r.To == way[1] {
				return fmt.Sprint(r.MS)
			}
		}
	}
	a, b := s.place3D(from), s.place3D(to)
	if a == nil || b == nil {
		return ""
	}
	cross := math.Hypot(math.Hypot(a[1]*b[2]-a[2]*b[1], a[2]*b[0]-a[0]*b[2]), a[0]*b[1]-a[1]*b[0])
	angle := math.Atan2(cross, a[0]*b[0]+a[1]*b[1]+a[2]*b[2])
	return fmt.Sprint(math.Max(1, math.Round(angle*6371.0088*0.015)))
}

// place3D returns where a region is on the unit sphere.
func (s *slow) place3D(code string) []float64 {
	r, ok := registry.BuiltinRegions()[code]
	for own := range s.snap.Regions() {
		if own.Code == code {
			r, ok = *own, true
		}
	}
	if !ok {
		return nil
	}
	lat, lon := r.Latitude*math.Pi/180, r.Longitude*math.Pi/180
	return []float64{math.Cos(lat) * math.Cos(lon), math.Cos(lat) * math.Sin(lon), math.Sin(lat)}
}

// Names.

var slowZones = [][]string{{"internal"}, {"flycast"}, {"fly-local-6pn"}, {"a", "a", "d", "f", "ip6", "arpa"}}

// slowApex returns the labels of the apex that a name is at or below, or nil.
func slowApex(labels []string) []string {
	for _, zone := range slowZones {
		if n := len(labels) - len(zone); n >= 0 && slowKey(labels[n:]) == slowKey(zone) {
			return zone
		}
	}
	return nil
}

var slowTop = regexp.MustCompile(`^[tT][oO][pP]([1-9][0-9]*)$`)

// find returns the data of a name, or nil if the name does not exist.
func (s *slow) find(n registry.Network, region string, src, dst netip.Addr, labels []string) *slowName {
	if s.networks[n] == nil {
		s.networks[n] = s.names(n)
	}
	switch key := slowKey(labels); key {
	case slowKey([]string{"_api", "internal"}):
		server := netip.MustParseAddr("fdaa::3")
		if netip.MustParsePrefix("fdaa::/16").Contains(dst.WithZone("")) {
			server = dst.WithZone("")
		}
		return &slowName{addrs: []netip.Addr{server}}
	case slowKey([]string{"fly-local-6pn"}):
		local := &slowName{apex: true}
		if netip.MustParsePrefix("fdaa::/16").Contains(src.WithZone("")) {
			local.addrs = []netip.Addr{src.WithZone("")}
		}
		return local
	}
	if len(labels) == 5 && slowKey(labels[1:3]) == slowKey([]string{"nearest", "of"}) &&
		s.networks[n][slowKey(labels[3:])] != nil && slowKey(labels[4:]) == slowKey([]string{"internal"}) {
		if top := slowTop.FindStringSubmatch(labels[0]); top != nil && !strings.HasPrefix(labels[3], "_") {
			return s.nearest(n, region, strings.ToLower(labels[3]), top[1])
		}
	}
	return s.networks[n][slowKey(labels)]
}

func (s *slow) nearest(n registry.Network, region, app, top string) *slowName {
	type place struct {
		m    *registry.Machine
		ping string
		sort string
	}
	var places []place
	pings := make(map[string]string)
	for m := range s.machines(n, app) {
		if slowStarted(m) {
			if _, ok := pings[m.Region]; !ok {
				pings[m.Region] = s.ping(region, m.Region)
			}
			p := place{m: m, ping: pings[m.Region], sort: "unknown"} // after all digits
			if p.ping != "" {
				p.sort = fmt.Sprintf("%20s", p.ping)
			}
			p.sort += m.Address.StringExpanded()
			places = append(places, p)
		}
	}
	slices.SortFunc(places, func(a, b place) int { return strings.Compare(a.sort, b.sort) })
	count, _ := new(big.Int).SetString(top, 10)
	if count.Cmp(big.NewInt(int64(len(places)))) < 0 {
		places = places[:count.Int64()]
	}
	name := &slowName{text: &slowText{sep: ";"}}
	for _, p := range places {
		name.addrs = append(name.addrs, p.m.Address)
		item := fmt.Sprintf("ip=%v,region=%s", p.m.Address, p.m.Region)
		if p.ping != "" {
			item += ",ping=" + p.ping
		}
		name.text.items = append(name.text.items, item)
	}
	return name
}

// add returns the entry of that name. It makes the entry, and those of all names above it in
// the zone, if there is none.
func (names slowNames) add(labels ...string) *slowName {
	for _, l := range labels {
		if l == "" || len(l) > 63 {
			return new(slowName)
		}
	}
	if slowLen(labels) > 255 {
		return new(slowName)
	}
	for n := len(labels) - len(slowApex(labels)); n >= 0; n-- {
		key := slowKey(labels[n:])
		if names[key] == nil {
			names[key] = &slowName{labels: labels[n:]}
		}
	}
	return names[slowKey(labels)]
}

// names lists the names of a network.
func (s *slow) names(n registry.Network) slowNames {
	names := make(slowNames)
	for _, zone := range slowZones {
		names.add(zone...).apex = true
	}
	apps, peers := &slowText{sep: ","}, &slowText{sep: ","}
	names.add("_apps", "internal").text = apps
	names.add("_peer", "internal").text = peers
	names.add("_api", "internal")
	names.add("_instances", "internal").text = &slowText{sep: ";"}
	names.add("all", "_instances", "internal").text = &slowText{sep: ";"}
	for a := range s.snap.Apps() {
		if a.Network == n {
			apps.items = append(apps.items, a.Name)
			s.addApp(names, a)
		}
	}
	s.addInstances(names, n)
	for p := range s.snap.Peers() {
		if slowNetwork(p.Address) == n && !strings.HasPrefix(p.Name, "interactive-") {
			peers.items = append(peers.items, p.Name)
			names.add(p.Name, "_peer", "internal").addrs = []netip.Addr{p.Address}
			names.add(slowReverse(p.Address)...).ptr = []string{p.Name, "_peer", "internal"}
		}
	}
	for f := range s.snap.Flycast() {
		if slowNetwork(f.Address) == n {
			name := names.add(f.App, "flycast")
			name.addrs = append(name.addrs, f.Address)
			names.add(slowReverse(f.Address)...).ptr = []string{f.App, "flycast"}
		}
	}
	for _, server := range []netip.Addr{netip.MustParseAddr("fdaa::3"), n.Server()} {
		names.add(slowReverse(server)...).ptr = []string{"_api", "internal"}
	}
	slices.Sort(apps.items)
	slices.Sort(peers.items)
	for _, name := range names {
		slices.SortFunc(name.addrs, netip.Addr.Compare)
		name.addrs = slices.Compact(name.addrs)
	}
	return names
}

func (s *slow) addApp(names slowNames, a *registry.App) {
	below := func(labels ...string) *slowName {
		return names.add(append(labels, a.Name, "internal")...)
	}
	below()
	below("global")
	below("nearest", "of")
	vms, allVMs := &slowText{sep: ","}, &slowText{sep: ","}
	regions, allRegions := &slowText{sep: ","}, &slowText{sep: ","}
	below("vms").text, below("all", "vms").text = vms, allVMs
	below("regions").text, below("all", "regions").text = regions, allRegions

	for m := range s.snap.Machines(a) {
		if !slowDeployed(m) {
			continue
		}
		owners := []*slowName{below(), below("global"), below(m.Region), below(m.ID, "vm")}
		for _, p := range m.Metadata {
			owners = append(owners, below(append(strings.Split(p.Value+"."+p.Key, "."), "kv", "_metadata")...))
		}
		if group := slowGroup(m); group != "" {
			owners = append(owners, below(append(strings.Split(group, "."), "process")...))
		}
		names.add(slowReverse(m.Address)...).ptr = []string{m.ID, "vm", a.Name, "internal"}
		item := m.ID + " " + m.Region
		allVMs.items, allRegions.items = append(allVMs.items, item), append(allRegions.items, m.Region)
		if slowStarted(m) {
			vms.items, regions.items = append(vms.items, item), append(regions.items, m.Region)
			for _, o := range owners {
				o.addrs = append(o.addrs, m.Address)
			}
		}
	}
	for _, list := range []*slowText{vms, allVMs, regions, allRegions} {
		// A space sorts before all octets of ids, so an item sorts as its id.
		slices.Sort(list.items)
		list.items = slices.Compact(list.items)
	}
}

func (s *slow) addInstances(names slowNames, n registry.Network) {
	var machines []*registry.Machine
	for m := range s.machines(n, "") {
		if slowDeployed(m) {
			machines = append(machines, m)
		}
	}
	slices.SortFunc(machines, func(a, b *registry.Machine) int { return strings.Compare(a.ID, b.ID) })
	started, all := names.add("_instances", "internal").text, names.add("all", "_instances", "internal").text
	for _, m := range machines {
		item := fmt.Sprintf("instance=%s,app=%s,ip=%v,region=%s", m.ID, m.App, m.Address, m.Region)
		all.items = append(all.items, item)
		if slowStarted(m) {
			started.items = append(started.items, item)
		}
	}
}

// unnamed counts the process groups and metadata entries that give no name.
func (s *slow) unnamed() int {
	count := 0
	for a := range s.snap.Apps() {
		for m := range s.snap.Machines(a) {
			if !slowDeployed(m) {
				continue
			}
			names := make(slowNames)
			try := func(labels ...string) {
				labels = append(labels, a.Name, "internal")
				names.add(labels...)
				if names[slowKey(labels)] == nil {
					count++
				}
			}
			for _, p := range m.Metadata {
				try(append(strings.Split(p.Value+"."+p.Key, "."), "kv", "_metadata")...)
			}
			if g := slowGroup(m); g != "" {
				try(append(strings.Split(g, "."), "process")...)
			}
		}
	}
	return count
}

// slowReverse returns the labels of an address's name in ip6.arpa.
func slowReverse(a netip.Addr) []string {
	digits := strings.Split(strings.ReplaceAll(a.StringExpanded(), ":", ""), "")
	slices.Reverse(digits)
	return append(digits, "ip6", "arpa")
}

// Octets.

func slowWire(labels []string) []byte {
	var b []byte
	for _, l := range labels {
		b = append(append(b, byte(len(l))), l...)
	}
	return append(b, 0)
}

// slowLen returns the length of a name in wire form.
func slowLen(labels []string) int { return len(slowWire(labels)) }

// slowTXT returns a list as RDATA: the whole text, cut behind separators.
func slowTXT(text slowText) []byte {
	var b []byte
	s := strings.Join(text.items, text.sep)
	for len(s) > 255 {
		n := strings.LastIndex(s[:255], text.sep) + 1
		b = append(append(b, byte(n)), s[:n]...)
		s = s[n:]
	}
	return append(append(b, byte(len(s))), s...)
}

// slowRR returns a record whose owner is at offset in the message.
func slowRR(offset int, rtype uint16, ttl uint32, rdata []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, 0xC000|uint16(offset))
	b = binary.BigEndian.AppendUint16(b, rtype)
	b = binary.BigEndian.AppendUint16(b, dns.ClassINET)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rdata)))
	return append(b, rdata...)
}

// message returns the query as octets.
func (q *slowQuery) message() []byte {
	b := q.head(q.flags, 0, 0)
	if q.opt {
		b = append(b, q.optRecord(q.udpSize, nil)...)
	}
	return b
}

// head returns header and question.
func (q *slowQuery) head(flags uint16, ancount, nscount int) []byte {
	arcount := 0
	if q.opt {
		arcount = 1
	}
	var b []byte
	for _, word := range []uint16{q.id, flags, 1, uint16(ancount), uint16(nscount), uint16(arcount)} {
		b = binary.BigEndian.AppendUint16(b, word)
	}
	b = append(b, slowWire(q.labels)...)
	return append(b, byte(q.qtype>>8), byte(q.qtype), 0, dns.ClassINET)
}

func (q *slowQuery) optRecord(size uint16, option []byte) []byte {
	b := []byte{0, 0, 41, byte(size >> 8), byte(size), 0, 0, 0, 0, 0, byte(len(option))}
	if q.do {
		b[7] = 0x80
	}
	return append(b, option...)
}

// slowResponse returns a response to q. ede is an extended error to add to its
// OPT record, or 0.
func slowResponse(q slowQuery, rcode int, flags uint16, answer, authority [][]byte, ede byte) []byte {
	const keep = 1<<8 | 1<<4 // RD, CD
	b := q.head(1<<15|flags|q.flags&keep|uint16(rcode), len(answer), len(authority))
	for _, rr := range append(slices.Clone(answer), authority...) {
		b = append(b, rr...)
	}
	if q.opt {
		var option []byte
		if ede != 0 {
			option = []byte{0, 15, 0, 2, 0, ede}
		}
		b = append(b, q.optRecord(wire.ReceiveSize, option)...)
	}
	return b
}
