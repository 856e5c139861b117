package format

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
)

// The items of a registry file that are not apps. One without the name by which
// faults could call it is left out of the facts; one with other faults is kept,
// so that Validate can say what else is wrong with it.

func (w *walk) peer(i int, v jsontext.Value) {
	var p registry.Peer
	c := &w.cursor
	ok := c.read(v, func(name []byte) {
		switch string(name) {
		case "name":
			s, _ := c.text("name")
			p.Name = registry.Fold(string(s))
		case "address":
			if s, ok := c.text("address"); ok {
				var err error
				if p.Address, err = netip.ParseAddr(string(s)); err != nil {
					c.faultf("address", "%s is no address", quote(string(s)))
				}
			}
		case "region":
			s, _ := c.text("region")
			p.Region = registry.Fold(string(s))
		default:
			c.skip()
		}
	})
	if ok && p.Name == "" {
		c.missing("name")
	}
	if ok && !p.Address.IsValid() {
		c.missing("address")
	}
	if w.add(p.Name, p.String(), i) {
		w.facts.Peers = append(w.facts.Peers, p)
	}
}

func (w *walk) networkName(i int, v jsontext.Value) {
	var n registry.NetworkName
	c := &w.cursor
	ok := c.read(v, func(name []byte) {
		switch string(name) {
		case "name":
			s, _ := c.text("name")
			n.Name = registry.Fold(string(s))
		case "prefix":
			if s, ok := c.text("prefix"); ok {
				var err error
				if n.Network, err = registry.ParseNetwork(string(s)); err != nil {
					c.faultf("prefix", "%v", err)
				}
			}
		default:
			c.skip()
		}
	})
	if ok && n.Name == "" {
		c.missing("name")
	}
	if ok && n.Network == 0 {
		c.missing("prefix")
	}
	if w.add(n.Name, "network "+quote(n.Name), i) {
		w.facts.Networks = append(w.facts.Networks, n)
	}
}

func (w *walk) region(i int, v jsontext.Value) {
	var r registry.Region
	var lat, lon bool
	c := &w.cursor
	ok := c.read(v, func(name []byte) {
		switch string(name) {
		case "code":
			s, _ := c.text("code")
			r.Code = registry.Fold(string(s))
		case "name":
			s, _ := c.text("name")
			r.Name = string(s)
		case "latitude":
			r.Latitude, lat = c.degrees("latitude")
		case "longitude":
			r.Longitude, lon = c.degrees("longitude")
		default:
			c.skip()
		}
	})
	if ok && r.Code == "" {
		c.missing("code")
	}
	if ok && !lat {
		c.missing("latitude")
	}
	if ok && !lon {
		c.missing("longitude")
	}
	if w.add(r.Code, "region "+quote(r.Code), i) {
		w.facts.Regions = append(w.facts.Regions, r)
	}
}

// degrees reads a coordinate. One too large for a float is infinite, and so
// out of range.
func (c *cursor) degrees(field string) (float64, bool) {
	literal, ok := c.number(field)
	f, _ := strconv.ParseFloat(literal, 64)
	return f, ok
}

// add adds the cursor's faults under the object's name, or under its position in
// the list if its key, the name in the file, is empty. It reports whether there
// is a key.
func (w *walk) add(key, object string, i int) bool {
	if key == "" {
		object = fmt.Sprintf("%s[%d]", w.list, i)
	}
	w.faults = append(w.faults, in(object, w.cursor.faults)...)
	return key != ""
}

func (w *walk) rtts(v jsontext.Value) {
	if v.Kind() == jsontext.KindNull {
		return
	}
	c := &w.cursor
	c.readOnce(v, func(name []byte) {
		from := registry.Fold(string(name))
		c.fields(join("", string(name)), func(name []byte) {
			rtt := registry.RTT{From: from, To: registry.Fold(string(name))}
			before := len(c.faults)
			if literal, ok := c.number(""); ok {
				ms, err := wholeMS(literal)
				if err != nil {
					c.faultf("", "%v", err)
				}
				rtt.MS = ms
				w.facts.RTTs = append(w.facts.RTTs, rtt)
			}
			in(fmt.Sprintf("rtt_ms %s to %s", quote(rtt.From), quote(rtt.To)), c.faults[before:])
		})
	}, jsontext.AllowDuplicateNames(true))
	for _, f := range append(duplicates(v), c.faults...) {
		if f.Object == "" {
			f.Field = below("rtt_ms", f.Field)
		}
		w.faults = append(w.faults, f)
	}
}

// wholeMS converts a number as written in JSON to milliseconds.
func wholeMS(literal string) (uint32, error) {
	f, _ := strconv.ParseFloat(literal, 64)
	switch {
	case f < 0:
		return 0, fmt.Errorf("%.20s is negative", literal)
	case f > math.MaxUint32 || f != math.Trunc(f):
		return 0, fmt.Errorf("%.20s is no number of whole milliseconds", literal)
	}
	return uint32(f), nil
}
