//go:build linux

package scale

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/internaldns/internaldns/bench/dataset"
)

// Plan says what is measured.
type Plan struct {
	// Machines and Apps are the largest registry, of one network, on which
	// everything is measured.
	Machines int `json:"machines"`
	Apps     int `json:"apps"`
	// Smaller are numbers of machines on which single updates are measured
	// too, to show that what they cost does not grow.
	Smaller []int `json:"smaller"`
	// BigApps are numbers of machines of the only app of a registry.
	BigApps []int `json:"big_apps"`

	// Updates is how many single updates of each kind are timed.
	Updates int `json:"updates"`
	// Batches are the numbers of events in one Apply with which the most
	// updates a second are looked for.
	Batches []int `json:"batches"`
	// AppUpdates is how many updates a big app gets.
	AppUpdates int `json:"app_updates"`

	// Rate is how many updates fall due in a second while queries are
	// answered, and QueryRate how many queries are.
	Rate      float64 `json:"rate"`
	QueryRate float64 `json:"query_rate"`
	// Duration is the measured time of one round and of each batch size, and
	// Rounds how often an idle registry and a changing one take turns.
	Duration time.Duration `json:"duration_ns"`
	Rounds   int           `json:"rounds"`
	// Lasting is the measured time of one more round, with the first setting, in
	// which the registry changes as long as that; 0 for none.
	Lasting time.Duration `json:"lasting_ns"`
	// Settings are those of the garbage collector; with each all rounds are
	// run. The first is in force for everything else.
	Settings []Setting `json:"settings"`

	// ServerCPU and LoadCPU are the CPUs of everything that serves, and of what
	// asks, while queries are answered; negative for any.
	ServerCPU int `json:"server_cpu"`
	LoadCPU   int `json:"load_cpu"`

	// Seed makes the facts and the queries.
	Seed uint64 `json:"seed"`
}

// Setting is one way to set the garbage collector.
type Setting struct {
	// Percent is GOGC; -1 turns it off.
	Percent int `json:"gogc"`
	// Limit is GOMEMLIMIT, as a multiple of the memory in use once the facts
	// are loaded; 0 for none.
	Limit float64 `json:"limit,omitempty"`
}

// String returns what ParseSetting reads.
func (s Setting) String() string {
	text := strconv.Itoa(s.Percent)
	if s.Percent < 0 {
		text = "off"
	}
	if s.Limit > 0 {
		text += "/" + strconv.FormatFloat(s.Limit, 'g', -1, 64)
	}
	return text
}

// ParseSetting reads a setting: 100, 50, off/1.3, 100/1.5.
func ParseSetting(text string) (Setting, error) {
	percent, limit, limited := strings.Cut(text, "/")
	s := Setting{Percent: -1}
	var err error
	if percent != "off" {
		if s.Percent, err = strconv.Atoi(percent); err != nil || s.Percent < 1 {
			return s, fmt.Errorf("%q: GOGC must be a positive number or off", text)
		}
	}
	if limited {
		if s.Limit, err = strconv.ParseFloat(limit, 64); err != nil || s.Limit < 1.05 || s.Limit > 100 {
			return s, fmt.Errorf("%q: the limit must be a multiple of the memory in use, from 1.05 to 100", text)
		}
	} else if s.Percent < 0 {
		return s, fmt.Errorf("%q: without GOGC there must be a limit, as in off/1.3", text)
	}
	return s, nil
}

// DefaultPlan returns what is published.
func DefaultPlan() Plan {
	return Plan{
		Machines:   1_000_000,
		Apps:       100_000,
		Smaller:    []int{1_000, 100_000},
		BigApps:    []int{1_000, 10_000},
		Updates:    4_000,
		Batches:    []int{1, 10, 100, 1_000},
		AppUpdates: 10_000,
		Rate:       5_000,
		QueryRate:  10_000,
		Duration:   time.Second,
		Rounds:     7,
		Lasting:    time.Minute,
		Settings:   []Setting{{Percent: 100}, {Percent: 50}, {Percent: 25}, {Percent: -1, Limit: 1.3}},
		ServerCPU:  -1,
		LoadCPU:    -1,
		Seed:       1,
	}
}

