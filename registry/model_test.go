package registry

import (
	"flag"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// soak is a factor for the number of random draws in this package's tests.
var soak = flag.Int("registry.soak", 1, "how many times as many random draws as usual")

// modelRounds is how many random batches the model test applies to each store.
const modelRounds = 100

func TestStoreDoesWhatItsSimpleTwinDoes(t *testing.T) {
	for seed := range uint64(6 * *soak) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			d := newDraw(seed)
			tw := newTwin()
			commits := 0
			s := NewStore(func(*Snapshot, *Changes) { commits++ })
			type kept struct {
				snap *Snapshot
				dump string
			}
			var old []kept
			accepted, refused := 0, 0
			for range modelRounds {
				events := d.batch(tw, 8)
				before, beforeTwin := s.Snapshot(), tw
				commits = 0
				next, faults := tw.apply(events)
				changes, err := s.Apply(events)
				if got, want := faultLines(err), faultLines(faults.Err()); got != want {
					t.Fatalf("after\n%s\nthe events\n%s\nhave the faults\n%s\n\nwant\n%s", tw.contents(), eventLines(events), got, want)
				}
				if err != nil {
					refused++
					if s.Snapshot() != before || commits != 0 {
						t.Fatalf("a refused batch made a commit: %s", eventLines(events))
					}
					continue
				}
				accepted++
				if changed := next.index != tw.index; (commits == 1) != changed || (s.Snapshot() != before) != changed {
					t.Fatalf("after\n%s\nthe events\n%s\nmade %d commits; does the twin change? %v", tw.contents(), eventLines(events), commits, changed)
				}
				tw = next
				checkChanges(t, beforeTwin, tw, changes)
				checkSnapshot(t, tw, s.Snapshot())
				if t.Failed() {
					t.Fatalf("after the events\n%s", eventLines(events))
				}
				if d.one(10) {
					old = append(old, kept{s.Snapshot(), dump(s.Snapshot())})
				}
			}
			for _, k := range old {
				if got := dump(k.snap); got != k.dump {
					t.Errorf("the snapshot of commit %d has changed since:\n%s\nwas\n%s", k.snap.Index, got, k.dump)
				}
			}
			if accepted < modelRounds/5 || refused < modelRounds/5 {
				t.Errorf("%d batches accepted and %d refused: the draw is too one-sided", accepted, refused)
			}
		})
	}
}

func eventLines(events []Event) string {
	var lines []string
	for _, e := range events {
		switch m, ok := e.Fact.(*Machine); {
		case e.Delete:
			lines = append(lines, fmt.Sprintf("delete %+v", e.Fact.Key()))
		case ok:
			lines = append(lines, "put "+show(m))
		default:
			lines = append(lines, fmt.Sprintf("put %+v", reflect.ValueOf(e.Fact).Elem()))
		}
	}
	return strings.Join(lines, "\n")
}

