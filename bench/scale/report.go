//go:build linux

package scale

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/internaldns/internaldns/bench/harness"
)

// Report writes the figures.
func (s *Scenario) Report(p *harness.Page) {
	p.Say("The parts of internaldns in one process.\n\n")
	p.Goals(s.goals())
	table := func(title, text, head string, rows [][]string) {
		if len(rows) > 0 {
			p.Say("### %s\n\n%s\n\n", title, text)
			p.Table(head, rows)
		}
	}
	table("Loading",
		"From a registry file to answers. *Heap* and *resident* are what a machine adds to an empty registry once memory has settled;\n"+
			"*gaps* is the room between objects; *peak* is the most that was resident meanwhile.",
		"machines | apps | file | read | difference | apply | compile | all | CPU | heap/machine | resident/machine | resident | of it gaps | peak", s.loads())
	table("One machine among many",
		"From the call of `Apply` until a lookup in the publisher's table has shown the change, one update after another. CPU is the\nwhole process's for each update, collections included.",
		"machines | update | median | p99 | longest | shortest | CPU | allocated | objects | count | collections", s.updates())
	table("Most updates a second", "Changes of state, that many in each `Apply`, on the largest registry.",
		"in one Apply | updates/s | for each | CPU for each | allocated for each", s.batches())
	table("Queries while facts change", s.roundsText(),
		"GOGC | p99, idle | p99, changing | ratio | quietest | updates/s | in a commit | shown, p99 | lost | collections | pause, median | longest | CPU | peak", s.rounds())
	table("One large app",
		"Single updates of one app's machines in a row, each looked up. The ratio of the last to the first shows whether an app's size or its history costs.",
		"machines | update | count | all | for each | first | last | last to first | allocated", s.apps())
	table("Deletion",
		"Nine of ten machines, in all apps, deleted with a smaller file; then everything. *Fresh* is the heap of a registry that never had more than is left.",
		"machines | left | took | heap held | after | fresh | above empty | resident held | after", s.deletions())
}

// The figures to reach.
const (
	mostPerMachine = 6 << 10 // octets, everything included
	mostForUpdate  = 300 * time.Microsecond
	leastUpdates   = 5000 // a second
	mostSlower     = 1.5  // p99 of queries while facts change, to that of an idle registry
)

func (s *Scenario) goals() (goals []harness.Goal) {
	add := func(reached bool, wanted, got, what string, args ...any) {
		goals = append(goals, harness.Goal{What: fmt.Sprintf(what, args...), Wanted: wanted, Got: got, Reached: reached})
	}
	if n := len(s.Loads); n > 0 {
		got := max(0, s.Loads[n-1].PerMachine(), s.Loads[n-1].ResidentPerMachine())
		add(got <= mostPerMachine, "≤ "+harness.Octets(mostPerMachine), harness.Octets(uint64(got)), "resident memory for a machine, everything included")
	}
	for _, u := range s.Updates[max(0, len(s.Updates)-2):] { // of the largest registry
		add(u.P50 <= mostForUpdate, "≤ "+harness.Time(mostForUpdate), harness.Time(u.P50), "one update of %s, from Apply to visible, median", u.What)
	}
	if len(s.Batches) > 0 {
		best := slices.MaxFunc(s.Batches, func(a, b Batches) int { return cmp.Compare(a.PerSecond(), b.PerSecond()) })
		add(best.PerSecond() >= leastUpdates, "≥ "+harness.Count(leastUpdates), harness.Count(best.PerSecond()), "updates a second, at the most")
	}
	for _, x := range s.summaries() {
		// The median depends on other programs that disturb rounds; the quietest
		// rounds must reach the goal too.
		add(max(x.ratio, x.quiet) <= mostSlower, fmt.Sprintf("≤ %.1f", mostSlower), fmt.Sprintf("%.2f, quietest %.2f", x.ratio, x.quiet),
			"p99 of queries at %s updates a second, to that of an idle registry, GOGC %s", harness.Count(s.Plan.Rate), x.name)
	}
	return goals
}

