//go:build linux

package peers

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// WriteReport writes the record as RESULTS.md. It says nothing that is not in
// the record, and computes every figure from the raw ones there.
func (r *Record) WriteReport(w io.Writer) error {
	p := &page{}
	p.head(r)
	p.goals(r)
	for i := range r.Series {
		p.series(&r.Series[i])
	}
	p.costs(r)
	p.overload(r)
	if r.Scale != nil {
		if err := r.Scale.WriteMarkdown(p); err != nil {
			return err
		}
	}
	if r.Keep != nil {
		if err := r.Keep.WriteMarkdown(p); err != nil {
			return err
		}
	}
	if r.Hang != nil {
		if err := r.Hang.WriteMarkdown(p); err != nil {
			return err
		}
	}
	p.servers(r)
	p.notes(r)
	_, err := io.WriteString(w, p.String())
	return err
}

// page is a Markdown page in the making.
type page struct{ strings.Builder }

func (p *page) say(format string, args ...any) { fmt.Fprintf(p, format, args...) }

// table writes a table; columns after the first are figures, to the right.
func (p *page) table(head []string, rows [][]string) {
	p.say("| %s |\n|---|%s\n", strings.Join(head, " | "), strings.Repeat("---:|", len(head)-1))
	for _, row := range rows {
		p.say("| %s |\n", strings.Join(row, " | "))
	}
	p.say("\n")
}

func (p *page) head(r *Record) {
	p.say("# Results\n\nWritten by `bench/cmd/peers` from the figures in `bench/results/`; do not edit.\n\n")
	p.say("![CPU time of an answered query, as a multiple of an echo's](results.svg)\n\n")
	rows := [][]string{
		{"date", r.Date.UTC().Format("2006-01-02 15:04") + " UTC, " + r.Took.Round(time.Second).String()},
		{"machine", fmt.Sprintf("%s, %d CPUs, %d GiB", r.Host.CPU, r.Host.Cores, (r.Host.Memory+1<<29)>>30)},
		{"system", r.Host.System + ", " + r.Host.Kernel + ", " + r.Host.Go},
	}
	if r.Commit != "" {
		rows = append(rows, []string{"commit", r.Commit})
	}
	for line := range strings.Lines(r.Command) {
		rows = append(rows, []string{"command", "`" + strings.TrimSpace(line) + "`"})
	}
	p.say("| | |\n|---|---|\n")
	for _, row := range rows {
		p.say("| %s |\n", strings.Join(row, " | "))
	}
	p.say("\nEvery server is held to CPU %d, with one worker, and the generator to CPU %d; both speak over loopback.\n", r.Plan.ServerCPU, r.Plan.LoadCPU)
	p.say("In each of %d rounds every server is asked as fast as it answers (%d queries outstanding, %v), and\n", r.Plan.Rounds, r.Plan.Window, r.Plan.Measure)
	p.say("then at a constant half of that rate (%v), where latency counts from when a query was due.\n", r.Plan.Half)
	p.say("CPU is user and kernel time of all the server's processes for each answered query; the ratio is to the echo of the same\n")
	p.say("round. Figures are medians over the rounds; ratios have the least and the greatest behind.\n")
	p.say("One response in 64 has its answers compared with what the facts say.\n\n")
}

