package api

import (
	"github.com/internaldns/internaldns/registry"
)

// An importItem is one change of an import.
type importItem struct {
	Do      string `json:"do"` // put or delete
	Kind    string `json:"kind"`
	Network string `json:"network,omitzero"`
	App     string `json:"app,omitzero"`
	Name    string `json:"name,omitzero"` // id, name, address or code
}

// itemsOf lists the first of the events.
func itemsOf(events []registry.Event) []importItem {
	var items []importItem
	for _, e := range events[:min(len(events), maxItems)] {
		items = append(items, itemOf(e))
	}
	return items
}

func itemOf(e registry.Event) importItem {
	k := e.Fact.Key()
	item := importItem{Do: "put", Kind: k.Kind.String()}
	if e.Delete {
		item.Do = "delete"
	}
	if k.Kind != registry.KindRegion && k.Kind != registry.KindRTT {
		item.Network = k.In().String()
	}
	item.App, item.Name = namesOf(e.Fact)
	return item
}

// namesOf returns the names of a fact: its app, if it is in one, and its id, name,
// address or code.
func namesOf(f registry.Fact) (app, name string) {
	switch f := f.(type) {
	case *registry.NetworkName:
		return "", f.Name
	case *registry.Machine:
		return f.App, f.ID
	case *registry.Flycast:
		return f.App, f.Address.String()
	case *registry.RTT:
		return "", f.From + "-" + f.To
	}
	return "", f.Key().Name
}
