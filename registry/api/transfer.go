package api

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/objects"
	"github.com/internaldns/internaldns/registry/api/watch"
	"github.com/internaldns/internaldns/registry/format"
)

// Import and export transfer a whole registry file. With a token for some networks,
// they transfer only the facts of these: facts of other networks, names of networks
// and regions are neither shown nor changed.

// exportFacts is GET /v1/export.
func (c *call) exportFacts() error {
	exporting := c.api.exporting
	if !c.who.all {
		exporting = c.api.exportingPart
	}
	select {
	case exporting <- struct{}{}:
		defer func() { <-exporting }()
	default:
		return failf(http.StatusServiceUnavailable, "%d exports are being read, which is the most", maxExports)
	}
	facts := c.snap.Facts()
	if !c.who.all {
		facts = c.who.part(facts)
	}
	c.w.Header().Set("Content-Type", "application/json")
	return format.Write(slowWriter{c}, facts)
}

// part returns the facts that the grant may write.
func (g *grant) part(f *registry.Facts) *registry.Facts {
	part := new(registry.Facts)
	for fact := range f.All() {
		if g.covers(registry.Put(fact)) {
			part.Add(fact)
		}
	}
	return part
}

// keep returns the elements of list for which is is true.
func keep[T any](list []T, is func(T) bool) (kept []T) {
	for _, v := range list {
		if is(v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// An importBody lists what an import has changed, or would change.
type importBody struct {
	Index   uint64             `json:"index"`
	DryRun  bool               `json:"dry_run"`
	Changes int                `json:"changes"`
	Losses  []objects.LossBody `json:"losses,omitempty"` // networks that lose more than half of their machines
	Events  []importItem       `json:"events,omitempty"` // the first maxItems changes
}

// importTime bounds how long an import's body may take to come, and then how long the
// import itself may take. A million machines take seconds, but minutes over a slow
// connection. Meanwhile no other import is read.
const importTime = 5 * time.Minute

// maxItems bounds how many changes the answer to an import lists.
const maxItems = 1000

// importFacts is POST /v1/import: the file's facts replace the registry's, in one
// commit, or nothing changes.
func (c *call) importFacts() error {
	for _, name := range []string{"If-Match", "If-None-Match"} {
		if c.r.Header[name] != nil { // a client that sends it relies on it
			return failf(http.StatusBadRequest, "an import takes no %s: it is of many objects", name)
		}
	}
	force, err := c.flag("force")
	if err != nil {
		return err
	}
	dry, err := c.flag("dry_run")
	if err != nil {
		return err
	}
	importing := &c.api.importing
	if !c.who.all {
		importing = &c.api.importingPart
	}
	if !importing.TryLock() {
		return failf(http.StatusServiceUnavailable, "another import is being read; try again when it is done")
	}
	defer importing.Unlock()
	facts, err := c.readFacts()
	if err != nil {
		return err
	}
	var b importBody
	decide := func(s *registry.Snapshot) (w registry.Write, err error) {
		w.Events = c.who.difference(s, facts)
		losses := s.Halved(w.Events)
		b = importBody{DryRun: dry, Changes: len(w.Events), Events: itemsOf(w.Events), Losses: lossBodies(losses)}
		if len(losses) > 0 && !force && !dry {
			f := failf(http.StatusConflict, "the file takes away more than half of the machines of %v (%d of %d): import it with ?force=true if that is meant",
				losses[0].Network, losses[0].Lost, losses[0].Of)
			f.Body.Losses = b.Losses
			return w, f
		}
		return w, nil
	}
	if dry {
		w, err := decide(c.snap)
		if err == nil {
			err = c.who.mayWrite(c.snap, w.Events)
		}
		if err != nil {
			return err
		}
		b.Index = c.snap.Index
		return c.answer(http.StatusOK, b)
	}
	c.patience = importTime
	c.writeBefore(importTime + writeStep)
	if b.Index, err = c.writeIndex(decide); err != nil {
		return err
	}
	return c.answer(http.StatusOK, b)
}

func lossBodies(losses []registry.Loss) (bodies []objects.LossBody) {
	for _, l := range losses[:min(len(losses), maxListed)] {
		bodies = append(bodies, objects.LossBody{Network: l.Network.String(), Lost: l.Lost, Of: l.Of})
	}
	return bodies
}

// readFacts reads a registry file from the body. Facts outside the grant are faults.
func (c *call) readFacts() (*registry.Facts, error) {
	if err := c.plainBody(); err != nil {
		return nil, err
	}
	if err := c.mediaType("application/json", "application/yaml", "application/x-yaml", "text/yaml"); err != nil {
		return nil, err
	}
	name := "import.yaml"
	if c.mediaType("application/json") == nil {
		name = "import.json"
	}
	from, err := c.body(c.api.MaxImport)
	if err != nil {
		return nil, err
	}
	body := &slowReader{c: c, from: from, until: time.Now().Add(importTime)}
	facts, err := format.Parse(name, body, nil)
	if body.err != nil && !errors.Is(body.err, io.EOF) {
		return nil, bodyError(body.err)
	}
	if err != nil {
		return nil, err
	}
	return facts, c.who.owns(facts)
}

// owns returns a fault for each fact that is outside the grant.
func (g *grant) owns(f *registry.Facts) error {
	if g.all {
		return nil
	}
	var faults registry.Faults
	fault := func(object, field, problem string) {
		faults = append(faults, registry.Fault{Object: object, Field: field, Problem: problem})
	}
	for _, a := range f.Apps {
		if !g.sees(a.Network) {
			fault("app "+registry.Quote(a.Name), "network", "the token is not for "+a.Network.String())
		}
	}
	for i := range f.Peers {
		if p := &f.Peers[i]; !g.sees(p.Network()) {
			fault(p.String(), "address", "the token is not for "+p.Network().String())
		}
	}
	for i := range f.Flycast {
		if a := &f.Flycast[i]; !g.sees(a.Network()) {
			fault(a.String(), "flycast", "the token is not for "+a.Network().String())
		}
	}
	for _, part := range []struct {
		name  string
		given bool
	}{{"networks", len(f.Networks) > 0}, {"regions", len(f.Regions) > 0}, {"rtt_ms", len(f.RTTs) > 0}} {
		if part.given {
			fault("", part.name, "takes a token for all networks")
		}
	}
	return faults.Err()
}

// difference returns the events that replace the facts in the grant by f.
func (g *grant) difference(s *registry.Snapshot, f *registry.Facts) []registry.Event {
	events := s.Diff(f)
	if g.all {
		return events
	}
	return keep(events, func(e registry.Event) bool {
		if k := e.Fact.Key(); e.Delete && k.Kind == registry.KindFlycast {
			if f := s.FlycastAt(k.Address); f == nil || !g.sees(f.Owner) {
				return false
			}
		}
		return g.covers(e)
	})
}

// An importItem is one change of an import.
type importItem struct {
	Do      string `json:"do"` // put or delete
	Kind    string `json:"kind"`
	Network string `json:"network,omitzero"`
	App     string `json:"app,omitzero"`
	Name    string `json:"name,omitzero"` // id, name, address or code
}

// itemsOf lists the first maxItems of the events.
func itemsOf(events []registry.Event) (items []importItem) {
	for _, e := range events[:min(len(events), maxItems)] {
		k := e.Fact.Key()
		item := importItem{Do: "put", Kind: k.Kind.String()}
		if e.Delete {
			item.Do = "delete"
		}
		if k.Kind != registry.KindRegion && k.Kind != registry.KindRTT {
			item.Network = k.In().String()
		}
		item.App, item.Name = watch.Names(e.Fact)
		items = append(items, item)
	}
	return items
}