func (p *page) series(s *Series) {
	if s.Key == "costs" || s.Key == "no-edns" {
		return // see costs
	}
	p.say("## %s\n\n", s.Title)
	rows := s.rows()
	hasEcho := false
	for _, row := range rows {
		hasEcho = hasEcho || row.Peer == nameEcho
	}
	if s.forwards() {
		p.forwarding(s, hasEcho)
	}
	head := []string{"server"}
	if hasEcho {
		head = append(head, "CPU, echo = 1")
	}
	if s.forwards() {
		head = append(head, "upstream")
	}
	head = append(head, "CPU/query", "queries/s", "busy", "p50 at half", "p99 at half", "lost at peak", "memory", "loaded in", "wrong/compared")
	var cells [][]string
	for _, row := range rows {
		c := []string{row.Peer}
		if hasEcho {
			c = append(c, ratioCell(row.Ratio))
		}
		if s.forwards() {
			c = append(c, upstreamCell(&row))
		}
		c = append(c,
			microseconds(row.CPUPerQuery.Median), count(row.QPS.Median), percent(row.Busy, 0), short(row.P50), short(row.P99),
			percent(row.PeakLoss, 2), mebibytes(row.Memory), short(row.Loaded), fmt.Sprintf("%d/%d", row.Wrong, row.Compared))
		cells = append(cells, c)
	}
	p.table(head, cells)
	p.unstarted(s)
	for _, row := range rows {
		if len(row.Errors) > 0 {
			p.say("%s failed in %d of %d rounds: %s\n\n", row.Peer, len(row.Errors), len(row.Errors)+row.Rounds, oneLine(row.Errors[0]))
		}
		if len(row.Wrongs) > 0 {
			p.say("A wrong response of %s:\n\n```\n%s\n```\n\n", row.Peer, row.Wrongs[0])
		}
	}
}

// forwarding says what the forwarders of the series were asked.
func (p *page) forwarding(s *Series, drawn bool) {
	if s.Key == keyHits {
		if drawn {
			p.say("![CPU time of a forwarded name, as a multiple of an echo's](forward.svg)\n\n")
		}
		p.say("Every forwarder was asked for all names before, until none of them reached the upstream any more.\n")
	} else {
		p.say("No name is asked for twice. The upstream is part of the generator, which answers in the turns of its own loop: forwarders\npay for what they send and receive, and for waking nobody.\n")
	}
	p.say("*Upstream* is how many queries came to it for each answer, in the measured time of all rounds.\n\n")
}

// upstreamCell tells none from few.
func upstreamCell(row *Row) string {
	switch {
	case row.Peer == nameEcho:
		return "–"
	case row.Upstream == 0:
		return "0"
	}
	return fmt.Sprintf("%.3f", row.Upstream)
}

// unstarted names the servers that the series is without.
func (p *page) unstarted(s *Series) {
	if s == nil {
		return
	}
	for _, st := range s.Started {
		if st.Error != "" {
			p.say("%s did not start: %s\n\n", st.Peer, oneLine(st.Error))
		}
	}
}

// costs compares internaldns with itself.
func (p *page) costs(r *Record) {
	s, plain := r.find("costs"), r.find("no-edns")
	if s == nil && plain == nil {
		return
	}
	p.say("## What features cost\n\n")
	p.say("internaldns with %s machines, each line with one thing changed. Isolation has no switch: every query finds its\nnetwork's view, and what that takes is in every line.\n\n", thousands(machinesOf(s, plain)))
	var cells [][]string
	base := math.NaN()
	line := func(name string, row *Row) {
		if row == nil {
			return
		}
		change := "–"
		if d := row.Ratio.Median/base - 1; !math.IsNaN(d) && d != 0 {
			change = fmt.Sprintf("%+.1f %%", 100*d)
		}
		cells = append(cells, []string{name, ratioCell(row.Ratio), microseconds(row.CPUPerQuery.Median), change})
	}
	if row := s.row1(nameOurs); row != nil {
		base = row.Ratio.Median
		line("one address, EDNS", row)
	}
	line("an echo that returns 300 octets, about what a response has", s.row1(nameSized))
	line("all addresses (`[::]`), packet info", s.row1(nameWildcard))
	line("metrics listener on", s.row1(nameMetrics))
	line("queries without EDNS, against an echo of those", plain.row1(nameOurs))
	p.table([]string{"", "CPU, echo = 1", "CPU/query", "change"}, cells)
	p.unstarted(s)
	p.unstarted(plain)
}

func machinesOf(all ...*Series) int {
	for _, s := range all {
		if s != nil {
			return s.Machines
		}
	}
	return 0
}

