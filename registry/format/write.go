package format

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
)

// Write writes facts as a registry file in JSON, from which Parse makes equal facts.
// A machine is written as MachineObject returns it. Equal facts give equal files,
// whatever order they are in: apps are sorted by network and name, machines by id.
//
// The facts must be valid (see registry.Facts.Validate).
func Write(w io.Writer, f *registry.Facts) error {
	p := printer{w: bufio.NewWriter(w)}
	p.raw("{")
	p.apps(f)
	for _, kind := range []registry.Kind{registry.KindPeer, registry.KindNetwork, registry.KindRegion} {
		p.facts(f, kind)
	}
	if len(f.RTTs) > 0 {
		p.rtts(f.RTTs)
	}
	p.raw("\n}\n")
	if p.err != nil {
		return p.err
	}
	return p.w.Flush()
}

// A printer writes JSON, one object a line. After an error it does nothing.
type printer struct {
	w   *bufio.Writer
	buf []byte
	err error
}

func (p *printer) apps(f *registry.Facts) {
	machines := make(map[registry.AppKey][]*registry.Machine)
	for _, m := range f.Machines {
		k := m.AppKey()
		machines[k] = append(machines[k], m)
	}
	flycast := make(map[registry.AppKey][]registry.Flycast)
	for _, a := range f.Flycast {
		k := registry.AppKey{Network: a.Owner, Name: a.App}
		flycast[k] = append(flycast[k], a)
	}
	apps := slices.SortedFunc(slices.Values(f.Apps), func(a, b registry.App) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Name, b.Name))
	})
	p.raw("\n \"apps\": [")
	for i, a := range apps {
		p.next(i, "\n  ")
		p.raw(`{"name": `)
		p.text(a.Name)
		p.raw(`, "network": `)
		p.text(a.Network.String())
		k := a.AppKey()
		p.flycast(flycast[k])
		p.machines(machines[k])
		p.raw("}")
	}
	p.raw("\n ]")
}

func (p *printer) flycast(addresses []registry.Flycast) {
	if len(addresses) == 0 {
		return
	}
	slices.SortFunc(addresses, func(a, b registry.Flycast) int { return a.Address.Compare(b.Address) })
	p.raw(`, "flycast": [`)
	for i, a := range addresses {
		p.next(i, " ")
		p.text(a.Address.String())
	}
	p.raw("]")
}

func (p *printer) machines(machines []*registry.Machine) {
	type object struct {
		id     string
		octets []byte
	}
	objects := make([]object, 0, len(machines))
	for _, m := range machines {
		octets, err := MachineObject(m)
		if err != nil {
			p.fail(fmt.Errorf("%v: %w", m, err))
			return
		}
		objects = append(objects, object{m.ID, octets})
	}
	slices.SortFunc(objects, func(a, b object) int {
		return cmp.Or(cmp.Compare(a.id, b.id), bytes.Compare(a.octets, b.octets))
	})
	p.raw(`, "machines": [`)
	for i, o := range objects {
		p.next(i, "\n   ")
		p.write(o.octets)
	}
	p.raw("]")
}

// MachineObject returns the JSON object of m: the one it was read from, octet for
// octet, or, if there is none, one of its fields.
func MachineObject(m *registry.Machine) ([]byte, error) {
	if octets, err := m.Raw.JSON(); err != nil || octets != nil {
		return octets, err
	}
	var b bytes.Buffer
	p := printer{w: bufio.NewWriter(&b)}
	field := func(name, value string) {
		p.raw(name)
		p.text(value)
	}
	field(`{"id": `, m.ID)
	field(`, "state": `, m.State)
	field(`, "region": `, m.Region)
	if m.Address.IsValid() {
		field(`, "private_ip": `, m.Address.String())
	}
	p.raw(`, "config": {"metadata": {`)
	for i, pair := range m.Metadata {
		p.next(i, " ")
		p.text(pair.Key)
		field(": ", pair.Value)
	}
	p.raw("}")
	if m.Skip {
		p.raw(`, "dns": {"skip_registration": true}`)
	}
	p.raw("}}")
	p.w.Flush()
	return b.Bytes(), p.err
}

// facts writes the list of a kind, if it is not empty.
func (p *printer) facts(f *registry.Facts, kind registry.Kind) {
	var list []registry.Fact
	for fact := range f.Of(kind) {
		list = append(list, fact)
	}
	if len(list) == 0 {
		return
	}
	slices.SortFunc(list, func(a, b registry.Fact) int { return a.Key().Compare(b.Key()) })
	p.raw(",\n ")
	p.text(kind.Plural())
	p.raw(": [")
	for i, fact := range list {
		p.next(i, "\n  ")
		p.raw("{")
		for n, field := range fact.Fields() {
			p.field(n, &field)
		}
		p.raw("}")
	}
	p.raw("\n ]")
}

// field writes the nth field of an object, unless it is optional and empty.
func (p *printer) field(n int, f *registry.Field) {
	text, isText := f.Value.(*string)
	if f.Optional && isText && *text == "" {
		return
	}
	if n > 0 {
		p.raw(", ")
	}
	p.text(f.Name)
	p.raw(": ")
	switch v := f.Value.(type) {
	case *string:
		p.text(*v)
	case *float64:
		p.number(*v)
	case fmt.Stringer: // *netip.Addr and *registry.Network
		p.text(v.String())
	}
}

func (p *printer) rtts(rtts []registry.RTT) {
	rtts = slices.SortedFunc(slices.Values(rtts), func(a, b registry.RTT) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	p.raw(",\n \"rtt_ms\": {")
	for i, r := range rtts {
		if i > 0 && rtts[i-1].From == r.From {
			p.raw(", ")
		} else {
			if i > 0 {
				p.raw("},")
			}
			p.raw("\n  ")
			p.text(r.From)
			p.raw(": {")
		}
		p.text(r.To)
		p.raw(": " + strconv.FormatUint(uint64(r.MS), 10))
	}
	p.raw("}\n }")
}

// next writes the comma and the space before item i of a list.
func (p *printer) next(i int, space string) {
	if i > 0 {
		p.raw(",")
	} else if space == " " {
		return
	}
	p.raw(space)
}

func (p *printer) raw(s string) { p.write([]byte(s)) }

func (p *printer) write(b []byte) {
	if p.err == nil {
		_, p.err = p.w.Write(b)
	}
}

func (p *printer) text(s string) {
	b, err := jsontext.AppendQuote(p.buf[:0], s)
	if err != nil {
		p.fail(fmt.Errorf("%s cannot be written as JSON: %w", registry.Quote(s), err))
	}
	p.buf = b
	p.write(b)
}

func (p *printer) number(f float64) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		p.fail(fmt.Errorf("%v cannot be written as JSON", f))
	}
	p.raw(strconv.FormatFloat(f, 'g', -1, 64))
}

func (p *printer) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}
