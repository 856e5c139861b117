package disk

import (
	"encoding/binary"
	"math"

	"github.com/internaldns/internaldns/registry"
)

// records returns what a commit changes in the database: deletions first, for
// what replaces something may stand under its key.
func records(c *registry.Changes) (list []record) {
	for _, ch := range c.Machines {
		if b, a := ch.Before, ch.After; b != nil && (a == nil || !sameKey(b, a)) {
			list = append(list, record{bMachines, machineKey(b), nil})
		}
	}
	for _, ch := range c.Machines {
		if ch.After != nil {
			list = append(list, machineRecord(ch.After))
		}
	}
	list = appendChanges(list, c.Names, nameRecord)
	list = appendChanges(list, c.Apps, appRecord)
	list = appendChanges(list, c.Peers, peerRecord)
	list = appendChanges(list, c.Flycast, flycastRecord)
	list = appendChanges(list, c.Regions, regionRecord)
	return appendChanges(list, c.RTTs, rttRecord)
}

// sameKey reports whether it is certain that two machines have one key.
func sameKey(a, b *registry.Machine) bool {
	return !a.Gone() && !b.Gone() && a.ID == b.ID && a.App == b.App && a.Network == b.Network
}

// appendChanges appends the records of changes of objects, whose own are of.
func appendChanges[T any](list []record, changes []registry.Change[T], of func(*T) record) []record {
	for _, ch := range changes {
		if ch.Before != nil {
			rec := of(ch.Before)
			rec.value = nil
			list = append(list, rec)
		}
	}
	for _, ch := range changes {
		if ch.After != nil {
			rec := of(ch.After)
			rec.value = seal(rec.bucket, rec.key, rec.value)
			list = append(list, rec)
		}
	}
	return list
}

// The record functions return records whose values are not sealed yet.

func nameRecord(n *registry.NetworkName) record {
	return record{bNetworks, networkKey(n.Network, ""), appendText(nil, n.Name)}
}

func appRecord(a *registry.App) record {
	return record{bApps, networkKey(a.Network, a.Name), binary.AppendUvarint(nil, a.Modified)}
}

func peerRecord(p *registry.Peer) record {
	b := binary.AppendUvarint(nil, p.Modified)
	b = appendText(appendAddress(b, p.Address), p.Region)
	return record{bPeers, networkKey(p.Network(), p.Name), b}
}

func flycastRecord(f *registry.Flycast) record {
	return record{bFlycast, addressKey(f.Address), appendText(networkKey(f.Owner, ""), f.App)}
}

func regionRecord(r *registry.Region) record {
	b := appendText(nil, r.Name)
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(r.Latitude))
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(r.Longitude))
	return record{bRegions, []byte(r.Code), b}
}

func rttRecord(r *registry.RTT) record {
	return record{bRTTs, rttKey(r), binary.AppendUvarint(nil, uint64(r.MS))}
}
