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
	const put, del = "put", "delete"
	switch e := e.(type) {
	case registry.PutNetwork:
		return importItem{put, "network", e.Network.String(), "", e.Name}
	case registry.DeleteNetwork:
		return importItem{del, "network", e.Network.String(), "", ""}
	case registry.PutApp:
		return importItem{put, "app", e.Network.String(), "", e.Name}
	case registry.DeleteApp:
		return importItem{del, "app", e.Network.String(), "", e.Name}
	case registry.PutMachine:
		return importItem{put, "machine", e.Network.String(), e.App, e.ID}
	case registry.DeleteMachine:
		return importItem{del, "machine", e.Network.String(), e.App, e.ID}
	case registry.PutPeer:
		return importItem{put, "peer", e.Peer.Network().String(), "", e.Name}
	case registry.DeletePeer:
		return importItem{del, "peer", e.Network.String(), "", e.Name}
	case registry.PutFlycast:
		return importItem{put, "flycast", e.Flycast.Network().String(), e.App, e.Address.String()}
	case registry.DeleteFlycast:
		n, _ := registry.NetworkOf(e.Address)
		return importItem{del, "flycast", n.String(), "", e.Address.String()}
	case registry.PutRegion:
		return importItem{put, "region", "", "", e.Code}
	case registry.DeleteRegion:
		return importItem{del, "region", "", "", e.Code}
	case registry.PutRTT:
		return importItem{put, "rtt", "", "", e.From + "-" + e.To}
	case registry.DeleteRTT:
		return importItem{del, "rtt", "", "", e.From + "-" + e.To}
	}
	return importItem{}
}
