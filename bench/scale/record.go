//go:build linux

package scale

import "time"

// Record is what a run saves: raw figures, from which the tables are made.
type Record struct {
	Date    time.Time     `json:"date"`
	Took    time.Duration `json:"took_ns"`
	Command string        `json:"command,omitempty"`
	Commit  string        `json:"commit,omitempty"`
	Plan    Plan          `json:"plan"`

	Loads   []Load    `json:"loads"`
	Updates []Updates `json:"updates"`
	Rates   []Rate    `json:"rates"`
	// Rounds are in turn: idle, changing, and collecting if it is measured.
	Rounds    []Round    `json:"rounds"`
	Apps      []AppRun   `json:"apps"`
	Deletions []Deletion `json:"deletions"`
	// Notes are what a reader must know to judge the figures.
	Notes []string `json:"notes,omitempty"`
}
