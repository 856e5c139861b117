//go:build linux

package scale

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A table is what is said of one part, and its figures.
type table struct {
	title string
	text  string // one paragraph
	head  []string
	rows  [][]string
}

// WriteMarkdown writes the record as a section of RESULTS.md.
func (r *Record) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("## Scale\n\n")
	fmt.Fprintf(&b, "The parts of internaldns in one process, as `bench/cmd/scale` measured them (%s UTC, %s", r.Date.UTC().Format("2006-01-02 15:04"), r.Took.Round(time.Second))
	if r.Commit != "" {
		fmt.Fprintf(&b, ", commit %s", r.Commit)
	}
	b.WriteString(")")
	if r.Command != "" {
		fmt.Fprintf(&b, ":\n`%s`", r.Command)
	}
	b.WriteString(".\n\n")
	for _, t := range r.tables() {
		fmt.Fprintf(&b, "### %s\n\n%s\n\n| %s |\n|---|%s\n", t.title, t.text, strings.Join(t.head, " | "), strings.Repeat("---:|", len(t.head)-1))
		for _, row := range t.rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		}
		b.WriteString("\n")
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "- %s\n", strings.Join(strings.Fields(n), " "))
	}
	if len(r.Notes) > 0 {
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteText writes the record for a terminal.
func (r *Record) WriteText(w io.Writer) error {
	for _, t := range r.tables() {
		if _, err := fmt.Fprintf(w, "\n%s\n%s\n\n", t.title, strings.NewReplacer("`", "", "*", "").Replace(t.text)); err != nil {
			return err
		}
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		for _, row := range append([][]string{t.head}, t.rows...) {
			fmt.Fprintf(tw, "%s\t\n", strings.ReplaceAll(strings.Join(row, "\t"), "*", ""))
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Record) tables() []table {
	var all []table
	for _, t := range []table{r.goals(), r.loadTable(), r.updateTable(), r.rateTable(), r.roundTable(), r.appTable(), r.deletionTable()} {
		if len(t.rows) > 0 {
			all = append(all, t)
		}
	}
	return all
}

// The figures to reach.
const (
	mostPerMachine = 6 << 10 // octets, all in
	mostForUpdate  = 300 * time.Microsecond
	leastUpdates   = 5000 // a second
	mostSlower     = 1.5  // p99 of queries while facts change, to that of an idle registry
)

func (r *Record) goals() table {
	t := table{title: "Figures to reach", text: "On the largest registry.", head: []string{"", "wanted", "measured", ""}}
	add := func(what, wanted, got string, kept bool) {
		verdict := "missed"
		if kept {
			verdict = "reached"
		}
		t.rows = append(t.rows, []string{what, wanted, got, verdict})
	}
	if l := last(r.Loads); l != nil {
		got := max(l.PerMachine(), l.ResidentPerMachine())
		add("memory, resident, for a machine, all in", "≤ "+octets(mostPerMachine), octets(uint64(max(0, got))), got <= mostPerMachine)
	}
	if most := r.machines(); most > 0 {
		for _, u := range r.Updates {
			if u.Machines == most {
				add(fmt.Sprintf("one update of %s, from Apply to visible, median", u.Kind), "≤ "+short(mostForUpdate), short(u.Latency.P50), u.Latency.P50 <= mostForUpdate)
			}
		}
	}
	if len(r.Rates) > 0 {
		best := slices.MaxFunc(r.Rates, func(a, b Rate) int { return cmp.Compare(a.PerSecond(), b.PerSecond()) })
		add("updates a second, at the most", "≥ "+thousands(leastUpdates), thousands(int(best.PerSecond())), best.PerSecond() >= leastUpdates)
	}
	for _, row := range r.serving() {
		// Where other programs disturb the rounds, the median says more of them
		// than of us: the quietest rounds must keep it too.
		got := max(row.Ratio, row.Quiet)
		add(fmt.Sprintf("p99 of queries at %s updates a second, to that of an idle registry, GOGC %s", thousands(int(r.Plan.Rate)), row.name()),
			fmt.Sprintf("≤ %.1f", mostSlower), fmt.Sprintf("%.2f, quietest %.2f", row.Ratio, row.Quiet), got <= mostSlower)
	}
	return t
}

func last[T any](all []T) *T {
	if len(all) == 0 {
		return nil
	}
	return &all[len(all)-1]
}

// machines returns the size of the largest registry with single updates.
func (r *Record) machines() (most int) {
	for _, u := range r.Updates {
		most = max(most, u.Machines)
	}
	return most
}

func (r *Record) loadTable() table {
	t := table{
		title: "Loading",
		text: "From a registry file to answers. *Heap* and *resident* are what a machine adds to an empty registry once memory has settled;\n" +
			"*gaps* are between its objects; *peak* is the most that was resident meanwhile.",
		head: []string{"machines", "apps", "file", "read", "difference", "apply", "compile", "all", "CPU", "heap/machine", "resident/machine", "resident", "of it gaps", "peak"},
	}
	for i := range r.Loads {
		l := &r.Loads[i]
		t.rows = append(t.rows, []string{
			thousands(l.Machines), thousands(l.Apps), octets(l.File), short(l.Parse), short(l.Diff), short(l.Apply), short(l.Compile), short(l.Total()), short(l.CPU),
			fmt.Sprintf("%.0f B", l.PerMachine()), fmt.Sprintf("%.0f B", l.ResidentPerMachine()), octets(l.After.Resident), octets(l.After.Gaps), octets(l.After.Peak),
		})
	}
	return t
}

func (r *Record) updateTable() table {
	t := table{
		title: "One machine among many",
		text:  "From the call of `Apply` until a lookup in the publisher's table has shown the change, one update after another. CPU is the whole process's\nfor each update, collections included.",
		head:  []string{"machines", "update", "median", "p99", "longest", "shortest", "CPU", "allocated", "objects", "count", "collections"},
	}
	for _, u := range r.Updates {
		t.rows = append(t.rows, []string{
			thousands(u.Machines), string(u.Kind), "**" + short(u.Latency.P50) + "**", short(u.Latency.P99), short(u.Latency.Max), short(u.Fastest),
			short(u.CPU / time.Duration(u.Count)), fmt.Sprintf("%.1f kB", u.Octets/1000), fmt.Sprintf("%.0f", u.Objects), thousands(u.Count), fmt.Sprint(u.GC.Cycles),
		})
	}
	return t
}

func (r *Record) rateTable() table {
	t := table{
		title: "Most updates a second",
		text:  "Changes of state, so many in each `Apply`, on the largest registry.",
		head:  []string{"in one Apply", "updates/s", "for each", "CPU for each", "allocated for each"},
	}
	for i := range r.Rates {
		x := &r.Rates[i]
		t.rows = append(t.rows, []string{
			thousands(x.Batch), "**" + thousands(int(x.PerSecond())) + "**", short(time.Duration(float64(time.Second) / x.PerSecond())), short(x.CPU / time.Duration(x.Updates)), fmt.Sprintf("%.1f kB", x.Octets/1000),
		})
	}
	return t
}

// Serving is what updates and a setting of the collector did to queries.
type Serving struct {
	Setting Setting
	State   State
	Rounds  int
	// Idle and Changing are medians of the rounds' p99.
	Idle, Changing time.Duration
	// Ratio is the median of the ratios of each round to the idle one before
	// it; of a lasting one, that to the median of all idle ones. Quiet is that of the best round to the best idle one of any setting:
	// what is left where other programs disturb most rounds.
	Ratio, Quiet float64
	Seen         time.Duration // median of the updates' p99
	PerCommit    float64
	PerSecond    float64
	Sent, Lost   uint64
	CPU          time.Duration
	GC           Collected // of all changing rounds together
	Elapsed      time.Duration
	Peak         uint64 // the most that was resident
}

// name returns what the row is called.
func (s *Serving) name() string {
	switch s.State {
	case Collecting:
		return s.Setting.String() + ", collecting"
	case Lasting:
		return fmt.Sprintf("%v, for %.0f s", s.Setting, s.Elapsed.Seconds())
	}
	return s.Setting.String()
}

// serving returns the rounds of each setting and state as one row, in the
// plan's order.
func (r *Record) serving() (rows []Serving) {
	for _, s := range r.Plan.Settings {
		for _, state := range []State{Changing, Lasting, Collecting} {
			if row := r.servingRow(s, state); row.Rounds > 0 {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

func (r *Record) servingRow(s Setting, state State) Serving {
	row := Serving{Setting: s, State: state}
	var idle, changing, seen, ratios, pauses []float64
	updates, commits := 0, 0
	quiet := math.Inf(1)
	for i := range r.Rounds {
		x := &r.Rounds[i]
		if x.State == Idle {
			quiet = min(quiet, float64(x.P99()))
		}
		if x.Setting != s {
			continue
		}
		p99 := float64(x.P99())
		if x.State == Idle {
			idle = append(idle, p99)
		}
		if x.State != state {
			continue
		}
		row.Rounds++
		row.Lost += x.Queries.Lost
		row.Peak = max(row.Peak, x.Memory.Peak)
		changing = append(changing, p99)
		ratios = append(ratios, p99/idle[len(idle)-1])
		seen = append(seen, float64(x.Updating.Latency.P99))
		updates += x.Updating.Updates
		commits += x.Updating.Commits
		row.Elapsed += x.Elapsed
		row.CPU += x.CPU
		row.Sent += x.Queries.Sent
		row.GC.Cycles += x.GC.Cycles
		row.GC.Pauses += x.GC.Pauses
		row.GC.Max = max(row.GC.Max, x.GC.Max)
		if x.GC.Pauses > 0 {
			pauses = append(pauses, float64(x.GC.P50))
		}
	}
	if row.Rounds == 0 {
		return row
	}
	row.Idle, row.Changing, row.Seen = time.Duration(median(idle)), time.Duration(median(changing)), time.Duration(median(seen))
	row.Ratio, row.Quiet = median(ratios), slices.Min(changing)/quiet
	if state == Lasting { // one round, and no idle one beside it
		row.Ratio = median(changing) / median(idle)
	}
	row.PerCommit = float64(updates) / float64(max(1, commits))
	row.PerSecond = float64(updates) / row.Elapsed.Seconds()
	row.GC.P50 = time.Duration(median(pauses))
	return row
}

// timeout returns how long was waited for a response.
func (r *Record) timeout() time.Duration {
	if len(r.Rounds) == 0 {
		return 0
	}
	return r.Rounds[0].Queries.Timeout
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

func (r *Record) roundTable() table {
	t := table{
		title: "Queries while facts change",
		text: fmt.Sprintf("%s queries a second over UDP, of an idle registry and of one with %s updates a second in turn, %d rounds of %s for each setting of the\n"+
			"collector (GOGC, and after a slash GOMEMLIMIT as a multiple of the memory in use after loading); *for … s* is one round that is so long\n"+
			"that collections come by themselves, and *collecting* has one after another%s. Medians of the rounds; *quietest* compares the best round with\n"+
			"the best idle one of all. Updates are seen from when they were due.\n"+
			"A lost query counts as one that took as long as was waited for it, %s. CPU is the process's, of one, without what asks.",
			thousands(int(r.Plan.QueryRate)), thousands(int(r.Plan.Rate)), r.Plan.Rounds, short(r.Plan.Duration), r.Plan.apart(), short(r.timeout())),
		head: []string{"GOGC", "p99, idle", "p99, changing", "ratio", "quietest", "updates/s", "in a commit", "seen, p99", "lost", "collections", "pause, median", "longest", "CPU", "peak"},
	}
	for _, x := range r.serving() {
		t.rows = append(t.rows, []string{
			x.name(), short(x.Idle), short(x.Changing), fmt.Sprintf("**%.2f**", x.Ratio), fmt.Sprintf("%.2f", x.Quiet),
			thousands(int(x.PerSecond)), fmt.Sprintf("%.1f", x.PerCommit), short(x.Seen), fmt.Sprintf("%.2f %%", 100*float64(x.Lost)/float64(max(1, x.Sent))),
			fmt.Sprint(x.GC.Cycles), short(x.GC.P50), short(x.GC.Max), fmt.Sprintf("%.0f %%", 100*x.CPU.Seconds()/x.Elapsed.Seconds()), octets(x.Peak),
		})
	}
	return t
}

func (r *Record) appTable() table {
	t := table{
		title: "One large app",
		text:  "Single updates of one app's machines in a row, each looked up. The first and the last of them show whether an app's size or its history costs.",
		head:  []string{"machines", "update", "count", "all", "for each", "first", "last", "last to first", "allocated"},
	}
	for _, x := range r.Apps {
		t.rows = append(t.rows, []string{
			thousands(x.Machines), x.What, thousands(x.Updates), short(x.Total), short(x.Total / time.Duration(max(1, x.Updates))),
			fmt.Sprintf("%s (%s)", short(x.First), thousands(x.Window)), short(x.Last), fmt.Sprintf("**%.2f**", float64(x.Last)/float64(max(1, x.First))),
			fmt.Sprintf("%.1f kB", x.Octets/1000),
		})
	}
	return t
}

func (r *Record) deletionTable() table {
	t := table{
		title: "Deletion",
		text:  "Nine of ten machines, scattered over all apps, deleted by a smaller file; then everything. *Fresh* is the heap of a registry that never had more than is left.",
		head:  []string{"machines", "left", "took", "heap held", "after", "fresh", "above empty", "resident held", "after"},
	}
	for _, x := range r.Deletions {
		fresh := "–"
		if x.Fresh > 0 {
			fresh = octets(x.Fresh)
		}
		t.rows = append(t.rows, []string{
			thousands(x.Before), thousands(x.Left), short(x.Took), octets(x.Held.Heap), octets(x.After.Heap), fresh,
			octets(x.After.Heap - min(x.After.Heap, x.Empty)), octets(x.Held.Resident), octets(x.After.Resident),
		})
	}
	return t
}

// thousands writes n with a comma before every three digits.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// octets writes a number of octets with about three digits.
func octets(n uint64) string {
	switch f := float64(n); {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%.0f KiB", f/(1<<10))
	case n < 10<<30:
		return fmt.Sprintf("%.0f MiB", f/(1<<20))
	default:
		return fmt.Sprintf("%.1f GiB", f/(1<<30))
	}
}

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
