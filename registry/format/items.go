package format

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
)

// fact returns the function that reads item i of the list of a kind. An item without
// the field by which faults could name it is left out of the facts. One with other
// faults is not, so that Validate can find what else is wrong with it.
func (w *walk) fact(kind registry.Kind) func(i int, v jsontext.Value) {
	return func(i int, v jsontext.Value) {
		fact := registry.Key{Kind: kind}.Fact()
		fields := fact.Fields()
		given := make([]bool, len(fields))
		c := &w.cursor
		isObject := c.read(v, func(name []byte) {
			n := slices.IndexFunc(fields, func(f registry.Field) bool { return f.Name == string(name) })
			if n < 0 {
				c.skip()
				return
			}
			given[n] = c.field(&fields[n])
		})
		for n, f := range fields {
			if isObject && !given[n] && !f.Optional {
				c.missing(f.Name)
			}
		}
		object, named := fact.String(), given[0]
		if !named {
			object = fmt.Sprintf("%s[%d]", w.list, i)
		}
		w.faults = append(w.faults, in(object, c.faults)...)
		if named {
			w.facts.Add(fact)
		}
	}
}

// field reads the value of f, and reports whether there is one. The empty string is
// none.
func (c *cursor) field(f *registry.Field) (given bool) {
	if value, ok := f.Value.(*float64); ok {
		*value, given = c.degrees(f.Name)
		return given
	}
	octets, _ := c.text(f.Name)
	text := string(octets)
	if text == "" {
		return false
	}
	var err error
	switch value := f.Value.(type) {
	case *string:
		if *value = text; f.Lower {
			*value = registry.Fold(text)
		}
	case *netip.Addr:
		if *value, err = netip.ParseAddr(text); err != nil {
			err = fmt.Errorf("%s is no address", quote(text))
		}
	case *registry.Network:
		*value, err = registry.ParseNetwork(text)
	}
	if err != nil {
		c.faultf(f.Name, "%v", err)
	}
	return err == nil
}

// degrees reads a coordinate. One too large for a float is infinite, and so
// out of range.
func (c *cursor) degrees(field string) (float64, bool) {
	literal, ok := c.number(field)
	f, _ := strconv.ParseFloat(literal, 64)
	return f, ok
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
