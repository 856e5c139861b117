package zone_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone"
)

// A world makes random registries, commit after commit, and questions about them. It has few
// names, ids and addresses to choose from, so that they collide.
type world struct {
	*rand.Rand
	store   *registry.Store
	options zone.Options
	serials slowSerials
}

var (
	longLabel = strings.Repeat("x", 63)

	worldNetworks = []registry.Network{0x18, 0x19, 0x180000, 0x1800000, 0xffffffff}
	worldApps     = []string{"a", "b", "web", "vm", "all", "top1", "kv", "a-b", "internal", longLabel}
	worldPeers    = []string{"a", "web", "my-peer", "interactive", "interactive-1", "interactive-" + longLabel[:51], longLabel}
	worldRegions  = []string{"ams", "fra", "sjc", "lab", "lab2", "xx1", "a", "app", "top1", longLabel}
	worldStates   = []string{"stopped", "suspended", "created", "replacing", "Started", "", "??",
		"destroyed", "destroying", "replaced", "migrated"}
	worldKeys = []string{"fly_process_group", "process_group", "FLY_process_group", "role", "Role", "a", "a.b", "b",
		"kv", "_metadata", "", ".", "x.", longLabel, longLabel + "x"}
	worldValues = []string{"app", "App", "a", "A", "a.b", "b.a", "b", "role", "1.2.3", "", ".", "a.", ".a", "a..b",
		"kv._metadata.web", "\x00", "\xff.É", "É", "é", `\.`, "a b", "top1", longLabel, longLabel + "x", longLabel + ".a",
		strings.Repeat("v.", 60) + "v", strings.Repeat(longLabel+".", 3) + "a", strings.Repeat("y.", 90) + strings.Repeat("y", 40)}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// one returns true once in n times.
func (w *world) one(n int) bool { return w.IntN(n) == 0 }

func newWorld(r *rand.Rand, onCommit func(*registry.Snapshot, *registry.Changes)) *world {
	return &world{Rand: r, store: registry.NewStore(onCommit), serials: make(slowSerials)}
}

// apply makes one commit. A batch with a fault changes nothing.
func (w *world) apply(batch []registry.Event) error {
	_, err := w.store.Apply(batch)
	w.serials.commit(w.store.Snapshot())
	return err
}

// randomOptions returns the options of a server.
func randomOptions(r *rand.Rand) zone.Options {
	o := zone.Options{TTL: pick(r, []uint32{5, 0, 1<<31 - 1})}
	if r.IntN(2) == 0 {
		o.Region = pick(r, worldRegions)
	}
	for _, prefix := range []string{"127.0.0.0/8", "127.0.0.1/32", "10.0.0.0/8", "10.1.2.3/16", "::1/128", "fd00::/8", "fdaa::/48", "fdaa:0:18::/48", "::/0"} {
		if r.IntN(2) == 0 {
			continue
		}
		c := zone.Client{Prefix: netip.MustParsePrefix(prefix), Network: pick(r, append(worldNetworks, 0, 0x77))}
		if r.IntN(2) == 0 {
			c.Region = pick(r, worldRegions)
		}
		o.Clients = append(o.Clients, c)
	}
	return o
}

// address returns one of a few addresses in n. Some share a /112, some many of
// their digits.
func (w *world) address(n registry.Network) netip.Addr {
	b := n.Prefix().Addr().As16()
	host := pick(w.Rand, []string{"\x0a\x7b\x00\x7d\xf0\x66\xb8\x3b", "\x0a\x7b\x00\x7d\xf0\x66\xb8\x3c", "\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x00\x01\x00\x00\x00\x00"})
	copy(b[6:], host)
	b[15] = byte(w.IntN(8))
	if w.one(4) {
		b[14] = byte(w.IntN(3))
	}
	if w.one(8) {
		b[6+w.IntN(8)] ^= byte(1 + w.IntN(255))
	}
	return netip.AddrFrom16(b)
}

func (w *world) id() string {
	if w.one(30) {
		return pick(w.Rand, []string{longLabel, "-", "a-", "0"})
	}
	return fmt.Sprintf("%x", 0x1480+w.IntN(80))
}

func (w *world) machine() *registry.Machine {
	n := pick(w.Rand, worldNetworks)
	m := &registry.Machine{
		Network: n, App: pick(w.Rand, worldApps), ID: w.id(), Region: pick(w.Rand, worldRegions),
		State: "started", Address: w.address(n), Skip: w.one(6),
	}
	w.state(m)
	if w.one(4) {
		m.Raw = registry.NewRaw([]byte(fmt.Sprint(w.IntN(5))))
	}
	for range w.IntN(4) {
		w.metadata(m)
	}
	return m
}

func (w *world) state(m *registry.Machine) {
	m.State = "started"
	if w.one(3) {
		m.State = pick(w.Rand, worldStates)
	}
}

// metadata adds an entry to a machine, or replaces one.
func (w *world) metadata(m *registry.Machine) {
	p := registry.Pair{Key: pick(w.Rand, worldKeys), Value: pick(w.Rand, worldValues)}
	if w.one(3) {
		p.Key, p.Value = "fly_process_group", "app"
	}
	pairs := slices.DeleteFunc(slices.Clone(m.Metadata), func(o registry.Pair) bool { return o.Key == p.Key })
	pairs = append(pairs, p)
	slices.SortFunc(pairs, func(a, b registry.Pair) int { return strings.Compare(a.Key, b.Key) })
	m.Metadata = pairs
}

// changed returns an existing machine with one change.
func (w *world) changed() *registry.Machine {
	o := w.existing()
	if o == nil {
		return w.machine()
	}
	m := copied(o)
	switch w.IntN(6) {
	case 0, 1:
		w.state(m)
	case 2:
		m.Skip = !m.Skip
	case 3:
		m.Region = pick(w.Rand, worldRegions)
	case 4:
		w.metadata(m)
	case 5:
		m.Address = w.address(m.Network)
	}
	return m
}

// copied returns a copy that may be changed.
func copied(m *registry.Machine) *registry.Machine {
	c := *m
	return &c
}

// existing returns a machine of the registry, or nil if it has none.
func (w *world) existing() *registry.Machine {
	var machines []*registry.Machine
	for a := range w.store.Snapshot().Apps() {
		machines = slices.AppendSeq(machines, w.store.Snapshot().Machines(a))
	}
	if len(machines) == 0 {
		return nil
	}
	return pick(w.Rand, machines)
}

// event returns one wanted change, or several that belong together.
func (w *world) event() []registry.Event {
	n, app := pick(w.Rand, worldNetworks), pick(w.Rand, worldApps)
	switch w.IntN(16) {
	case 0, 1, 2, 3:
		m := w.machine()
		return []registry.Event{registry.Put(&registry.App{Network: m.Network, Name: m.App}), registry.Put(m)}
	case 4, 5:
		return []registry.Event{registry.Put(w.changed())}
	case 6:
		if m := w.existing(); m != nil {
			return []registry.Event{registry.Delete(registry.Key{Kind: registry.KindMachine, Network: m.Network, Name: m.App, ID: m.ID})}
		}
	case 7:
		return w.exchange()
	case 8:
		return []registry.Event{registry.Put(&registry.App{Network: n, Name: app})}
	case 9:
		return w.replaceApp(n, app)
	case 10, 11:
		p := registry.Peer{Name: pick(w.Rand, worldPeers), Address: w.address(n), Region: pick(w.Rand, append(worldRegions, ""))}
		return []registry.Event{registry.Put(&p)}
	case 12:
		return []registry.Event{registry.Delete(registry.Key{Kind: registry.KindPeer, Network: n, Name: pick(w.Rand, worldPeers)})}
	case 13:
		f := registry.Flycast{Address: w.address(n), App: app, Owner: pick(w.Rand, append(worldNetworks, n, n, n))}
		return []registry.Event{registry.Put(&registry.App{Network: f.Owner, Name: app}), registry.Put(&f)}
	case 14:
		for f := range w.store.Snapshot().Flycast() {
			if w.one(3) {
				return []registry.Event{registry.Delete(registry.Key{Kind: registry.KindFlycast, Address: f.Address})}
			}
		}
	case 15:
		return w.geography()
	}
	return nil
}

// exchange swaps two addresses, or gives a machine's id to one of another app.
func (w *world) exchange() []registry.Event {
	a, b := w.existing(), w.existing()
	if a == nil || a == b {
		return nil
	}
	x, y := copied(a), copied(b)
	if w.one(2) {
		x.Address, y.Address = y.Address, x.Address
		return []registry.Event{registry.Put(x), registry.Put(y)}
	}
	x.App, x.Network, x.Address = y.App, y.Network, y.Address
	return []registry.Event{
		registry.Delete(registry.Key{Kind: registry.KindMachine, Network: a.Network, Name: a.App, ID: a.ID}),
		registry.Delete(registry.Key{Kind: registry.KindMachine, Network: y.Network, Name: y.App, ID: y.ID}),
		registry.Put(x),
	}
}

// replaceApp deletes an app and may put it back at once, with other machines.
func (w *world) replaceApp(n registry.Network, app string) []registry.Event {
	events := []registry.Event{registry.Delete(registry.Key{Kind: registry.KindApp, Network: n, Name: app})}
	if w.one(2) {
		return events
	}
	events = append(events, registry.Put(&registry.App{Network: n, Name: app}))
	for range w.IntN(3) {
		m := w.machine()
		if o := w.existing(); o != nil && o.Network == n && w.one(2) {
			m = copied(o)
		}
		m.Network, m.App = n, app
		if slowNetwork(m.Address) != n {
			m.Address = w.address(n)
		}
		events = append(events, registry.Put(m))
	}
	return events
}

func (w *world) geography() []registry.Event {
	from, to := pick(w.Rand, worldRegions), pick(w.Rand, worldRegions)
	switch w.IntN(4) {
	case 0:
		return []registry.Event{registry.Put(&registry.RTT{From: from, To: to, MS: pick(w.Rand, []uint32{0, 1, 9, 9, 135, 1<<32 - 1})})}
	case 1:
		return []registry.Event{registry.Delete(registry.Key{Kind: registry.KindRTT, Name: from, ID: to})}
	case 2:
		return []registry.Event{registry.Delete(registry.Key{Kind: registry.KindRegion, Name: from})}
	}
	r := registry.Region{Code: from, Latitude: w.Float64()*180 - 90, Longitude: w.Float64()*360 - 180}
	return []registry.Event{registry.Put(&r)}
}

// grow adds machines to one app, with addresses anywhere in its network or all in
// one /112, and returns its name.
func (w *world) grow(machines int) (registry.Network, string) {
	n, app := pick(w.Rand, worldNetworks), pick(w.Rand, worldApps)
	batch := []registry.Event{registry.Put(&registry.App{Network: n, Name: app})}
	taken := make(map[netip.Addr]bool)
	dense := w.one(2)
	for i := range machines {
		m := w.machine()
		m.Network, m.App, m.ID = n, app, fmt.Sprintf("big%05d", w.IntN(1000)*100+i/1000)
		b := n.Prefix().Addr().As16()
		for j := 6; j < 16; j++ {
			b[j] = byte(w.IntN(16))
		}
		if dense {
			copy(b[6:], "\x0a\x7b\x00\x7d\xf0\x66\xb8\x3b")
			b[14], b[15] = byte(w.IntN(256)), byte(w.IntN(256))
		}
		if m.Address = netip.AddrFrom16(b); taken[m.Address] || m.Address == n.Server() {
			continue
		}
		taken[m.Address] = true
		batch = append(batch, registry.Put(m))
	}
	if w.apply(batch) != nil { // an address or an id is another object's
		return w.grow(machines)
	}
	return n, app
}

// shrink changes or removes a machine of that app.
func (w *world) shrink(n registry.Network, app string) {
	a := w.store.Snapshot().App(n, app)
	if a == nil {
		return
	}
	skip := w.IntN(200)
	for m := range w.store.Snapshot().Machines(a) {
		if skip--; skip > 0 {
			continue
		}
		if w.one(2) {
			w.apply([]registry.Event{registry.Delete(registry.Key{Kind: registry.KindMachine, Network: n, Name: app, ID: m.ID})})
			return
		}
		c := copied(m)
		w.state(c)
		w.apply([]registry.Event{registry.Put(c)})
		return
	}
}

// step makes one commit, or none if its events change nothing. If the events are in conflict,
// it applies them one after the other.
func (w *world) step() {
	var batch []registry.Event
	size := 1
	if w.one(2) {
		size = 1 + w.IntN(8)
	}
	for range size {
		batch = append(batch, w.event()...)
	}
	if err := w.apply(batch); err == nil {
		return
	}
	for _, e := range batch {
		w.apply([]registry.Event{e})
	}
}

// asker returns addresses from and to which a question is sent.
func (w *world) asker() (src, dst netip.Addr) {
	n := pick(w.Rand, worldNetworks)
	dst = serverAddr
	switch w.IntN(12) {
	case 0:
		src = netip.MustParseAddr(pick(w.Rand, []string{"127.0.0.1", "::1", "10.1.9.9", "10.2.0.1", "192.0.2.1", "fd00::1", "fdaa::5", "fdaa::3", "::ffff:127.0.0.1", "2001:db8::1", "fe80::1%lo"}))
		dst = netip.MustParseAddr(pick(w.Rand, []string{"127.0.0.1", "::1", "fdaa::3", "fdaa::4", "192.0.2.53"}))
	case 1:
		src, dst = netip.MustParseAddr(pick(w.Rand, []string{"127.0.0.1", "192.0.2.1", "fdaa::5"})), n.Server()
	case 2:
		src, dst = netip.MustParseAddr(pick(w.Rand, []string{"10.1.9.9", "192.0.2.1"})), w.address(n)
	case 3:
		src, dst = w.address(n), pick(w.Rand, worldNetworks).Server()
	case 4:
		src = w.address(n)
	case 5:
		src, dst = n.Server(), n.Server()
	case 6:
		src, dst = w.address(0x77), w.address(0x77)
	default:
		src = w.address(n)
		if m := w.existing(); m != nil && m.Address.IsValid() {
			src = m.Address
		}
		for p := range w.store.Snapshot().Peers() {
			if w.one(20) {
				src = p.Address
			}
		}
	}
	return src, dst
}

var worldTypes = []uint16{
	1, 28, 28, 28, 28, 16, 16, 16, 12, 12, 6, 2, 255, 255, 5, 15, 33, 43, 65, 257, 0, 65535,
}

// query returns a question for one of names, or for a name that differs a little.
func (w *world) query(names []*slowName) slowQuery {
	q := slowQuery{
		id: uint16(w.Uint32()), flags: uint16(w.IntN(2) << 8), qtype: pick(w.Rand, worldTypes),
		opt: w.one(2), do: w.one(2), udpSize: uint16(w.IntN(65536)),
	}
	if w.one(4) {
		q.flags |= 1<<4 | 1<<5 // CD, AD
	}
	name := pick(w.Rand, names)
	for tries := w.IntN(20); tries > 0; tries-- { // most are only above others
		if name.addrs != nil || name.text != nil || name.ptr != nil {
			break
		}
		name = pick(w.Rand, names)
	}
	q.labels = slices.Clone(name.labels)
	if w.one(2) {
		switch {
		case name.addrs != nil:
			q.qtype = 28
		case name.text != nil:
			q.qtype = 16
		case name.ptr != nil:
			q.qtype = 12
		}
	}
	switch {
	case w.one(16):
		q.labels, q.qtype = slices.Clone(pick(w.Rand, slowZones)), pick(w.Rand, []uint16{2, 6, 6, 255, 28})
	case w.one(8):
		q.labels = []string{fmt.Sprint("top", pick(w.Rand, []string{"1", "2", "3", "9", "0", "01", "", "x", "1x", "+1", strings.Repeat("9", 60), "4294967297", "18446744073709551617"})),
			"nearest", "of", pick(w.Rand, worldApps), "internal"}
	case w.one(3):
		w.mutate(&q)
	}
	if w.one(2) {
		for i := range q.labels {
			l := []byte(q.labels[i])
			for j, c := range l {
				if 'a' <= c && c <= 'z' && w.one(2) {
					l[j] = c - 'a' + 'A'
				}
			}
			q.labels[i] = string(l)
		}
	}
	return q
}

// mutate changes a name a little. The result is a valid name.
func (w *world) mutate(q *slowQuery) {
	before := slices.Clone(q.labels)
	i := w.IntN(len(q.labels))
	label := pick(w.Rand, []string{"a", "all", "vm", "vms", "process", "kv", "_metadata", "of", "nearest", "global", "regions",
		"_apps", "_peer", "_api", "_instances", "internal", "flycast", "0", "f", "g", "x", "\x00", "*"})
	switch w.IntN(8) {
	case 0:
		q.labels = q.labels[1:]
	case 1:
		q.labels = slices.Insert(q.labels, i, label)
	case 2:
		q.labels[i] = label
	case 3:
		q.labels = slices.Delete(q.labels, i, i+1)
	case 4:
		q.labels[i] = pick(w.Rand, slices.Concat(worldApps, worldRegions, worldPeers))
	case 5:
		if i > 0 { // a dot inside of a label
			q.labels = slices.Replace(q.labels, i-1, i+1, q.labels[i-1]+"."+q.labels[i])
		}
	case 6:
		q.labels[len(q.labels)-1] = pick(w.Rand, []string{"internal", "flycast", "fly-local-6pn", "arpa", "com"})
	case 7:
		if l := []byte(q.labels[i]); len(l) > 0 {
			l[w.IntN(len(l))] ^= byte(1 << w.IntN(8))
			q.labels[i] = string(l)
		}
	}
	if slowLen(q.labels) > 255 || slices.ContainsFunc(q.labels, func(l string) bool { return l == "" || len(l) > 63 }) {
		q.labels = before
	}
}
