//go:build linux

package peers

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/bench/harness"
)

// Report writes the figures.
func (s *Scenario) Report(p *harness.Page) {
	s.chart(p, charts[0])
	p.Say("Every server is bound to CPU %d, with one worker, and the generator to CPU %d; both use loopback.\n", s.Plan.ServerCPU, s.Plan.LoadCPU)
	p.Say("In each of %d rounds every server is asked as fast as it answers (%d queries outstanding, %v), and\n", s.Plan.Rounds, s.Plan.Window, s.Plan.Measure)
	p.Say("then at a constant half of that rate (%v), where latency counts from when a query was due.\n", s.Plan.Half)
	p.Say("CPU is user and kernel time of all the server's processes for each answered query; the ratio is to the echo of the same\n")
	p.Say("round. Figures are medians over the rounds; ratios have the least and the greatest behind.\n")
	p.Say("One response in 64 has its answers compared with the facts.\n\n")
	p.Goals(s.goals())
	for i := range s.Series {
		if x := &s.Series[i]; x.Key != keyCosts && x.Key != keyPlain {
			s.series(p, x)
		}
	}
	s.costs(p)
	s.overloadTables(p)
	s.serverTable(p)
	p.Say("- On loopback, the sender of a datagram also carries it through the receiver's side of the kernel. A server pays for its\n  own system calls, and for the whole way of its responses. With a network card it would be shared out otherwise.\n")
	p.Say("- The echo sends responses of the query's size; servers send more octets, and pay for that in their ratio.\n")
	p.Say("- A server that is less than about 97 %% busy at its peak waited for the generator: its queries/s are too low, and its\n  batches smaller than they could be.\n")
	p.Say("- Memory is the proportional set size of all processes, in the round where it was largest.\n")
}

func (s *Scenario) series(p *harness.Page, x *Series) {
	p.Say("### %s\n\n", x.Title)
	switch x.Key {
	case keyHits:
		s.chart(p, charts[1])
		p.Say("Every forwarder was asked for all names before, until none of them reached the upstream.\n")
	case keyMisses:
		p.Say("No name is asked for twice. The upstream is part of the generator and answers in its loop, so that forwarders\npay for what they send and receive, and not for waking another process.\n")
	}
	if x.forwards() {
		p.Say("*Upstream* is how many queries reached it for each answer, in the measured time of all rounds.\n\n")
	}
	type column struct {
		head string
		cell func(peer string) string
	}
	columns := []column{{"server", func(peer string) string { return peer }}}
	if slices.Contains(x.started(), nameEcho) {
		columns = append(columns, column{"CPU, echo = 1", func(peer string) string { return x.toEcho(peer).Ratio() }})
	}
	if slices.ContainsFunc(x.started(), func(peer string) bool { return firstBuild(peer) != "" }) {
		columns = append(columns, column{"CPU, first build = 1", func(peer string) string { return x.ratio(peer, firstBuild(peer)).Ratio() }})
	}
	if x.forwards() {
		columns = append(columns, column{"upstream", x.upstream})
	}
	columns = append(columns,
		column{"CPU/query", func(peer string) string { return harness.Microseconds(x.cpu(peer).Median) }},
		column{"queries/s", func(peer string) string {
			return harness.Count(x.spread(peer, func(m *Measurement) float64 { return m.Peak.QPS() }).Median)
		}},
		column{"busy", func(peer string) string { return harness.Percent(x.spread(peer, (*Measurement).busy).Median, 0) }},
		column{"p50 at half", func(peer string) string {
			return x.spread(peer, func(m *Measurement) float64 { return float64(m.Half.Latency.P50) }).Time()
		}},
		column{"p99 at half", func(peer string) string {
			return x.spread(peer, func(m *Measurement) float64 { return float64(m.Half.Latency.P99) }).Time()
		}},
		column{"lost at peak", func(peer string) string {
			lost, sent := x.sum(peer, func(m *Measurement) uint64 { return m.Peak.Lost }), x.sum(peer, func(m *Measurement) uint64 { return m.Peak.Sent })
			return harness.Percent(float64(lost)/float64(max(1, sent)), 2)
		}},
		column{"memory", func(peer string) string {
			most := x.start(peer).Memory
			for _, m := range x.of(peer) {
				most = max(most, m.Memory)
			}
			return mebibytes(most)
		}},
		column{"loaded in", func(peer string) string { return harness.Time(x.start(peer).Loaded) }},
		column{"wrong/compared", func(peer string) string {
			return fmt.Sprintf("%d/%d", x.sum(peer, func(m *Measurement) uint64 { return m.Peak.Wrong + m.Half.Wrong }),
				x.sum(peer, func(m *Measurement) uint64 { return m.Peak.Compared + m.Half.Compared }))
		}},
	)
	var heads []string
	for _, c := range columns {
		heads = append(heads, c.head)
	}
	var rows [][]string
	for _, peer := range x.started() {
		var row []string
		for _, c := range columns {
			row = append(row, c.cell(peer))
		}
		rows = append(rows, row)
	}
	p.Table(strings.Join(heads, " | "), rows)
	x.failures(p)
}

