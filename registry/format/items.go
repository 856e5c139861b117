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
		o := &w.object
		isObject := o.read(v, func(name []byte) {
			n := slices.IndexFunc(fields, func(f registry.Field) bool { return f.Name == string(name) })
			if n < 0 {
				o.skip()
				return
			}
			given[n] = o.field(&fields[n])
		})
		for n, f := range fields {
			if isObject && !given[n] && !f.Optional {
				o.missing(f.Name)
			}
		}
		object, named := fact.String(), given[0]
		if !named {
			object = fmt.Sprintf("%s[%d]", w.list, i)
		}
		w.faults = append(w.faults, in(object, o.faults)...)
		if named {
			w.facts.Add(fact)
		}
	}
}

// field reads the value of f, and reports whether there is one. The empty string is
// none.
func (r *reader) field(f *registry.Field) (given bool) {
	if value, ok := f.Value.(*float64); ok {
		*value, given = r.degrees(f.Name)
		return given
	}
	octets, _ := r.text(f.Name)
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
		*value, err = parseAddress(text)
	case *registry.Network:
		*value, err = registry.ParseNetwork(text)
	}
	if err != nil {
		r.faultf(f.Name, "%v", err)
	}
	return err == nil
}

// degrees reads a coordinate. One that is too large for a float64 is infinite, and
// so out of range.
func (r *reader) degrees(field string) (float64, bool) {
	literal, ok := r.number(field)
	f, _ := strconv.ParseFloat(literal, 64)
	return f, ok
}

// rtts reads rtt_ms. Faults of a round trip name its two regions.
func (w *walk) rtts() {
	v := w.next()
	if w.err != nil || v.Kind() == jsontext.KindNull {
		return
	}
	o := &w.object
	o.readOnce(v, func(name []byte) {
		from := registry.Fold(string(name))
		o.fields(join("", string(name)), func(name []byte) {
			rtt := registry.RTT{From: from, To: registry.Fold(string(name))}
			before := len(o.faults)
			if literal, ok := o.number(""); ok {
				ms, err := wholeMS(literal)
				if err != nil {
					o.faultf("", "%v", err)
				}
				rtt.MS = ms
				w.facts.RTTs = append(w.facts.RTTs, rtt)
			}
			in(fmt.Sprintf("rtt_ms %s to %s", registry.Quote(rtt.From), registry.Quote(rtt.To)), o.faults[before:])
		})
	}, true)
	for _, f := range append(duplicates(v), o.faults...) {
		if f.Object == "" {
			f.Field = below("rtt_ms", f.Field)
		}
		w.faults = append(w.faults, f)
	}
}

// parseAddress parses an address. The error is for a fault.
func parseAddress(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		err = fmt.Errorf("%s is no address", registry.Quote(s))
	}
	return addr, err
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
