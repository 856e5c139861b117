package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Traffic is the mix of queries.
type Traffic struct {
	// Network is the number of the network of the clients.
	Network int `json:"network"`
	// Count is the number of queries.
	Count int `json:"count"`
	// Skew is the exponent of Zipf's law by which queries are spread over apps; with
	// 0, all apps are equally frequent. The frequency of an app does not depend on
	// its size.
	Skew float64 `json:"skew"`
	// NXDomain is the share of queries for names that do not exist.
	NXDomain float64 `json:"nxdomain"`
	// Mix weighs the kinds of the other queries.
	Mix Mix `json:"mix"`
	// UDPSize is the size in the OPT record, in octets; 0 leaves EDNS out.
	UDPSize uint16 `json:"udp_size"`
}

// Mix is the weight of each kind of query; only proportions matter. The weight of
// Nonexistent is ignored; Traffic.NXDomain is the share of those.
type Mix [numKinds]int

// DefaultTraffic returns traffic of clients in the first network: mostly queries for
// apps, and some for each other kind of name that the master file has. In traces of
// resolvers, the skew is between 0.8 and 1.
func DefaultTraffic(count int) Traffic {
	return Traffic{
		Count:    count,
		Skew:     0.9,
		NXDomain: 0.05,
		Mix: Mix{
			AppAAAA: 56, GlobalAAAA: 2, RegionAAAA: 12, GroupAAAA: 8, MachineAAAA: 8,
			MetadataAAAA: 5, MachinesTXT: 2, RegionsTXT: 2, AppA: 5,
		},
		UDPSize: 1232,
	}
}

// Validate returns every fault of the traffic, each beginning with the field.
func (t Traffic) Validate(s Shape) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if last := max(0, s.Networks-1); t.Network < 0 || t.Network > last {
		fault("network: must be from 0 to %d, got %d", last, t.Network)
	}
	if t.Count < 1 {
		fault("count: must be positive, got %d", t.Count)
	}
	if t.Skew < 0 || t.Skew > 3 {
		fault("skew: must be from 0 to 3, got %v", t.Skew)
	}
	if t.NXDomain < 0 || t.NXDomain > 1 {
		fault("nxdomain: must be a share, got %v", t.NXDomain)
	}
	sum := 0
	for kind, weight := range t.Mix {
		if weight < 0 {
			fault("mix: weight of %v is negative", Kind(kind))
		}
		sum += weight
	}
	if sum-t.Mix[Nonexistent] <= 0 && t.NXDomain < 1 {
		fault("mix: no kind has a weight")
	}
	return errors.Join(faults...)
}

// draw is a query that is chosen and not made yet.
type draw struct {
	app   int
	kind  Kind
	which uint64 // chooses among the app's names of that kind
	at    int    // index among the queries
}

// Queries returns queries of clients in one network.
func (d *Dataset) Queries(t Traffic) ([]Query, error) {
	if err := t.Validate(d.shape); err != nil {
		return nil, err
	}
	draws := d.draws(t)
	// Queries for one app are made together, so that the app is made once.
	slices.SortFunc(draws, func(a, b draw) int { return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.at, b.at)) })
	queries := make([]Query, len(draws))
	var (
		a     App
		names []name
		held  = -1
	)
	for _, dr := range draws {
		if dr.app != held {
			d.App(dr.app, &a)
			names = a.names(names[:0])
			held = dr.app
		}
		q, err := d.query(&a, names, dr, t.UDPSize)
		if err != nil {
			return nil, err
		}
		queries[dr.at] = q
	}
	return queries, nil
}

func (d *Dataset) draws(t Traffic) []draw {
	r := seeded(d.seed, "queries", t.Network)
	apps := (d.shape.Apps - t.Network + d.shape.Networks - 1) / d.shape.Networks
	ranks := zipf(apps, t.Skew)
	// The app of each rank: a shuffle, so that frequent apps are not the large ones.
	order := make([]int, apps)
	for i := range order {
		j := r.below(i + 1)
		order[i] = order[j]
		order[j] = i
	}
	var kinds []uint64
	var sum uint64
	for kind, weight := range t.Mix {
		if Kind(kind) != Nonexistent {
			sum += uint64(weight)
		}
		kinds = append(kinds, sum)
	}
	draws := make([]draw, t.Count)
	for i := range draws {
		app := order[pick(&r, ranks)]*d.shape.Networks + t.Network
		kind := Nonexistent
		if !r.chance(t.NXDomain) {
			kind = Kind(pick(&r, kinds))
		}
		draws[i] = draw{app: app, kind: kind, which: r.next(), at: i}
	}
	return draws
}

// query makes the query of dr. If the app has no names of the kind, as one without
// machines has no regions, the query is for the name of the app.
func (d *Dataset) query(a *App, names []name, dr draw, udpSize uint16) (Query, error) {
	if dr.kind == Nonexistent {
		q, err := NewQuery(d.nonexistent(a, dr.which), TypeAAAA, udpSize)
		q.Kind = Nonexistent
		q.Want = Want{Known: true, RCode: NXDomain}
		return q, err
	}
	sought, qtype := dr.kind, uint16(TypeAAAA)
	switch dr.kind {
	case AppA:
		sought, qtype = AppAAAA, TypeA
	case MachinesTXT, RegionsTXT:
		qtype = TypeTXT
	}
	var fit []*name
	for i := range names {
		if names[i].kind == sought {
			fit = append(fit, &names[i])
		}
	}
	if len(fit) == 0 {
		fit = append(fit, &names[0])
		dr.kind = AppAAAA
	}
	n := fit[dr.which%uint64(len(fit))]
	q, err := NewQuery(n.owner, qtype, udpSize)
	q.Kind = dr.kind
	q.Want = n.want(qtype)
	return q, err
}

func (n *name) want(qtype uint16) Want {
	w := Want{Known: true, RCode: NoError}
	switch {
	case qtype == TypeAAAA:
		for _, a := range n.addrs {
			ip := a.As16()
			w.Digest += RecordDigest(TypeAAAA, ip[:])
			w.Answers++
		}
	case qtype == TypeTXT && n.text != nil:
		w.Digest = RecordDigest(TypeTXT, appendCharStrings(nil, n.text))
		w.Answers = 1
	}
	return w
}

// nonexistent returns a name that does not exist: of an app, or of a machine, region
// or process group of the app.
func (d *Dataset) nonexistent(a *App, which uint64) string {
	base := a.Name + ".internal"
	switch which % 4 {
	case 0:
		return d.machineID(uint32(d.shape.Machines)+uint32(which>>32)%1024) + ".vm." + base
	case 1:
		for i := range regions {
			region := regions[(uint64(i)+which>>32)%uint64(len(regions))]
			if !a.in(region) {
				return region + "." + base
			}
		}
	case 2:
		return "absent.process." + base
	}
	return "absent-" + base
}

func (a *App) in(region string) bool {
	return slices.ContainsFunc(a.Machines, func(m Machine) bool { return m.Region == region })
}
