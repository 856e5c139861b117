package api

import (
	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/watch"
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
	item.App, item.Name = watch.Names(e.Fact)
	return item
}