func (p *page) overload(r *Record) {
	if len(r.Overload) == 0 {
		return
	}
	p.say("## Overload\n\n")
	p.say("Goodput is right answers within 100 ms. *Flood*: queries as fast as the generator can send, whatever comes back.\n")
	p.say("*Quota*: the server is held to a tenth of a CPU, and is sent ten times what it answers with that. The share is of what\nthe same server answered just before, in the closed loop and with the same CPU; medians of several rounds.\n\n")
	for _, kind := range []string{kindFlood, kindQuota} {
		var cells [][]string
		for _, row := range r.overloadRows(kind) {
			if row.Error != "" {
				cells = append(cells, []string{row.Peer, oneLine(row.Error), "", "", "", "", "", ""})
				continue
			}
			goroutines := "–"
			if row.GoroutinesBefore >= 0 && row.GoroutinesEnd >= 0 {
				goroutines = fmt.Sprintf("%d → %d", row.GoroutinesBefore, row.GoroutinesEnd)
			}
			cells = append(cells, []string{
				row.Peer, count(row.Capacity.Median), count(row.Sent.Median), count(row.Goodput.Median),
				fmt.Sprintf("**%s** (%s–%s)", percent(row.Share.Median, 1), percent(row.Share.Min, 1), percent(row.Share.Max, 1)),
				short(row.P99), mebibytes(row.MemoryBefore) + " → " + mebibytes(row.MemoryAfter), goroutines,
			})
		}
		if len(cells) > 0 {
			p.table([]string{kind, "before/s", "sent/s", "goodput/s", "share", "p99", "memory", "goroutines"}, cells)
		}
	}
}

func (p *page) servers(r *Record) {
	p.say("## Servers\n\n| server | version | command |\n|---|---|---|\n")
	commands := map[string]string{}
	for _, s := range r.Series {
		for _, st := range s.Started {
			if st.Command != "" && commands[st.Peer] == "" {
				commands[st.Peer] = "`" + st.Command + "`"
			}
		}
	}
	for _, s := range r.Servers {
		version := s.Version
		if s.Missing != "" {
			version = fmt.Sprintf("**missing**: %s (%s)", oneLine(s.Missing), s.Get)
		}
		p.say("| %s | %s | %s |\n", s.Name, version, commands[s.Name])
	}
	p.say("\nConfigurations are `bench/peers/templates/`. All servers but internaldns and forwarders answer from a master file of the same names.\n\n")
}

func (p *page) notes(r *Record) {
	p.say("## To be kept in mind\n\n")
	p.say("- On loopback, the sender of a datagram also carries it through the receiver's side of the kernel: what a server pays for is\n  its own system calls, and the whole way of its responses. A network card would share that out otherwise.\n")
	p.say("- The echo sends responses of the query's size; servers send more octets, and pay for that in their ratio.\n")
	p.say("- A server that is less than about 97 %% busy at its peak waited for the generator: its queries/s are too low, and its\n  batches smaller than they could be.\n")
	p.say("- Memory is the proportional set size of all processes, in the round where it was largest.\n")
	said := map[string]bool{"": true}
	for _, n := range r.Notes {
		if said[n] {
			continue // runs that were merged can have notes in common
		}
		said[n] = true
		p.say("- %s\n", oneLine(n))
	}
}

// find returns the series with that key, or nil.
func (r *Record) find(key string) *Series {
	for i := range r.Series {
		if r.Series[i].Key == key {
			return &r.Series[i]
		}
	}
	return nil
}

// row1 returns the row of one server, or nil.
func (s *Series) row1(peer string) *Row {
	if s == nil {
		return nil
	}
	for _, row := range s.rows() {
		if row.Peer == peer && row.Rounds > 0 {
			return &row
		}
	}
	return nil
}

func ratioCell(s Spread) string {
	if math.IsNaN(s.Median) {
		return "–"
	}
	return fmt.Sprintf("**%.2f** (%.2f–%.2f)", s.Median, s.Min, s.Max)
}

func microseconds(ns float64) string {
	if math.IsNaN(ns) {
		return "–"
	}
	return fmt.Sprintf("%.2f µs", ns/1e3)
}

func count(n float64) string {
	if math.IsNaN(n) {
		return "–"
	}
	return thousands(int(n + 0.5))
}

func percent(share float64, digits int) string {
	if math.IsNaN(share) {
		return "–"
	}
	return fmt.Sprintf("%.*f %%", digits, 100*share)
}

func mebibytes(octets uint64) string { return fmt.Sprintf("%d MiB", (octets+1<<19)>>20) }

// short writes a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d <= 0:
		return "–"
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
