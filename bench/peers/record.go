//go:build linux

package peers

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/internaldns/internaldns/bench/hang"
	"github.com/internaldns/internaldns/bench/keep"
	"github.com/internaldns/internaldns/bench/load"
	"github.com/internaldns/internaldns/bench/scale"
)

// Record is what a run saves: raw figures, from which every table is made.
type Record struct {
	Date    time.Time     `json:"date"`
	Took    time.Duration `json:"took_ns"`
	Command string        `json:"command"`
	Commit  string        `json:"commit,omitempty"`
	Host    Host          `json:"host"`
	Plan    Plan          `json:"plan"`
	Servers []Server      `json:"servers"`
	Series  []Series      `json:"series"`
	// Overload has an entry for each server, way of overloading it, and round.
	Overload []Overload `json:"overload,omitempty"`
	// Scale is what cmd/scale saved, which measures nothing else.
	Scale *scale.Record `json:"scale,omitempty"`
	// Keep and Hang are what cmd/keep and cmd/hang saved, likewise.
	Keep *keep.Record  `json:"keep,omitempty"`
	Hang *hang.Results `json:"hang,omitempty"`
	// Notes are what a reader must know to judge the figures.
	Notes []string `json:"notes,omitempty"`
}

// Host is the machine that a run was on.
type Host struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory uint64 `json:"memory_octets"`
	System string `json:"system"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Server is one of the servers that a run was asked to measure.
type Server struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	// Missing says why it was not measured, and Get what to do about it.
	Missing string `json:"missing,omitempty"`
	Get     string `json:"get,omitempty"`
}

// Series is several rounds over several servers that answer the same queries.
type Series struct {
	// Key is the same for series that can be compared between runs.
	Key       string         `json:"key"`
	Title     string         `json:"title"`
	Machines  int            `json:"machines"`
	Transport load.Transport `json:"transport"`
	UDPSize   uint16         `json:"udp_size"` // 0: queries without EDNS
	Started   []Started      `json:"started"`
	Rounds    []Measurement  `json:"rounds"`
}

// Started is one server as it was at the beginning of a series.
type Started struct {
	Peer    string        `json:"peer"`
	Command string        `json:"command,omitempty"`
	Loaded  time.Duration `json:"loaded_ns"` // from its start to the first right answer
	Memory  uint64        `json:"memory_octets"`
	Error   string        `json:"error,omitempty"` // why it is not in the series
}

// Measurement is one server in one round.
type Measurement struct {
	Peer  string `json:"peer"`
	Round int    `json:"round"`
	Error string `json:"error,omitempty"`

	// Peak is the closed loop, in whose measured time the server took CPU.
	Peak load.Result   `json:"peak"`
	CPU  time.Duration `json:"cpu_ns"`
	// Upstream counts the queries that came to a forwarder's upstream in the
	// same time.
	Upstream uint64 `json:"upstream,omitempty"`
	// Half is the open loop at half of the peak's rate.
	Half   load.Result `json:"half"`
	Memory uint64      `json:"memory_octets"`
}

// Overload is one server that was sent more than it can answer, once.
type Overload struct {
	Peer  string `json:"peer"`
	Round int    `json:"round"`
	// Kind is flood, as much as the generator can send; or quota, ten times
	// what the server can answer with a tenth of a CPU.
	Kind  string `json:"kind"`
	Error string `json:"error,omitempty"`
	// Capacity is the closed loop before, and Load the overload.
	Capacity load.Result `json:"capacity"`
	Load     load.Result `json:"load"`
	// Memory and Goroutines (-1 where unknown) before and after.
	Memory     [2]uint64 `json:"memory_octets"`
	Goroutines [2]int    `json:"goroutines"`
}

// Save writes the record to a file in dir that has the time for a name, and
// returns its path.
func (r *Record) Save(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, r.Date.UTC().Format("2006-01-02T150405Z")+".json")
	return path, os.WriteFile(path, append(b, '\n'), 0o644)
}

// Open reads the records of several runs into one: what a later one measured
// takes the place of what an earlier one did.
func Open(paths ...string) (*Record, error) {
	var all *Record
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var r Record
		if err := json.Unmarshal(b, &r); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if all == nil {
			all = &r
			continue
		}
		all.merge(&r)
	}
	return all, nil
}

// merge takes over what r measured. Figures of different machines must not
// stand in one table, so that is noted.
func (all *Record) merge(r *Record) {
	if r.Host != all.Host {
		all.Notes = append(all.Notes, fmt.Sprintf("Runs of different machines are mixed here: %+v and %+v.", all.Host, r.Host))
	}
	all.Scale, all.Keep, all.Hang = cmp.Or(r.Scale, all.Scale), cmp.Or(r.Keep, all.Keep), cmp.Or(r.Hang, all.Hang)
	if len(r.Servers) == 0 {
		return // of another command, whose section says its own date and commit
	}
	if len(all.Servers) == 0 {
		all.Took, all.Command = 0, ""
	}
	if len(all.Servers) > 0 && all.Commit != r.Commit {
		r.Commit = strings.Trim(all.Commit+", "+r.Commit, ", ")
	}
	all.Date, all.Commit, all.Host, all.Plan = r.Date, r.Commit, r.Host, r.Plan
	all.Took += r.Took
	all.Command = strings.TrimPrefix(all.Command+"\n"+r.Command, "\n")
	all.Notes = append(all.Notes, r.Notes...)
	all.Servers = replace(all.Servers, r.Servers, func(s Server) string { return s.Name })
	all.Series = replace(all.Series, r.Series, func(s Series) string { return s.Key })
	all.Overload = replace(all.Overload, r.Overload, func(o Overload) string { return fmt.Sprint(o.Kind, " ", o.Peer, " ", o.Round) })
}

// replace returns old with each item of the same key replaced, and the others
// of fresh behind.
func replace[T any](old, fresh []T, key func(T) string) []T {
	at := map[string]int{}
	for i, item := range old {
		at[key(item)] = i
	}
	for _, item := range fresh {
		if i, ok := at[key(item)]; ok {
			old[i] = item
		} else {
			old = append(old, item)
		}
	}
	return old
}