func (s *Scenario) loads() (rows [][]string) {
	for i := range s.Loads {
		l := &s.Loads[i]
		rows = append(rows, []string{
			harness.Count(l.Machines), harness.Count(l.Apps), harness.Octets(l.File), harness.Time(l.Parse), harness.Time(l.Diff), harness.Time(l.Apply), harness.Time(l.Compile),
			harness.Time(l.Total()), harness.Time(l.Usage.CPU), fmt.Sprintf("%.0f B", l.PerMachine()), fmt.Sprintf("%.0f B", l.ResidentPerMachine()),
			harness.Octets(l.After.Resident), harness.Octets(l.After.Gaps), harness.Octets(l.After.Peak),
		})
	}
	return rows
}

// each returns the time for one of n.
func each(d time.Duration, n int) string { return harness.Time(d / time.Duration(max(1, n))) }

// allocated returns the octets for one of n.
func allocated(octets uint64, n int) string {
	return fmt.Sprintf("%.1f kB", float64(octets)/1000/float64(max(1, n)))
}

func (s *Scenario) updates() (rows [][]string) {
	for _, u := range s.Updates {
		rows = append(rows, []string{
			harness.Count(u.Machines), u.What, "**" + harness.Time(u.P50) + "**", harness.Time(u.P99), harness.Time(u.Max), harness.Time(u.Min),
			each(u.Usage.CPU, u.Count), allocated(u.Usage.Octets, u.Count), fmt.Sprintf("%.0f", float64(u.Usage.Objects)/float64(u.Count)), harness.Count(u.Count), fmt.Sprint(u.Usage.Cycles),
		})
	}
	return rows
}

func (s *Scenario) batches() (rows [][]string) {
	for i := range s.Batches {
		b := &s.Batches[i]
		rows = append(rows, []string{
			harness.Count(b.Size), "**" + harness.Count(b.PerSecond()) + "**", each(b.Usage.Elapsed, b.Updates), each(b.Usage.CPU, b.Updates), allocated(b.Usage.Octets, b.Updates),
		})
	}
	return rows
}

func (s *Scenario) apps() (rows [][]string) {
	for _, u := range s.Apps {
		rows = append(rows, []string{
			harness.Count(u.Machines), u.What, harness.Count(u.Count), harness.Time(u.Usage.Elapsed), each(u.Usage.Elapsed, u.Count),
			fmt.Sprintf("%s (%s)", harness.Time(u.First), harness.Count(u.Window)), harness.Time(u.Last), fmt.Sprintf("**%.2f**", float64(u.Last)/float64(max(1, u.First))),
			allocated(u.Usage.Octets, u.Count),
		})
	}
	return rows
}

func (s *Scenario) deletions() (rows [][]string) {
	for _, d := range s.Deletions {
		fresh := harness.None
		if d.Fresh > 0 {
			fresh = harness.Octets(d.Fresh)
		}
		rows = append(rows, []string{
			harness.Count(d.Before), harness.Count(d.Left), harness.Time(d.Took), harness.Octets(d.Held.Heap), harness.Octets(d.After.Heap), fresh,
			harness.Octets(d.After.Heap - min(d.After.Heap, d.Empty)), harness.Octets(d.Held.Resident), harness.Octets(d.After.Resident),
		})
	}
	return rows
}

// A summary is all rounds of one setting of the collector in one state.
type summary struct {
	name   string
	rounds []*Round
	// idle and p99 are medians of the rounds' p99.
	idle, p99 time.Duration
	// ratio is the median of the ratios of each round to the idle one before it;
	// for a lasting round, to the median of all idle ones. quiet is the ratio of the
	// best round to the best idle one of any setting: what is left if other programs
	// disturb most rounds.
	ratio, quiet float64
}

