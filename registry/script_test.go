package registry

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// script returns the events in a text, one a line. A minus sign before an object deletes
// it. A network is written as its number, a machine as network/app/id.
//
//	app 1/web
//	machine 1/web/m1 ams fdaa:0:1::5 started [skip] [key=value]… [raw:text]
//	peer 1/laptop fdaa:0:1::a:102 [region]
//	flycast fdaa:0:1::9 1/web
//	network 1 acme
//	region here 1.5 2.5
//	rtt here ams 12
func script(t testing.TB, text string) []Event {
	t.Helper()
	var events []Event
	for line := range strings.Lines(text) {
		if w := strings.Fields(line); len(w) > 0 {
			events = append(events, scriptEvent(t, w))
		}
	}
	return events
}

func scriptEvent(t testing.TB, w []string) Event {
	t.Helper()
	number := func(s string) Network {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatalf("%v: %v", w, err)
		}
		return Network(n)
	}
	key := strings.Split(w[1], "/")
	arg := func(i int) string {
		if i < len(w) {
			return w[i]
		}
		return ""
	}
	switch w[0] {
	case "app":
		return Put(&App{Network: number(key[0]), Name: key[1]})
	case "-app":
		return Delete(Key{Kind: KindApp, Network: number(key[0]), Name: key[1]})
	case "machine":
		m := &Machine{Network: number(key[0]), App: key[1], ID: key[2], Region: w[2], State: w[4]}
		m.Address, _ = netip.ParseAddr(w[3])
		for _, s := range w[5:] {
			if k, v, ok := strings.Cut(s, "="); ok {
				m.Metadata = append(m.Metadata, Pair{k, v})
			} else if raw, ok := strings.CutPrefix(s, "raw:"); ok {
				m.Raw = NewRaw([]byte(raw))
			} else if s == "skip" {
				m.Skip = true
			} else {
				t.Fatalf("%v: %q is unknown", w, s)
			}
		}
		return Put(m)
	case "-machine":
		return Delete(Key{Kind: KindMachine, Network: number(key[0]), Name: key[1], ID: key[2]})
	case "peer":
		return Put(&Peer{Name: key[1], Address: netip.MustParseAddr(w[2]), Region: arg(3)})
	case "-peer":
		return Delete(Key{Kind: KindPeer, Network: number(key[0]), Name: key[1]})
	case "flycast":
		owner := strings.Split(w[2], "/")
		return Put(&Flycast{Address: netip.MustParseAddr(w[1]), App: owner[1], Owner: number(owner[0])})
	case "-flycast":
		return Delete(Key{Kind: KindFlycast, Address: netip.MustParseAddr(w[1])})
	case "network":
		return Put(&NetworkName{number(w[1]), arg(2)})
	case "-network":
		return Delete(Key{Kind: KindNetwork, Network: number(w[1])})
	case "region":
		lat, _ := strconv.ParseFloat(w[2], 64)
		lon, _ := strconv.ParseFloat(w[3], 64)
		return Put(&Region{Code: w[1], Latitude: lat, Longitude: lon})
	case "-region":
		return Delete(Key{Kind: KindRegion, Name: w[1]})
	case "rtt":
		ms, _ := strconv.ParseUint(w[3], 10, 32)
		return Put(&RTT{w[1], w[2], uint32(ms)})
	case "-rtt":
		return Delete(Key{Kind: KindRTT, Name: w[1], ID: w[2]})
	}
	t.Fatalf("no such event: %v", w)
	return Event{}
}

// outcome returns what Apply returned as sorted lines: changes as before -> after, or
// faults.
func outcome(c *Changes, err error) string {
	var lines []string
	if err != nil {
		for _, f := range err.(Faults) {
			lines = append(lines, "fault "+f.Error())
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	if c.Len() == 0 {
		return fmt.Sprintf("no commit since %d", c.Index)
	}
	for _, ch := range typed[*NetworkName](c) {
		name := func(n *NetworkName) string { return n.Name }
		lines = append(lines, change("network", ch, func(n *NetworkName) string { return fmt.Sprint(uint32(n.Network)) }, name))
	}
	for _, ch := range typed[*App](c) {
		there := func(*App) string { return "there" }
		lines = append(lines, change("app", ch, func(a *App) string { return fmt.Sprintf("%d/%s", a.Network, a.Name) }, there))
	}
	for _, ch := range typed[*Machine](c) {
		lines = append(lines, change("machine", ch,
			func(m *Machine) string { return fmt.Sprintf("%d/%s/%s", m.Network, m.App, m.ID) },
			func(m *Machine) string { return fmt.Sprintf("%s %v %s", m.Region, m.Address, m.State) }))
	}
	for _, ch := range typed[*Peer](c) {
		lines = append(lines, change("peer", ch,
			func(p *Peer) string { return fmt.Sprintf("%d/%s", p.Network(), p.Name) },
			func(p *Peer) string { return strings.TrimSpace(fmt.Sprint(p.Address, " ", p.Region)) }))
	}
	for _, ch := range typed[*Flycast](c) {
		lines = append(lines, change("flycast", ch,
			func(f *Flycast) string { return f.Address.String() },
			func(f *Flycast) string { return fmt.Sprintf("%d/%s", f.Owner, f.App) }))
	}
	slices.Sort(lines)
	var networks []string
	for _, n := range c.Networks {
		networks = append(networks, fmt.Sprint(uint32(n)))
	}
	if c.Geography {
		lines = append(lines, "geography")
	}
	if networks != nil {
		lines = append(lines, "in networks "+strings.Join(networks, " "))
	}
	return strings.Join(lines, "\n")
}

func change[T any](kind string, c struct{ Before, After *T }, key, value func(*T) string) string {
	side := func(v *T) string {
		if v == nil {
			return "none"
		}
		return value(v)
	}
	return fmt.Sprintf("%s %s: %s -> %s", kind, key(cmp.Or(c.After, c.Before)), side(c.Before), side(c.After))
}

// trimmed returns a text without its indentation and empty lines.
func trimmed(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
