package api

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// The functions of this file change single fields of JSON objects and leave all
// other octets as they are: machines' objects are their owners', and space,
// order and spelling come back as they came. Objects must be well-formed.

// members calls each for every member of object, with the value's octets.
func members(object []byte, each func(name string, value jsontext.Value)) {
	scan(object, func(m member) { each(m.name, object[m.start:m.end]) })
}

// A member is where one stands in an object.
type member struct {
	name       string
	begin      int // of its name
	start, end int // of its value
}

// scan calls each for every member of object, and returns where its closing
// brace stands.
func scan(object []byte, each func(member)) (brace int) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(object), jsontext.AllowDuplicateNames(true))
	dec.ReadToken()
	for dec.PeekKind() == jsontext.KindString {
		quoted, err := dec.ReadValue()
		if err != nil {
			break
		}
		end := int(dec.InputOffset())
		m := member{begin: end - len(quoted)}
		name, _ := jsontext.AppendUnquote(nil, quoted)
		m.name = string(name)
		value, err := dec.ReadValue()
		if err != nil {
			break
		}
		m.end = int(dec.InputOffset())
		m.start = m.end - len(value)
		each(m)
	}
	dec.ReadToken()
	return int(dec.InputOffset()) - 1
}

// field returns the value of a field, or nil.
func field(object []byte, name string) (value jsontext.Value) {
	members(object, func(n string, v jsontext.Value) {
		if n == name {
			value = v
		}
	})
	return value
}

// setField returns object with another value of a field, which is added at the
// end if there was none.
func setField(object []byte, name string, value []byte) []byte {
	at, members := member{start: -1}, 0
	brace := scan(object, func(m member) {
		members++
		if m.name == name {
			at = m
		}
	})
	if at.start >= 0 {
		return splice(object, at.start, at.end, value)
	}
	added := memberOf(name, value)
	if members > 0 {
		added = append([]byte(","), added...)
	}
	end := len(bytes.TrimRight(object[:brace], " \t\r\n"))
	return splice(object, end, end, added)
}

// replaceField is setField for a field that is there, and changes nothing if it
// is not.
func replaceField(object []byte, name string, value []byte) []byte {
	if field(object, name) == nil {
		return object
	}
	return setField(object, name, value)
}

// dropField returns object without a field, and the comma beside it.
func dropField(object []byte, name string) []byte {
	var all []member
	at := -1
	scan(object, func(m member) {
		if m.name == name {
			at = len(all)
		}
		all = append(all, m)
	})
	switch {
	case at < 0:
		return object
	case at+1 < len(all):
		return splice(object, all[at].begin, all[at+1].begin, nil)
	case at > 0:
		return splice(object, all[at-1].end, all[at].end, nil)
	}
	return splice(object, all[at].begin, all[at].end, nil)
}

func memberOf(name string, value []byte) []byte {
	b, _ := jsontext.AppendQuote(nil, name) // fails for no name that was decoded, or is ours
	return append(append(b, ':'), value...)
}

// splice returns a copy of b with b[from:to] replaced.
func splice(b []byte, from, to int, with []byte) []byte {
	out := make([]byte, 0, len(b)-(to-from)+len(with))
	return append(append(append(out, b[:from]...), with...), b[to:]...)
}

// quoted returns s as a JSON string.
func quoted(s string) []byte {
	b, _ := jsontext.AppendQuote(nil, s)
	return b
}
