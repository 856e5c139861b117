package main

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/resolver/forward"
)

// status is the response of /status. Keys may be added, and are never removed.
type status struct {
	Version  string           `json:"version"`
	Ready    bool             `json:"ready"`
	Why      string           `json:"why,omitempty"` // if not ready
	Listen   []netip.AddrPort `json:"listen"`
	API      string           `json:"api,omitempty"` // HOST:PORT or unix:PATH, if it is served
	Registry registryStatus   `json:"registry"`
	Source   sourceStatus     `json:"source"`
	Forward  *forward.Status  `json:"forward"` // null if nothing is forwarded

	Certificates []certificateStatus `json:"certificates,omitempty"`
}

// registryStatus is the size of the registry.
type registryStatus struct {
	Index    uint64 `json:"index"`
	Networks int    `json:"networks"`
	Apps     int    `json:"apps"`
	Machines int    `json:"machines"`
	Started  int    `json:"started"`
	Peers    int    `json:"peers"`
	Flycast  int    `json:"flycast"`
}

// status returns the state of the server.
func (s *server) status() status {
	snap := s.store.Snapshot()
	stats := snap.Stats()
	st := status{
		Version: build().Version,
		Ready:   true,
		Listen:  s.addrs,
		API:     s.apiAddr,
		Registry: registryStatus{
			Index: snap.Index, Networks: stats.Networks, Apps: stats.Apps, Machines: stats.Total(),
			Started: stats.Machines[slices.Index(registry.States[:], registry.StateStarted)], Peers: stats.Peers, Flycast: stats.Flycast,
		},
		Source: s.sourceStatus(),
	}
	if why := s.notReady(); why != nil {
		st.Ready, st.Why = false, why.Error()
	}
	for _, c := range s.certificates {
		st.Certificates = append(st.Certificates, c.status())
	}
	if s.forwarder != nil {
		f := s.forwarder.Status()
		st.Forward = &f
	}
	return st
}

func (p *program) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [flags]",
		Short: "Show the state of a server",
		Long: `Shows the state of the server whose admin listener is at --admin: whether it
answers queries, where its facts are from, and whether its upstreams answer. The
exit status is 0 if it answers queries. Programs should read /status of the
listener instead.`,
		Example: `  internaldns status
  internaldns status --admin 127.0.0.1:9153`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(cmd.Flags(), p.environ)
			if err != nil {
				return err
			}
			st, err := askAdmin[status](cmd.Context(), &c, http.MethodGet, "/status")
			if err != nil {
				return err
			}
			if err := st.write(p.stdout, time.Now()); err != nil {
				return err
			}
			if !st.Ready {
				return errReported
			}
			return nil
		},
	}
	adminFlags(cmd.Flags())
	return cmd
}

// write writes st as text, with ages at the time now.
func (st *status) write(w io.Writer, now time.Time) error {
	b := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	state := "answers queries"
	if !st.Ready {
		state = "does not answer queries: " + st.Why
	}
	fmt.Fprintf(b, "server\t%s, version %s\n", state, st.Version)
	var listen []string
	for _, a := range st.Listen {
		listen = append(listen, a.String())
	}
	fmt.Fprintf(b, "listens\t%s\n", strings.Join(listen, " "))
	if st.API != "" {
		fmt.Fprintf(b, "api\t%s\n", st.API)
	}
	for i := range st.Certificates {
		st.Certificates[i].write(b, now)
	}
	r := &st.Registry
	fmt.Fprintf(b, "registry\t%s, %s, %s (%d started), %s\n",
		count(r.Networks, "network"), count(r.Apps, "app"), count(r.Machines, "machine"), r.Started, count(r.Peers, "peer"))
	st.Source.write(b, now)
	if f := st.Forward; f == nil {
		fmt.Fprintf(b, "forwards\tnothing\n")
	} else {
		writeForward(b, f)
	}
	return b.Flush()
}

