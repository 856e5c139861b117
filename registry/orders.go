package registry

import "encoding/binary"

// The orders in which machines are kept, and that of pairs.
const (
	byID      order = 'i' // machine id; gone ones: id, app, sum
	byAddress order = 'a' // address, if not gone
	byNetwork order = 'n' // network, id, if not gone
	byPlace   order = 'p' // app, metadata row, region, id

	byPair order = 'k' // app, sum of a pair, metadata row
)

var machineOrders = [...]order{byID, byAddress, byNetwork, byPlace}

// appendKey appends the key of m in an order, and reports whether m is in it.
func (m *Machine) appendKey(o order, b []byte) ([]byte, bool) {
	if m.Gone() && (o == byAddress || o == byNetwork) {
		return b, false
	}
	switch o {
	case byID:
		if m.Gone() {
			return goneKey(b, m.app, m.ID, m.sum), true
		}
		return machineKey(b, m.ID), true
	case byAddress:
		return addressKey(append(b, byte(o)), m.Address), true
	case byNetwork:
		return append(binary.BigEndian.AppendUint32(append(b, byte(o)), uint32(m.Network)), m.ID...), true
	default:
		return placeKey(b, m), true
	}
}

// machineKey appends the key of the one machine of that id that is not gone.
func machineKey(b []byte, id string) []byte {
	return append(append(append(b, byte(byID)), id...), 0)
}

// goneKey appends the key of a gone machine. Its length tells where the id ends,
// so it is no other's key whatever the id is made of.
func goneKey(b []byte, app uint32, id string, sum uint64) []byte {
	b = binary.BigEndian.AppendUint32(machineKey(b, id), app)
	return binary.BigEndian.AppendUint64(b, sum)
}

// placeKey appends where a machine stands in its app. Gone machines, which have
// no metadata row, stand in the region "".
func placeKey(b []byte, m *Machine) []byte {
	if m.Gone() {
		return goneKey(regionKey(b, metadataID{m.app, 0}, ""), m.app, m.ID, m.sum)
	}
	return append(regionKey(b, metadataID{m.app, m.sum}, m.Region), m.ID...)
}

// regionKey appends what the places of machines with that metadata in that
// region begin with; rowKey, of those with that metadata; placesOf, of those of
// the app.
func regionKey(b []byte, row metadataID, region string) []byte {
	return append(append(rowKey(b, row), region...), 0)
}

func rowKey(b []byte, row metadataID) []byte {
	return binary.BigEndian.AppendUint64(placesOf(b, row.app), row.sum)
}

func placesOf(b []byte, app uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, byte(byPlace)), app)
}