// summaries returns the summaries that have rounds, in the order of the plan.
func (s *Scenario) summaries() (all []summary) {
	best := math.Inf(1)
	for i := range s.Rounds {
		if r := &s.Rounds[i]; r.State == idle {
			best = min(best, float64(r.P99()))
		}
	}
	for _, gc := range s.Plan.GC {
		for _, state := range []string{changing, lasting, collecting} {
			x := summary{name: gc}
			var idles, p99s []time.Duration
			var ratios []float64
			for i := range s.Rounds {
				r := &s.Rounds[i]
				switch {
				case r.GC != gc:
				case r.State == idle:
					idles = append(idles, r.P99())
				case r.State == state:
					x.rounds = append(x.rounds, r)
					p99s = append(p99s, r.P99())
					ratios = append(ratios, float64(r.P99())/float64(idles[len(idles)-1]))
				}
			}
			if len(x.rounds) == 0 {
				continue
			}
			x.idle, x.p99 = harness.Median(idles), harness.Median(p99s)
			x.ratio, x.quiet = harness.SpreadOf(ratios).Median, float64(slices.Min(p99s))/best
			switch state {
			case collecting:
				x.name += ", collecting"
			case lasting:
				x.name += fmt.Sprintf(", for %.0f s", x.rounds[0].Usage.Elapsed.Seconds())
				x.ratio = float64(x.p99) / float64(x.idle)
			}
			all = append(all, x)
		}
	}
	return all
}

func (s *Scenario) roundsText() string {
	p := &s.Plan
	apart := ""
	if p.ServerCPU >= 0 && p.LoadCPU >= 0 {
		apart = fmt.Sprintf(".\nMeanwhile the process that is measured, with all its threads, is bound to CPU %d, and the generator to CPU %d", p.ServerCPU, p.LoadCPU)
	}
	var timeout time.Duration
	if len(s.Rounds) > 0 {
		timeout = s.Rounds[0].Queries.Timeout
	}
	return fmt.Sprintf("%s queries a second over UDP, to an idle registry and to one with %s updates a second in turn, %d rounds of %s for each setting\n"+
		"of the collector (GOGC, and after a slash GOMEMLIMIT as a multiple of the memory in use after loading). *For … s* is one round that is\n"+
		"long enough for collections to come by themselves; *collecting* has one collection after another%s. Figures are medians of the rounds;\n"+
		"*quietest* compares the best round with the best idle one of all. *Shown* is from when an update was due.\n"+
		"A lost query counts as one that took the timeout of %s. CPU is the share of one CPU that the process used, without the generator.",
		harness.Count(p.QueryRate), harness.Count(p.Rate), p.Rounds, harness.Time(p.Duration), apart, harness.Time(timeout))
}

func (s *Scenario) rounds() (rows [][]string) {
	for _, x := range s.summaries() {
		var u Usage // of all rounds together
		var shown, pauses []time.Duration
		var sent, lost, peak uint64
		updates, commits := 0, 0
		for _, r := range x.rounds {
			sent, lost, peak = sent+r.Queries.Sent, lost+r.Queries.Lost, max(peak, r.Memory.Peak)
			updates, commits = updates+r.Updating.Updates, commits+r.Updating.Commits
			shown = append(shown, r.Updating.Latency.P99)
			u.Elapsed, u.CPU, u.Cycles, u.PauseMax = u.Elapsed+r.Usage.Elapsed, u.CPU+r.Usage.CPU, u.Cycles+r.Usage.Cycles, max(u.PauseMax, r.Usage.PauseMax)
			if r.Usage.Pauses > 0 {
				pauses = append(pauses, r.Usage.PauseP50)
			}
		}
		rows = append(rows, []string{
			x.name, harness.Time(x.idle), harness.Time(x.p99), fmt.Sprintf("**%.2f**", x.ratio), fmt.Sprintf("%.2f", x.quiet),
			harness.Count(float64(updates) / u.Elapsed.Seconds()), fmt.Sprintf("%.1f", float64(updates)/float64(max(1, commits))), harness.Time(harness.Median(shown)),
			harness.Percent(float64(lost)/float64(max(1, sent)), 2), fmt.Sprint(u.Cycles), harness.Time(harness.Median(pauses)), harness.Time(u.PauseMax),
			harness.Percent(u.CPU.Seconds()/u.Elapsed.Seconds(), 0), harness.Octets(peak),
		})
	}
	return rows
}