func (s *sourceStatus) write(w io.Writer, now time.Time) {
	name := s.File
	switch {
	case s.Disk != nil:
		name = s.Disk.Path
	case s.Etcd != nil:
		name = "etcd at " + strings.Join(s.Etcd.Endpoints, " ")
	case name == "":
		name = "the built-in sample"
	}
	fmt.Fprintf(w, "facts\tfrom %s", name)
	if !s.LoadedAt.IsZero() {
		verb := "applied"
		if s.Kind == "disk" || s.Kind == "etcd" {
			verb = "loaded"
		}
		fmt.Fprintf(w, ", %s %v ago", verb, ago(now.Sub(s.LoadedAt)))
	}
	fmt.Fprintln(w)
	if d := s.Disk; d != nil {
		fmt.Fprintf(w, "stored\t%s, %s", count(d.Writes, "write"), count(d.Leases, "lease"))
		if !d.Writable {
			fmt.Fprintf(w, "; no write is possible since %s", ago(now.Sub(d.NotSince)))
		}
		fmt.Fprintln(w)
	}
	if e := s.Etcd; e != nil {
		fmt.Fprintf(w, "stored\t%s through this server, revision %d", count(e.Writes, "write"), e.Revision)
		switch {
		case !e.Connected && e.ConfirmedAt.IsZero():
			fmt.Fprint(w, "; etcd cannot be reached")
		case !e.Connected:
			fmt.Fprintf(w, "; etcd cannot be reached, and the facts are %s old", ago(now.Sub(e.ConfirmedAt)))
		}
		fmt.Fprintln(w)
		for _, q := range e.Quarantine {
			fmt.Fprintf(w, "\tnot in effect: %s: %s\n", q.Key, q.Because)
		}
	}
	for line := range strings.Lines(s.LastError) {
		fmt.Fprintf(w, "\tfault: %s\n", strings.TrimSuffix(line, "\n"))
	}
}

func writeForward(w io.Writer, f *forward.Status) {
	if len(f.Upstreams) == 0 {
		fmt.Fprintf(w, "forwards\tnothing: no upstream is known\n")
	}
	for _, u := range f.Upstreams {
		name := u.Suffix
		if name == "." {
			name = "everything else"
		}
		fmt.Fprintf(w, "forwards\t%s to %s: %s, %s", name, u.Upstream, u.State, count(u.Requests, "request"))
		if u.MedianMS > 0 {
			fmt.Fprintf(w, ", median %g ms", u.MedianMS)
		}
		if lost := u.Timeouts + u.Errors; lost > 0 {
			fmt.Fprintf(w, ", %d without response", lost)
		}
		fmt.Fprintln(w)
	}
	c := &f.Cache
	fmt.Fprintf(w, "cache\t%s in %d of %d octets; %s, %s\n",
		count(c.Entries, "answer"), c.Octets, c.MaxOctets, count(c.Hits, "hit"), count(c.Misses, "miss"))
}

// ago returns d rounded: to days, minutes or seconds.
func ago(d time.Duration) string {
	switch {
	case d > 48*time.Hour:
		return count(int(d/(24*time.Hour)), "day")
	case d > time.Hour:
		return plain(d.Truncate(time.Minute))
	}
	return plain(max(d.Truncate(time.Second), 0))
}

// collectors returns the collectors of all metrics.
func (s *server) collectors() []prometheus.Collector {
	list := []prometheus.Collector{&s.dns, s.figures()}
	if s.config.API != off {
		list = append(list, s.api.Metrics())
	}
	if s.config.forwards() {
		list = append(list, s.forwarder.Metrics())
	}
	return list
}

// figures returns the metrics that are read from other packages at each scrape.
func (s *server) figures() metrics.Figures {
	figures := metrics.Figures{
		Build:  build(),
		States: registry.States[:],
		Facts: func() metrics.Facts {
			snap := s.store.Snapshot()
			stats := snap.Stats()
			machines := make(map[string]int, len(registry.States)+1)
			for i, state := range registry.States {
				machines[state] = stats.Machines[i]
			}
			machines[""] = stats.Machines[len(registry.States)]
			return metrics.Facts{
				Index: snap.Index, Networks: stats.Networks, Apps: stats.Apps, Peers: stats.Peers, Flycast: stats.Flycast,
				Regions:  len(snap.Geography().Codes()),
				Machines: machines,
				Unformed: s.publisher.Table().Unnamed(),
			}
		},
		Source: func() metrics.Source {
			st := s.sourceStatus()
			return metrics.Source{LastGood: st.CheckedAt, Reads: st.Loads, Failures: st.Failures}
		},
	}
	if s.config.kept() {
		figures.Keep = func() metrics.Keep { return s.sourceStatus().figures() }
	}
	if len(s.certificates) > 0 {
		figures.Certificates = func() []metrics.Certificate {
			var list []metrics.Certificate
			for _, c := range s.certificates {
				list = append(list, metrics.Certificate{Setting: c.setting, Expires: c.expires(), Failures: c.files.Status().Failures})
			}
			return list
		}
	}
	return figures
}

// figures returns the metrics about storing the facts.
func (s sourceStatus) figures() metrics.Keep {
	if e := s.Etcd; e != nil {
		return metrics.Keep{Writes: e.Writes, Failures: e.Refused, Available: e.Connected && e.Held == "", Leases: -1, Quarantined: e.Quarantined}
	}
	return metrics.Keep{Writes: s.Disk.Writes, Failures: s.Disk.Failures, Available: s.Disk.Writable, Leases: s.Disk.Leases}
}
