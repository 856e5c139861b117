package format

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
)

// ErrTrailing is the error of a text that does not end with its JSON value.
var ErrTrailing = errors.New("there is more after the JSON value")

// An Object is a JSON object whose members can be read and changed. A change of
// one member leaves all other octets as they are: a machine's object belongs to
// its owner, and space, order and spelling come back as they came.
type Object struct {
	octets  []byte
	members []member
}

// A member is where a member is in an object.
type member struct {
	name       string
	begin      int // of its name
	start, end int // of its value
}

// ParseObject parses octets, which must be one JSON object in which no key is
// given twice at any depth. It keeps octets. The error is registry.Faults, or, for
// malformed JSON, ErrTrailing or an error of package jsontext or io.
func ParseObject(octets []byte) (*Object, error) {
	o := &Object{octets: octets}
	dec := jsontext.NewDecoder(bytes.NewBuffer(octets))
	err := o.scan(dec)
	if k := jsontext.Value(octets).Kind(); err == nil && k != jsontext.KindBeginObject {
		return nil, registry.Faults{{Problem: "want an object, got " + KindName(k)}}
	}
	if twice := new(jsontext.SyntacticError); errors.As(err, &twice) && errors.Is(err, jsontext.ErrDuplicateName) {
		return nil, registry.Faults{{Field: path(twice.JSONPointer), Problem: "the key is given twice"}}
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

// NewObject returns an object without members.
func NewObject() *Object { return &Object{octets: []byte("{}")} }

// scan reads the only value of dec and notes the members if it is an object.
func (o *Object) scan(dec *jsontext.Decoder) error {
	if dec.PeekKind() == jsontext.KindBeginObject {
		dec.ReadToken()
		for dec.PeekKind() != jsontext.KindEndObject {
			quoted, err := dec.ReadValue()
			if err != nil {
				return err
			}
			name, _ := jsontext.AppendUnquote(nil, quoted)
			m := member{name: string(name), begin: int(dec.InputOffset()) - len(quoted)}
			value, err := dec.ReadValue()
			if err != nil {
				return err
			}
			m.end = int(dec.InputOffset())
			m.start = m.end - len(value)
			o.members = append(o.members, m)
		}
		dec.ReadToken()
	} else if err := dec.SkipValue(); err != nil {
		return err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return ErrTrailing
	}
	return nil
}

// JSON returns the object's octets. They must not be changed.
func (o *Object) JSON() []byte { return o.octets }

// Names returns the names of the members, in their order.
func (o *Object) Names() []string {
	names := make([]string, len(o.members))
	for i, m := range o.members {
		names[i] = m.name
	}
	return names
}

// index returns where in members a member is, or -1.
func (o *Object) index(name string) int {
	return slices.IndexFunc(o.members, func(m member) bool { return m.name == name })
}

// Value returns the octets of a member's value; nil if there is no such member.
func (o *Object) Value(name string) jsontext.Value {
	i := o.index(name)
	if i < 0 {
		return nil
	}
	return o.octets[o.members[i].start:o.members[i].end]
}

// Text returns a member that is a string, or "".
func (o *Object) Text(name string) string {
	v := o.Value(name)
	if v.Kind() != jsontext.KindString {
		return ""
	}
	s, _ := jsontext.AppendUnquote(nil, v)
	return string(s)
}

// Object returns a member that is an object, or else an empty one. A change of it
// is not a change of o.
func (o *Object) Object(name string) *Object {
	if v := o.Value(name); v.Kind() == jsontext.KindBeginObject {
		if inner, err := ParseObject(v); err == nil {
			return inner
		}
	}
	return NewObject()
}

// Set gives a member another value, which must be JSON. It adds the member at the
// end if there is none.
func (o *Object) Set(name string, value []byte) {
	i := o.index(name)
	if i >= 0 {
		m := &o.members[i]
		o.splice(m.start, m.end, value)
		return
	}
	brace := bytes.LastIndexByte(o.octets, '}')
	end := len(bytes.TrimRight(o.octets[:brace], " \t\r\n"))
	quoted := JSONString(name)
	added := slices.Concat(quoted, []byte(":"), value)
	if len(o.members) > 0 {
		added = append([]byte(","), added...)
	}
	o.splice(end, end, added)
	m := member{name: name, end: end + len(added)}
	m.start = m.end - len(value)
	m.begin = m.start - 1 - len(quoted)
	o.members = append(o.members, m)
}

// Drop removes a member, with the comma beside it, if there is one.
func (o *Object) Drop(name string) {
	i := o.index(name)
	if i < 0 {
		return
	}
	from, to := o.members[i].begin, o.members[i].end
	switch {
	case i+1 < len(o.members):
		to = o.members[i+1].begin
	case i > 0:
		from = o.members[i-1].end
	}
	o.members = slices.Delete(o.members, i, i+1)
	o.splice(from, to, nil)
}

// splice replaces octets[from:to], in a copy, and moves the members after.
func (o *Object) splice(from, to int, with []byte) {
	o.octets = slices.Concat(o.octets[:from], with, o.octets[to:])
	moved := len(with) - (to - from)
	for i := range o.members {
		m := &o.members[i]
		for _, at := range []*int{&m.begin, &m.start, &m.end} {
			if *at >= to && *at > from {
				*at += moved
			}
		}
	}
}

// JSONString returns s as a JSON string. Octets of s that are not UTF-8 are replaced.
func JSONString(s string) []byte {
	b, _ := jsontext.AppendQuote(nil, s)
	return b
}