// faultLines writes down the faults in err, sorted.
func faultLines(err error) string {
	if err == nil {
		return ""
	}
	var lines []string
	for _, f := range err.(Faults) {
		lines = append(lines, fmt.Sprintf("%s | %s | %s", f.Object, f.Field, f.Problem))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// checkChanges compares the Changes of a commit with the twin before and after it.
func checkChanges(t testing.TB, before, after *twin, c *Changes) {
	t.Helper()
	equal(t, "Changes.Index", c.Index, after.index)
	equal(t, "Changes.Len() == 0", c.Len() == 0, before.index == after.index)
	equal(t, "Changes.Geography", c.Geography, !maps.Equal(before.regions, after.regions) || !maps.Equal(before.rtts, after.rtts))
	equal(t, "Changes.Networks", fmt.Sprint(c.Networks), fmt.Sprint(before.touched(after)))

	sides := func(kind string, was, is []string, change func(yield func(b, a string))) {
		var sides [2][]string
		change(func(b, a string) {
			if b == a {
				t.Errorf("Changes has a %s that did not change: %s", kind, b)
			}
			sides[0], sides[1] = appendSome(sides[0], b), appendSome(sides[1], a)
		})
		equal(t, kind+" before", sorted(sides[0]), sorted(without(was, is)))
		equal(t, kind+" after", sorted(sides[1]), sorted(without(is, was)))
	}
	machines := func(tw *twin) (out []string) {
		for _, m := range tw.machines {
			out = append(out, show(m))
		}
		return out
	}
	sides("machine", machines(before), machines(after), func(yield func(b, a string)) {
		for _, ch := range c.Machines {
			b, a := "", ""
			if ch.Before != nil {
				b = show(ch.Before)
			}
			if ch.After != nil {
				a = show(ch.After)
			}
			if b, a := ch.Before, ch.After; b != nil && a != nil && (b.ID != a.ID || b.App != a.App || b.Network != a.Network) {
				t.Errorf("one change has two machines: %s and %s", show(b), show(a))
			}
			yield(b, a)
		}
	})
	showApp := func(a *App) string { return fmt.Sprint(a.Network, a.Name) }
	apps := func(tw *twin) (out []string) {
		for _, a := range tw.apps {
			out = append(out, fmt.Sprint(a.Network, a.Name))
		}
		return out
	}
	sides("app", apps(before), apps(after), func(yield func(b, a string)) {
		for _, ch := range typed[*App](c) {
			yield(opt(ch.Before, showApp), opt(ch.After, showApp))
		}
	})
	peers := func(tw *twin) (out []string) {
		for _, p := range tw.peers {
			out = append(out, showPeer(&p))
		}
		return out
	}
	sides("peer", peers(before), peers(after), func(yield func(b, a string)) {
		for _, ch := range typed[*Peer](c) {
			yield(opt(ch.Before, showPeer), opt(ch.After, showPeer))
		}
	})
	showFlycast := func(f *Flycast) string { return fmt.Sprint(f.Address, f.App, f.Owner) }
	flycast := func(tw *twin) (out []string) {
		for i := range tw.flycast {
			out = append(out, showFlycast(&tw.flycast[i]))
		}
		return out
	}
	sides("flycast", flycast(before), flycast(after), func(yield func(b, a string)) {
		for _, ch := range typed[*Flycast](c) {
			yield(opt(ch.Before, showFlycast), opt(ch.After, showFlycast))
		}
	})
	names := func(tw *twin) (out []string) {
		for n, name := range tw.names {
			out = append(out, fmt.Sprint(n, name))
		}
		return out
	}
	showName := func(n *NetworkName) string { return fmt.Sprint(n.Network, n.Name) }
	sides("name", names(before), names(after), func(yield func(b, a string)) {
		for _, ch := range typed[*NetworkName](c) {
			yield(opt(ch.Before, showName), opt(ch.After, showName))
		}
	})
}

// checkSnapshot calls every method of a snapshot.
func checkSnapshot(t testing.TB, tw *twin, s *Snapshot) {
	t.Helper()
	equal(t, "Index", s.Index, tw.index)

	var want Stats
	known := map[Network]bool{}
	for n := range tw.names {
		known[n] = true
	}
	for _, a := range tw.apps {
		known[a.Network] = true
	}
	for _, p := range tw.peers {
		known[p.Network()] = true
	}
	for _, f := range tw.flycast {
		known[f.Network()] = true
	}
	want.Networks, want.Apps, want.Peers, want.Flycast = len(known), len(tw.apps), len(tw.peers), len(tw.flycast)
	for _, m := range tw.machines {
		if i := slices.Index(States[:], m.State); i >= 0 {
			want.Machines[i]++
		} else {
			want.Machines[len(States)]++
		}
	}
	stats := s.Stats()
	equal(t, "Stats", stats, want)
	equal(t, "Stats.Total", stats.Total(), len(tw.machines))

	var networks []string
	for _, n := range slices.Sorted(maps.Keys(known)) {
		networks = append(networks, fmt.Sprint(NetworkName{n, tw.names[n]}))
	}
	equal(t, "Networks", list(s.Networks(), func(n NetworkName) string { return fmt.Sprint(n) }), strings.Join(networks, "\n"))
	for _, name := range []string{"", "web", "db", "api", "x"} {
		got, ok := s.NetworkByName(name)
		var want Network
		for n, nn := range tw.names {
			if nn == name {
				want = n
			}
		}
		equal(t, "NetworkByName "+name, fmt.Sprint(got, ok), fmt.Sprint(want, want != 0))
	}

	showApp := func(a *App) string { return fmt.Sprint(a.Network, a.Name) }
	wantApps := sortedBy(tw.apps, func(a App) string { return fmt.Sprint(a.Network, a.Name) })
	equal(t, "Apps", list(s.Apps(), showApp), lines(wantApps, func(a App) string { return showApp(&a) }))
	for n := range Network(testNetworks + 2) {
		equal(t, "NetworkIndex", s.NetworkIndex(n), tw.serials[n])
		equal(t, "AppsIn", list(s.AppsIn(n), showApp), lines(keep(wantApps, func(a App) bool { return a.Network == n }), func(a App) string { return showApp(&a) }))
		equalMachines(t, fmt.Sprint("MachinesIn ", n), s.MachinesIn(n), tw.machines, func(m *Machine) bool { return !m.Gone() && m.Network == n })
		peersIn := sortedBy(keep(tw.peers, func(p Peer) bool { return p.Network() == n }), func(p Peer) string { return p.Name })
		equal(t, "PeersIn", list(s.PeersIn(n), showPeer), lines(peersIn, func(p Peer) string { return showPeer(&p) }))
		for _, p := range peersIn {
			equal(t, "Peer", showPeer(s.Peer(n, p.Name)), showPeer(&p))
		}
		equal(t, "Peer", s.Peer(n, "other"), nil)
		in := keep(tw.flycast, func(f Flycast) bool { return f.Network() == n })
		equalFlycast(t, "FlycastIn", s.FlycastIn(n), in)
		for _, name := range []string{"", "web", "db", "api", "other"} {
			equal(t, "App", s.App(n, name) != nil, tw.hasApp(n, name))
		}
	}
	equalFlycast(t, "Flycast", s.Flycast(), tw.flycast)
	peers := sortedBy(sortedBy(tw.peers, func(p Peer) string { return p.Name }), func(p Peer) Network { return p.Network() })
	equal(t, "Peers", list(s.Peers(), showPeer), lines(peers, func(p Peer) string { return showPeer(&p) }))

	for a := range s.Apps() {
		mine := func(m *Machine) bool { return m.Network == a.Network && m.App == a.Name }
		live := func(m *Machine) bool { return mine(m) && !m.Gone() }
		equalMachines(t, "Machines", s.Machines(a), tw.machines, mine)
		for _, f := range filters {
			equalMachines(t, fmt.Sprintf("MachinesWhere %+v", f), s.MachinesWhere(a, f), tw.machines, func(m *Machine) bool {
				return live(m) && f.selectsSlow(m)
			})
		}
		equalFlycast(t, "FlycastOf", s.FlycastOf(a), keep(tw.flycast, func(f Flycast) bool { return f.Owner == a.Network && f.App == a.Name }))
	}

	for _, id := range []string{"", "m1", "m2", "m3", "m4", "m5", "m-6", "m", "m11", "m1\x00", "m1\x00\x00\x00\x00\x01"} {
		want := keep(tw.machines, func(m *Machine) bool { return !m.Gone() && m.ID == id })
		equal(t, "Machine "+id, show(s.Machine(id)), show(slices.Concat(want, []*Machine{nil})[0]))
	}
	for n := range Network(testNetworks + 1) {
		for host := range byte(3) {
			for last := range byte(8) {
				addr := n.address([]byte{0, 0, 0, 0, 0, 0, 0, host, 0, last})
				checkAddressIn(t, tw, s, addr)
			}
		}
	}
	for _, addr := range []netip.Addr{{}, netip.MustParseAddr("2001:0:1::5"), netip.MustParseAddr("10.0.0.1")} {
		checkAddressIn(t, tw, s, addr)
	}

	wantRegions := slices.Collect(maps.Values(tw.regions))
	wantRegions = sortedBy(wantRegions, func(r Region) string { return r.Code })
	equal(t, "Regions", list(s.Regions(), func(r *Region) string { return fmt.Sprint(*r) }), lines(wantRegions, func(r Region) string { return fmt.Sprint(r) }))
	wantRTTs := sortedBy(tw.facts().RTTs, func(r RTT) string { return r.From + " " + r.To })
	equal(t, "RTTs", list(s.RTTs(), func(r *RTT) string { return fmt.Sprint(*r) }), lines(wantRTTs, func(r RTT) string { return fmt.Sprint(r) }))
	for _, from := range []string{"", "ams", "fra", "xyz"} {
		for _, to := range []string{"", "ams", "fra", "xyz", "iad"} {
			ms, known := s.Geography().Ping(from, to)
			wantMS, wantKnown := tw.ping(from, to)
			equal(t, "Ping "+from+" "+to, fmt.Sprint(ms, known), fmt.Sprint(wantMS, wantKnown))
		}
	}
}

// filters returns filters by each field, with words that machines of the twin have, and
// some by two or three fields.
var filters = func() (list []Filter) {
	var byRegion, byGroup, byPair []Filter
	for _, region := range []string{"", "ams", "fra", "xyz", "AMS", "am", "ams\x00"} {
		byRegion = append(byRegion, Filter{Regions: []string{region}})
	}
	byRegion = append(byRegion, Filter{Regions: []string{"fra", "ams", "fra"}})
	for _, g := range []string{"", "app", "APP", "b", "b\x00c", "c"} {
		byGroup = append(byGroup, Filter{Groups: []string{g}})
		for _, key := range []string{"", "a", "A", "a\x00b", "fly_process_group", "process_group", "role"} {
			byPair = append(byPair, Filter{Metadata: []Pair{{key, g}}})
		}
	}
	byGroup = append(byGroup, Filter{Groups: []string{"b", "app", "B"}})
	list = slices.Concat([]Filter{{}}, byRegion, byGroup, byPair)
	for i, p := range byPair { // not all combinations, but each word in one
		r, g := byRegion[i%len(byRegion)], byGroup[i%len(byGroup)]
		list = append(list,
			Filter{Regions: r.Regions, Groups: g.Groups},
			Filter{Regions: r.Regions, Metadata: p.Metadata},
			Filter{Groups: g.Groups, Metadata: slices.Concat(p.Metadata, byPair[i*5%len(byPair)].Metadata)},
			Filter{Regions: r.Regions, Groups: g.Groups, Metadata: p.Metadata})
	}
	return list
}()

// selectsSlow is the slow twin of MachinesWhere, for a machine that is not gone.
func (f *Filter) selectsSlow(m *Machine) bool {
	region, group := len(f.Regions) == 0, len(f.Groups) == 0
	for _, r := range f.Regions {
		region = region || r == m.Region
	}
	for _, g := range f.Groups {
		group = group || g != "" && strings.EqualFold(g, m.Group())
	}
	for _, p := range f.Metadata {
		if !slices.Contains(m.Metadata, p) {
			return false
		}
	}
	return region && group
}

// ping is Geography.Ping of a new registry with the facts of the twin.
func (t *twin) ping(from, to string) (uint32, bool) {
	f := t.facts()
	return newGeography(f.Regions, f.RTTs).Ping(from, to)
}

func checkAddressIn(t testing.TB, tw *twin, s *Snapshot, addr netip.Addr) {
	t.Helper()
	at := keep(tw.machines, func(m *Machine) bool { return !m.Gone() && m.Address == addr })
	equal(t, fmt.Sprint("MachineAt ", addr), show(s.MachineAt(addr)), show(slices.Concat(at, []*Machine{nil})[0]))
	around := netip.PrefixFrom(addr, 112).Masked()
	beside := keep(tw.machines, func(m *Machine) bool { return !m.Gone() && addr.Is6() && around.Contains(m.Address) })
	beside = sortedBy(beside, func(m *Machine) string { return m.Address.StringExpanded() })
	equal(t, fmt.Sprint("MachinesBeside ", addr), list(s.MachinesBeside(addr), show), lines(beside, show))
	var peer, flycast string
	for _, p := range tw.peers {
		if p.Address == addr {
			peer = p.Name
		}
	}
	for _, f := range tw.flycast {
		if f.Address == addr {
			flycast = f.App
		}
	}
	equal(t, fmt.Sprint("PeerAt ", addr), opt(s.PeerAt(addr), func(p *Peer) string { return p.Name }), peer)
	equal(t, fmt.Sprint("FlycastAt ", addr), opt(s.FlycastAt(addr), func(f *Flycast) string { return f.App }), flycast)
}

// equalMachines compares a list, which must be sorted by id, with the machines for which
// keep returns true.
func equalMachines(t testing.TB, what string, got iter.Seq[*Machine], all []*Machine, keepFn func(*Machine) bool) {
	t.Helper()
	ms := slices.Collect(got)
	if !slices.IsSortedFunc(ms, func(a, b *Machine) int { return strings.Compare(a.ID, b.ID) }) {
		t.Errorf("%s is not sorted by id:\n%s", what, lines(ms, show))
	}
	var want []string
	for _, m := range keep(all, keepFn) {
		want = append(want, show(m))
	}
	equal(t, what, sorted(strings.Split(lines(ms, show), "\n")), sorted(append(want, strings.Split("", "\n")[:btoi(len(want) == 0)]...)))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func equalFlycast(t testing.TB, what string, got iter.Seq[*Flycast], want []Flycast) {
	t.Helper()
	want = sortedBy(want, func(f Flycast) string { return f.Address.StringExpanded() })
	equal(t, what, list(got, func(f *Flycast) string { return fmt.Sprint(f.Address, f.App, f.Owner) }),
		lines(want, func(f Flycast) string { return fmt.Sprint(f.Address, f.App, f.Owner) }))
}

// dump returns all that a snapshot holds as text.
func dump(s *Snapshot) string {
	var b strings.Builder
	fmt.Fprintln(&b, s.Index, s.Stats(), s.Geography().Codes())
	for n := range s.Networks() {
		fmt.Fprintln(&b, n, s.NetworkIndex(n.Network))
		fmt.Fprintln(&b, list(s.MachinesIn(n.Network), show))
	}
	for a := range s.Apps() {
		fmt.Fprintln(&b, *a, sorted(strings.Split(list(s.Machines(a), show), "\n")))
		for _, w := range []string{"app", "b", "ams", "fra"} {
			for _, f := range []Filter{{Groups: []string{w}}, {Regions: []string{w}}, {Metadata: []Pair{{"role", w}}}} {
				fmt.Fprintln(&b, list(s.MachinesWhere(a, f), show))
			}
		}
	}
	fmt.Fprintln(&b, list(s.Peers(), showPeer))
	fmt.Fprintln(&b, list(s.Flycast(), func(f *Flycast) string { return fmt.Sprint(*f) }))
	fmt.Fprintln(&b, list(s.Regions(), func(r *Region) string { return fmt.Sprint(*r) }))
	fmt.Fprintln(&b, list(s.RTTs(), func(r *RTT) string { return fmt.Sprint(*r) }))
	return b.String()
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) && !(fmt.Sprint(got) == "<nil>" && want == nil) {
		t.Errorf("%s is\n%v\nwant\n%v", what, got, want)
	}
}

func list[T any](seq iter.Seq[T], show func(T) string) string {
	return lines(slices.Collect(seq), show)
}

func lines[T any](list []T, show func(T) string) string {
	var out []string
	for _, v := range list {
		out = append(out, show(v))
	}
	return strings.Join(out, "\n")
}

func keep[T any](list []T, f func(T) bool) []T {
	var out []T
	for _, v := range list {
		if f(v) {
			out = append(out, v)
		}
	}
	return out
}

func opt[T any](v *T, show func(*T) string) string {
	if v == nil {
		return ""
	}
	return show(v)
}

func sorted(list []string) string { return strings.Join(slices.Sorted(slices.Values(list)), "\n") }

// without returns the elements of a that are not in b.
func without(a, b []string) []string {
	b = slices.Clone(b)
	var out []string
	for _, s := range a {
		if i := slices.Index(b, s); i >= 0 {
			b = slices.Delete(b, i, i+1)
		} else {
			out = append(out, s)
		}
	}
	return out
}

func appendSome(list []string, s string) []string {
	if s != "" {
		list = append(list, s)
	}
	return list
}

// typed returns the changes of one kind, with their types.
func typed[P Fact](c *Changes) (list []struct{ Before, After P }) {
	for ch := range c.All() {
		if _, ok := ch.Fact().(P); ok {
			b, _ := ch.Before.(P)
			a, _ := ch.After.(P)
			list = append(list, struct{ Before, After P }{b, a})
		}
	}
	return list
}
