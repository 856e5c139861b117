//go:build linux

package harness

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Page is a Markdown page, and the images that it shows.
type Page struct {
	strings.Builder
	images map[string][]byte // by file name
}

// Say adds text.
func (p *Page) Say(format string, args ...any) { fmt.Fprintf(p, format, args...) }

// Table adds a table, unless it has no rows. The heads of the columns are
// separated by " | "; columns after the first are aligned to the right.
func (p *Page) Table(head string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	p.Say("| %s |\n|---|%s\n", head, strings.Repeat("---:|", strings.Count(head, " | ")))
	for _, row := range rows {
		p.Say("| %s |\n", strings.Join(row, " | "))
	}
	p.Say("\n")
}

// Image adds an image that Save writes to that file.
func (p *Page) Image(file, alt string, content []byte) {
	if p.images == nil {
		p.images = map[string][]byte{}
	}
	p.images[file] = content
	p.Say("![%s](%s)\n\n", alt, file)
}

// Goals adds a table of figures to reach.
func (p *Page) Goals(goals []Goal) {
	var rows [][]string
	for _, g := range goals {
		verdict := "missed"
		if g.Reached {
			verdict = "reached"
		}
		rows = append(rows, []string{g.What, g.Wanted, g.Got, verdict})
	}
	if len(rows) > 0 {
		p.Say("### Figures to reach\n\n")
	}
	p.Table(" | wanted | measured | ", rows)
}

// A Goal is a figure to reach, and what was measured.
type Goal struct {
	What, Wanted, Got string
	Reached           bool
}

// Save writes RESULTS.md and the images to dir.
func (p *Page) Save(dir string) error {
	err := os.WriteFile(filepath.Join(dir, "RESULTS.md"), []byte(strings.TrimSpace(p.String())+"\n"), 0o644)
	for file, content := range p.images {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, file), content, 0o644))
	}
	return err
}

// None stands for a figure that there is not.
const None = "–"

// Count writes n with a comma before every three digits.
func Count[T int | uint64 | float64](n T) string {
	if math.IsNaN(float64(n)) {
		return None
	}
	s := fmt.Sprintf("%.0f", float64(n))
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Time writes a duration with three digits.
func Time(d time.Duration) string {
	switch {
	case d <= 0:
		return None
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// Microseconds writes a time in ns with two digits after the point.
func Microseconds(ns float64) string {
	if math.IsNaN(ns) {
		return None
	}
	return fmt.Sprintf("%.2f µs", ns/1e3)
}

// Octets writes a number of octets with about three digits.
func Octets(n uint64) string {
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

// Percent writes a share with that many digits after the point.
func Percent(share float64, digits int) string {
	if math.IsNaN(share) {
		return None
	}
	return fmt.Sprintf("%.*f %%", digits, 100*share)
}

// OneLine joins the lines of s.
func OneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