// start returns how the peer was started.
func (s *Series) start(peer string) Started {
	for _, st := range s.Started {
		if st.Peer == peer {
			return st
		}
	}
	return Started{}
}

// upstream returns the queries that reached the upstream for each answer.
func (s *Series) upstream(peer string) string {
	upstream, received := s.sum(peer, func(m *Measurement) uint64 { return m.Upstream }), s.sum(peer, func(m *Measurement) uint64 { return m.Peak.Received })
	switch {
	case peer == nameEcho:
		return harness.None
	case upstream == 0: // tells none from few
		return "0"
	}
	return fmt.Sprintf("%.3f", float64(upstream)/float64(max(1, received)))
}

// failures names the servers that did not start, those that failed in a round, and
// wrong responses.
func (s *Series) failures(p *harness.Page) {
	if s == nil {
		return
	}
	for _, st := range s.Started {
		if st.Error != "" {
			p.Say("%s did not start: %s\n\n", st.Peer, harness.OneLine(st.Error))
		}
	}
	for _, peer := range s.started() {
		failed, wrong, reason := 0, "", ""
		for i := range s.Rounds {
			m := &s.Rounds[i]
			if m.Peer != peer {
				continue
			}
			if m.Error != "" {
				failed, reason = failed+1, m.Error
			}
			if wrong == "" && len(m.Peak.Wrongs) > 0 {
				wrong = m.Peak.Wrongs[0]
			}
		}
		if failed > 0 {
			p.Say("%s failed in %d of %d rounds: %s\n\n", peer, failed, failed+len(s.of(peer)), harness.OneLine(reason))
		}
		if wrong != "" {
			p.Say("A wrong response of %s:\n\n```\n%s\n```\n\n", peer, wrong)
		}
	}
}

// costs compares internaldns with itself.
func (s *Scenario) costs(p *harness.Page) {
	x, plain := s.find(keyCosts), s.find(keyPlain)
	base := x.toEcho(nameOurs).Median
	var rows [][]string
	line := func(name string, x *Series, peer string) {
		if len(x.of(peer)) == 0 {
			return
		}
		change := harness.None
		if d := x.toEcho(peer).Median/base - 1; !math.IsNaN(d) && d != 0 {
			change = fmt.Sprintf("%+.1f %%", 100*d)
		}
		rows = append(rows, []string{name, x.toEcho(peer).Ratio(), harness.Microseconds(x.cpu(peer).Median), change})
	}
	line("one address, EDNS", x, nameOurs)
	line("an echo that returns 300 octets, about what a response has", x, nameSized)
	line("all addresses (`[::]`), packet info", x, nameWildcard)
	line("metrics listener on", x, nameMetrics)
	line("queries without EDNS, to an echo of those", plain, nameOurs)
	if x != nil || plain != nil {
		p.Say("### What features cost\n\ninternaldns with %s machines, each line with one thing changed. Isolation cannot be turned off: every query finds the\nview of its network, and the cost is in every line.\n\n", harness.Count(s.Plan.Sets[0]))
		p.Table(" | CPU, echo = 1 | CPU/query | change", rows)
	}
	x.failures(p)
	plain.failures(p)
}

func (s *Scenario) overloadTables(p *harness.Page) {
	if len(s.Overload) == 0 {
		return
	}
	p.Say("### Overload\n\nGoodput is right answers within 100 ms. *Flood*: queries as fast as the generator can send, whatever comes back.\n")
	p.Say("*Quota*: the server is held to a tenth of a CPU, and is sent ten times what it answers with that. The share is of what\nthe same server answered just before, in the closed loop and with the same CPU; medians of several rounds.\n\n")
	for _, kind := range []string{kindFlood, kindQuota} {
		var rows [][]string
		peers, rounds, failed := s.overloads(kind)
		for _, peer := range peers {
			if failed[peer] != "" {
				rows = append(rows, []string{peer, harness.OneLine(failed[peer]), "", "", "", "", "", ""})
				continue
			}
			spread := func(figure func(*Overload) float64) harness.Spread { return spreadOf(rounds[peer], figure) }
			first, last := rounds[peer][0], rounds[peer][len(rounds[peer])-1]
			goroutines := harness.None
			if first.Goroutines[0] >= 0 && last.Goroutines[1] >= 0 {
				goroutines = fmt.Sprintf("%d → %d", first.Goroutines[0], last.Goroutines[1])
			}
			share := spread((*Overload).share)
			rows = append(rows, []string{
				peer,
				harness.Count(spread(func(o *Overload) float64 { return o.Capacity.QPS() }).Median),
				harness.Count(spread(func(o *Overload) float64 { return o.Load.SentQPS() }).Median),
				harness.Count(spread(func(o *Overload) float64 { return o.Load.Goodput() }).Median),
				fmt.Sprintf("**%s** (%s–%s)", harness.Percent(share.Median, 1), harness.Percent(share.Min, 1), harness.Percent(share.Max, 1)),
				spread(func(o *Overload) float64 { return float64(o.Load.Latency.P99) }).Time(),
				mebibytes(first.Memory[0]) + " → " + mebibytes(last.Memory[1]), goroutines,
			})
		}
		p.Table(kind+" | before/s | sent/s | goodput/s | share | p99 | memory | goroutines", rows)
	}
}