// Validate returns every fault of the plan, each beginning with the field.
func (p *Plan) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if p.Machines < minMachines || p.Apps < 1 || p.Apps > p.Machines/5 {
		fault("machines, apps: must be %d or more, in apps of five or more, got %d in %d", minMachines, p.Machines, p.Apps)
	}
	for _, n := range p.Smaller {
		if n < minMachines {
			fault("smaller: must be %d machines or more, got %d", minMachines, n)
		}
	}
	for _, n := range p.BigApps {
		if n < minMachines {
			fault("big-apps: must be %d machines or more, got %d", minMachines, n)
		}
	}
	if p.Updates < 10 || p.AppUpdates < 10 {
		fault("updates, app-updates: must be 10 or more, got %d and %d", p.Updates, p.AppUpdates)
	}
	for _, n := range p.Batches {
		if n < 1 {
			fault("batches: must be positive, got %d", n)
		}
	}
	if p.Rate <= 0 || p.QueryRate <= 0 || math.IsInf(p.Rate+p.QueryRate, 1) {
		fault("rate, query-rate: must be positive, got %v and %v", p.Rate, p.QueryRate)
	}
	if p.Duration < 10*time.Millisecond || p.Rounds < 1 {
		fault("duration, rounds: must be 10ms or longer, and 1 or more, got %v and %d", p.Duration, p.Rounds)
	}
	if p.ServerCPU >= 0 && p.ServerCPU == p.LoadCPU {
		fault("server-cpu, load-cpu: must differ, or what asks is in the way of what answers")
	}
	if p.Lasting < 0 {
		fault("lasting: must be positive, or 0 for none, got %v", p.Lasting)
	}
	if len(p.Settings) == 0 {
		fault("gc: must not be empty")
	}
	return errors.Join(faults...)
}

// apart says on which CPUs queries are asked and answered, if that is planned.
func (p *Plan) apart() string {
	if p.ServerCPU < 0 || p.LoadCPU < 0 {
		return ""
	}
	return fmt.Sprintf(".\nThe process that is measured, with all its threads, is held to CPU %d meanwhile, and what asks to CPU %d", p.ServerCPU, p.LoadCPU)
}

// minMachines leaves enough machines to update in apps that are not asked for.
const minMachines = 100

// shape returns the shape of one network with that many machines, in as many
// apps to the machine as the plan's largest registry has.
func (p *Plan) shape(machines int) dataset.Shape {
	s := dataset.DefaultShape(machines)
	s.Apps = max(1, int(int64(machines)*int64(p.Apps)/int64(p.Machines)))
	s.Largest = max(s.Largest, 4*machines/s.Apps)
	return s
}

// What a run takes on one shared processor of 2026, for Estimate.
const (
	loadPerMachine   = 60 * time.Microsecond // made, written, parsed, applied
	deletePerMachine = 20 * time.Microsecond
	onePerUpdate     = 400 * time.Microsecond
	peakPerMachine   = 8 << 10 // octets of memory while the difference is applied
	filePerMachine   = 1 << 10 // octets of the registry file
)

// An Estimate is what a run will take, about.
type Estimate struct {
	Time   time.Duration
	Memory uint64 // octets, at the most
	Disk   uint64 // octets of temporary files
}

func (e Estimate) String() string {
	return fmt.Sprintf("about %v, %s of memory and %s of disk", e.Time.Round(time.Second), octets(e.Memory), octets(e.Disk))
}

// Estimate returns what the run will take.
func (p *Plan) Estimate() Estimate {
	machines := p.Machines
	for _, n := range p.Smaller {
		machines += n
	}
	rounds := time.Duration(p.Rounds * (1 + 2*len(p.Settings)))
	t := time.Duration(machines)*loadPerMachine + time.Duration(p.Machines)*deletePerMachine +
		time.Duration(2*p.Updates*(1+len(p.Smaller))+2*p.AppUpdates*len(p.BigApps))*onePerUpdate +
		time.Duration(len(p.Batches))*p.Duration + rounds*(p.Duration+warmup+200*time.Millisecond) + p.Lasting
	return Estimate{Time: t, Memory: 64<<20 + uint64(p.Machines)*peakPerMachine, Disk: uint64(p.Machines) * filePerMachine}
}
