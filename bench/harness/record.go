//go:build linux

package harness

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Record is what a run saves: raw figures, from which every table is made.
type Record struct {
	Scenario string        `json:"scenario"` // Kind.Name
	Date     time.Time     `json:"date"`
	Took     time.Duration `json:"took_ns"`
	Command  string        `json:"command"`
	Commit   string        `json:"commit,omitempty"`
	Host     Host          `json:"host"`
	// Notes are what a reader must know to judge the figures.
	Notes []string `json:"notes,omitempty"`
	// Figures are the Scenario.
	Figures json.RawMessage `json:"figures"`
}

// Save writes the record to a file in dir, which it names by date and scenario,
// and returns the path.
func (r *Record) Save(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, r.Date.UTC().Format("2006-01-02T150405Z")+"-"+r.Scenario+".json")
	return path, os.WriteFile(path, append(b, '\n'), 0o644)
}

// Open reads records and returns the newest of each scenario, by its name.
func Open(paths ...string) (map[string]*Record, error) {
	newest := map[string]*Record{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		r := new(Record)
		if err := json.Unmarshal(b, r); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if old := newest[r.Scenario]; old == nil || r.Date.After(old.Date) {
			newest[r.Scenario] = r
		}
	}
	return newest, nil
}

// Report returns RESULTS.md: a section for each kind that has a record.
func Report(kinds []Kind, records map[string]*Record) (*Page, error) {
	p := new(Page)
	p.Say("# Results\n\nWritten by `bench report` from the figures in `bench/results/`; do not edit.\n\n")
	for _, k := range kinds {
		if r := records[k.Name]; r != nil {
			if err := k.section(p, r); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// section writes what the record of a scenario has.
func (k Kind) section(p *Page, r *Record) error {
	s := k.New()
	if err := json.Unmarshal(r.Figures, s); err != nil {
		return fmt.Errorf("read the figures of %s: %w", k.Name, err)
	}
	p.Say("## %s\n\nMeasured %s UTC", k.Title, r.Date.UTC().Format("2006-01-02 15:04"))
	if r.Took > 0 {
		p.Say(" in %s", r.Took.Round(time.Second))
	}
	if r.Commit != "" {
		p.Say(", commit %s", r.Commit)
	}
	h := r.Host
	p.Say(", on %s, %d CPUs, %d GiB, %s, %s, %s:\n`%s`\n\n", h.CPU, h.Cores, (h.Memory+1<<29)>>30, h.System, h.Kernel, h.Go, strings.TrimSpace(r.Command))
	s.Report(p)
	for _, n := range r.Notes {
		p.Say("- %s\n", OneLine(n))
	}
	if len(r.Notes) > 0 {
		p.Say("\n")
	}
	return nil
}