func (s *Scenario) serverTable(p *harness.Page) {
	commands := map[string]string{}
	for _, x := range s.Series {
		for _, st := range x.Started {
			if st.Command != "" && commands[st.Peer] == "" {
				commands[st.Peer] = "`" + st.Command + "`"
			}
		}
	}
	p.Say("### Servers\n\n| server | version | command |\n|---|---|---|\n")
	for _, x := range s.Servers {
		version := x.Version
		if x.Missing != "" {
			version = fmt.Sprintf("**missing**: %s (%s)", harness.OneLine(x.Missing), x.Get)
		}
		p.Say("| %s | %s | %s |\n", x.Name, version, commands[x.Name])
	}
	p.Say("\nConfigurations are in `bench/peers/templates/`. All servers but internaldns and forwarders answer from a master file of the same names.\n\n")
}

// goals returns the goals that there are figures for.
func (s *Scenario) goals() (goals []harness.Goal) {
	ratio := func(what, key, peer string, most float64) {
		if got := s.find(key).toEcho(peer).Median; !math.IsNaN(got) {
			goals = append(goals, harness.Goal{What: what, Wanted: fmt.Sprintf("≤ %.2f", most), Got: fmt.Sprintf("%.2f", got), Reached: math.Round(got*100) <= math.Round(most*100)})
		}
	}
	// less compares CPU per query with that of another server.
	less := func(what, than, key, ours, other string) {
		x := s.find(key)
		if got, wanted := x.cpu(ours).Median, x.cpu(other).Median; !math.IsNaN(got + wanted) {
			goals = append(goals, harness.Goal{
				What: fmt.Sprintf("%s: CPU/query, to %s", what, other), Wanted: than + " " + harness.Microseconds(wanted), Got: harness.Microseconds(got),
				Reached: got < wanted || than == "≤" && got == wanted,
			})
		}
	}
	ratio("local answers, 2,000 machines", "udp-2000", nameOurs, 1.20)
	ratio("the same, goal", "udp-2000", nameOurs, 1.12)
	ratio("100,000 machines", "udp-100000", nameOurs, 1.25)
	ratio("1,000,000 machines", "udp-1000000", nameOurs, 1.35)
	ratio("`[::]` listener with packet info", keyCosts, nameWildcard, 1.30)
	for _, key := range []string{"tcp", "tcp-once"} {
		x := s.find(key)
		for _, peer := range x.started() {
			if !strings.HasPrefix(peer, nameOurs) {
				less(x.Title, "<", key, nameOurs, peer)
			}
		}
	}
	ratio("forwarding: hits", keyHits, nameForward, 1.30)
	ratio("the same, goal", keyHits, nameForward, 1.20)
	if x, cheapest := s.find(keyMisses), ""; x != nil {
		for _, peer := range x.started() {
			if peer != nameEcho && !strings.HasPrefix(peer, nameOurs) && (cheapest == "" || x.cpu(peer).Median < x.cpu(cheapest).Median) {
				cheapest = peer
			}
		}
		less("forwarding: misses", "≤", keyMisses, nameForward, cheapest)
	}
	for _, x := range [][2]string{{kindFlood, "goodput in a flood, of the peak"}, {kindQuota, "goodput at 10 × with a tenth of a CPU"}} {
		_, rounds, failed := s.overloads(x[0])
		for _, peer := range []string{nameOurs, nameMetrics} {
			if len(rounds[peer]) > 0 && failed[peer] == "" {
				share := spreadOf(rounds[peer], (*Overload).share).Median
				goals = append(goals, harness.Goal{What: x[1], Wanted: "≥ 95 %", Got: harness.Percent(share, 1), Reached: share >= 0.95})
			}
		}
	}
	return goals
}

func mebibytes(octets uint64) string { return fmt.Sprintf("%d MiB", (octets+1<<19)>>20) }
