package disk

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/netip"

	"github.com/internaldns/internaldns/registry"
)

// A part is what some records hold.
type part struct {
	facts   registry.Facts
	leases  map[registry.MachineKey]registry.Lease
	records uint64
	sum     uint64 // of the records' checksums, in 64 bits
}

// add decodes the body of a record of that bucket into p.
func (p *part) add(d *decoder, bucket string, key, octets []byte) error {
	b := body{rest: octets}
	f := &p.facts
	switch bucket {
	case bMachines:
		m, err := d.machine(key, octets)
		if err != nil {
			return err
		}
		f.Machines = append(f.Machines, m)
		return nil
	case bLeases:
		k, l, err := d.lease(key, octets)
		if err != nil {
			return err
		}
		if p.leases == nil {
			p.leases = make(map[registry.MachineKey]registry.Lease)
		}
		p.leases[k] = l
		return nil
	case bNetworks:
		n, _, err := splitNetworkKey(key)
		if err != nil {
			return err
		}
		f.Networks = append(f.Networks, registry.NetworkName{Network: n, Name: string(b.text())})
	case bApps:
		n, name, err := splitNetworkKey(key)
		if err != nil {
			return err
		}
		f.Apps = append(f.Apps, registry.App{Network: n, Name: string(name), Modified: b.uvarint()})
	case bPeers:
		_, name, err := splitNetworkKey(key)
		if err != nil {
			return err
		}
		f.Peers = append(f.Peers, registry.Peer{
			Name: string(name), Modified: b.uvarint(), Address: b.address(), Region: d.text(b.text()),
		})
	case bFlycast:
		if len(key) != 16 {
			return errKey
		}
		var owner registry.Network
		if o := b.octets(4); o != nil {
			owner = registry.Network(binary.BigEndian.Uint32(o))
		}
		f.Flycast = append(f.Flycast, registry.Flycast{Address: netip.AddrFrom16([16]byte(key)), Owner: owner, App: d.text(b.text())})
	case bRegions:
		f.Regions = append(f.Regions, registry.Region{
			Code: string(key), Name: string(b.text()),
			Latitude: math.Float64frombits(b.uint64()), Longitude: math.Float64frombits(b.uint64()),
		})
	case bRTTs:
		from, to, ok := bytes.Cut(key, []byte{0})
		if !ok {
			return errKey
		}
		f.RTTs = append(f.RTTs, registry.RTT{From: d.text(from), To: d.text(to), MS: uint32(b.uvarint())})
	}
	return b.end()
}

// join adds what q holds.
func (p *part) join(q *part) {
	f, g := &p.facts, &q.facts
	f.Networks = append(f.Networks, g.Networks...)
	f.Apps = append(f.Apps, g.Apps...)
	f.Machines = append(f.Machines, g.Machines...)
	f.Peers = append(f.Peers, g.Peers...)
	f.Flycast = append(f.Flycast, g.Flycast...)
	f.Regions = append(f.Regions, g.Regions...)
	f.RTTs = append(f.RTTs, g.RTTs...)
	for k, l := range q.leases {
		if p.leases == nil {
			p.leases = make(map[registry.MachineKey]registry.Lease)
		}
		p.leases[k] = l
	}
	p.records += q.records
	p.sum += q.sum
}
