package format

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
)

// A cursor decodes single JSON objects, field by field. Wrong types do not stop
// it: they become faults and the field counts as not given. A cursor is reused
// for many objects and does not allocate but for faults.
type cursor struct {
	// faults are those of the last object; the field Object is empty.
	faults registry.Faults

	dec     jsontext.Decoder
	src     bytes.Buffer
	name    []byte // the last key
	scratch []byte // the last string
	err     error  // stops all reading: a key is given twice
}

// read calls field for each key of object, which must be well-formed JSON. field
// must consume the value with one of the methods below. name is good until then.
// read reports false, with a fault, if object is none.
//
// A key that is given twice, at any depth, is a fault, and makes read start over
// where it found it: field is called again for the keys before.
func (c *cursor) read(object jsontext.Value, field func(name []byte)) bool {
	ok := c.readOnce(object, field)
	if c.err != nil {
		// Once more, without the check, so that one fault does not hide others.
		c.readOnce(object, field, jsontext.AllowDuplicateNames(true))
		c.faults = append(duplicates(object), c.faults...)
	}
	return ok
}

// readOnce is read without starting over.
func (c *cursor) readOnce(object jsontext.Value, field func(name []byte), opts ...jsontext.Options) bool {
	c.faults, c.err = nil, nil
	if k := object.Kind(); k != jsontext.KindBeginObject {
		c.faultf("", "want an object, got %s", KindName(k))
		return false
	}
	c.src = *bytes.NewBuffer(object)
	c.dec.Reset(&c.src, opts...)
	return c.fields("", field)
}

// fields reads an object that is the value of a field and calls each for its
// keys. It reports false if the value is no object; null is no fault.
func (c *cursor) fields(field string, each func(name []byte)) bool {
	if k := c.dec.PeekKind(); k != jsontext.KindBeginObject {
		if k != jsontext.KindNull {
			c.wants(field, "an object", k)
		}
		c.skip()
		return false
	}
	c.token()
	for c.err == nil && c.dec.PeekKind() != jsontext.KindEndObject {
		quoted, err := c.dec.ReadValue()
		if err != nil {
			c.err = err
			return true
		}
		c.name, _ = jsontext.AppendUnquote(c.name[:0], quoted)
		each(c.name)
	}
	c.token()
	return true
}

// text reads a string. It reports false, with a fault, if the value is something
// else, and without one if it is null. The text is good until the next call.
func (c *cursor) text(field string) ([]byte, bool) {
	v, ok := c.value(field, "a string", jsontext.KindString)
	if !ok {
		return nil, false
	}
	c.scratch, _ = jsontext.AppendUnquote(c.scratch[:0], v)
	return c.scratch, true
}

// number reads a number as it is written. It reports like text.
func (c *cursor) number(field string) (string, bool) {
	v, ok := c.value(field, "a number", jsontext.KindNumber)
	return string(v), ok
}

// boolean reads true or false; anything else is false, and a fault unless it is
// null.
func (c *cursor) boolean(field string) bool {
	k := c.dec.PeekKind()
	if k != jsontext.KindTrue && k != jsontext.KindFalse && k != jsontext.KindNull {
		c.wants(field, "true or false", k)
	}
	c.skip()
	return k == jsontext.KindTrue
}

// value reads a value of one kind. It reports like text.
func (c *cursor) value(field, want string, kind jsontext.Kind) (jsontext.Value, bool) {
	v, err := c.dec.ReadValue()
	if err != nil {
		c.fail(err)
		return nil, false
	}
	k := v.Kind()
	if k != kind && k != jsontext.KindNull {
		c.wants(field, want, k)
	}
	return v, k == kind
}

// skip passes over a value. ReadValue does that in one go, unlike SkipValue.
func (c *cursor) skip() {
	_, err := c.dec.ReadValue()
	c.fail(err)
}

func (c *cursor) token() {
	_, err := c.dec.ReadToken()
	c.fail(err)
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *cursor) wants(field, want string, got jsontext.Kind) {
	if c.err == nil {
		c.faultf(field, "want %s, got %s", want, KindName(got))
	}
}

func (c *cursor) faultf(field, format string, args ...any) {
	c.faults = append(c.faults, registry.Fault{Field: field, Problem: fmt.Sprintf(format, args...)})
}

// isMissing is the problem of a field that must be there and is not.
const isMissing = "is missing"

// missing adds a fault for a field that was not given, unless it was and is
// wrong.
func (c *cursor) missing(field string) {
	for _, f := range c.faults {
		if f.Field == field {
			return
		}
	}
	c.faultf(field, isMissing)
}

// KindName says for people what kind of value k begins.
func KindName(k jsontext.Kind) string {
	switch k {
	case jsontext.KindNull:
		return "null"
	case jsontext.KindTrue:
		return "true"
	case jsontext.KindFalse:
		return "false"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "a list"
	}
	return "nothing"
}

// duplicates returns a fault for every key that is given more than once in one
// object, at any depth of v, which must be well-formed JSON.
func duplicates(v jsontext.Value) (faults registry.Faults) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(v), jsontext.AllowDuplicateNames(true))
	var open []map[string]int // keys of the objects around; nil for a list
	for {
		token, err := dec.ReadToken()
		if err != nil {
			return faults // the end
		}
		switch token.Kind() {
		case jsontext.KindBeginObject:
			open = append(open, make(map[string]int))
			continue
		case jsontext.KindBeginArray:
			open = append(open, nil)
			continue
		case jsontext.KindEndObject, jsontext.KindEndArray:
			open = open[:len(open)-1]
			continue
		}
		// In an object, after a key the number of names and values is odd.
		kind, n := dec.StackIndex(dec.StackDepth())
		if kind != jsontext.KindBeginObject || n%2 == 0 {
			continue
		}
		keys, name := open[len(open)-1], token.String()
		if keys[name]++; keys[name] == 2 {
			faults = append(faults, registry.Fault{
				Field:   path(dec.StackPointer().Parent()),
				Problem: fmt.Sprintf("the key %s is given twice", quote(name)),
			})
		}
	}
}

// path writes a JSON pointer as fields are named in faults, such as
// config.metadata or checks[0].
func path(p jsontext.Pointer) (field string) {
	for token := range p.Tokens() {
		field = join(field, token)
	}
	return field
}

// join names the field key of the object that is the value of field.
func join(field, key string) string {
	switch _, err := strconv.ParseUint(key, 10, 32); {
	case err == nil:
		return field + "[" + key + "]"
	case !plain(key):
		key = quote(key)
	}
	return below(field, key)
}

// below names the field at a path from the value of field.
func below(field, path string) string {
	if field == "" || path == "" || path[0] == '[' {
		return field + path
	}
	return field + "." + path
}

// plain reports whether a key reads well in a message without quotes.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '.' || c == ':' || c == '"' || c >= 0x7f {
			return false
		}
	}
	return 0 < len(s) && len(s) <= 40
}

// in returns faults as faults of object.
func in(object string, faults registry.Faults) registry.Faults {
	for i := range faults {
		faults[i].Object = object
	}
	return faults
}

// quote quotes s for a message, shortened if it is long.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q… (%d octets)", s[:most], len(s))
	}
	return strconv.Quote(s)
}
