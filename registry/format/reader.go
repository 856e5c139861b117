package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
)

// A reader reads JSON values one after the other. A value of another type than
// the wanted one becomes a fault, and its field counts as not given. Malformed
// JSON ends the reading: after that, all methods do nothing. A reader allocates
// only for faults.
type reader struct {
	dec     *jsontext.Decoder
	unique  bool            // fields finds keys that are given twice; otherwise dec does, which ends the reading
	faults  registry.Faults // so far; Object is empty
	invalid bool            // the next value is malformed, or the source has failed
	err     error           // why the reading has ended
	onEnd   func(err error) // called once when it has; may be nil
	name    []byte          // the last key
	scratch []byte          // the last string
}

// fields reads the object that is the value of a field and calls each for its
// keys. each must read the value; name is good until then. fields reports false
// if the value is no object, which is a fault unless it is null.
func (r *reader) fields(field string, each func(name []byte)) bool {
	if k := r.peek(); k != jsontext.KindBeginObject {
		if r.skip(); k != jsontext.KindNull {
			r.wants(field, "an object", k)
		}
		return false
	}
	r.token()
	var seen map[string]bool
	if r.unique {
		seen = make(map[string]bool)
	}
	for r.more(jsontext.KindEndObject) {
		quoted := r.next()
		if r.err != nil {
			break
		}
		r.name, _ = jsontext.AppendUnquote(r.name[:0], quoted)
		if r.unique {
			name := string(r.name)
			if seen[name] {
				r.faultf(field, "the key %s is given twice", registry.Quote(name))
			}
			seen[name] = true
		}
		each(r.name)
	}
	return true
}

// items reads the list that is the value of a field and calls each at the
// beginning of its items, which each must read. Another value is a fault, unless
// it is null.
func (r *reader) items(field string, each func(i int)) {
	if k := r.peek(); k != jsontext.KindBeginArray {
		if r.skip(); k != jsontext.KindNull {
			r.wants(field, "a list", k)
		}
		return
	}
	r.token()
	for i := 0; r.more(jsontext.KindEndArray); i++ {
		each(i)
	}
}

// more reports whether another key or item comes. If not, it reads the end.
func (r *reader) more(end jsontext.Kind) bool {
	if r.err != nil {
		return false
	}
	if r.peek() != end {
		return true
	}
	r.token()
	return false
}

// peek returns the kind of the next value. If it is invalid, reading it fails.
func (r *reader) peek() jsontext.Kind {
	if r.invalid {
		return jsontext.KindInvalid // dec would read on after an error of its source
	}
	k := r.dec.PeekKind()
	r.invalid = k == jsontext.KindInvalid
	return k
}

// text reads a string. It reports false if the value is another one, which is a
// fault unless it is null. The text is good until the next call.
func (r *reader) text(field string) ([]byte, bool) {
	v, ok := r.value(field, "a string", jsontext.KindString)
	if !ok {
		return nil, false
	}
	r.scratch, _ = jsontext.AppendUnquote(r.scratch[:0], v)
	return r.scratch, true
}

// lower reads a string in lower case; "" if the value is another one.
func (r *reader) lower(field string) string {
	s, _ := r.text(field)
	return registry.Fold(string(s))
}

// parsed reads a string and calls parse with it. Its error is a fault.
func (r *reader) parsed(field string, parse func(s string) error) {
	if s, ok := r.text(field); ok {
		if err := parse(string(s)); err != nil {
			r.faultf(field, "%v", err)
		}
	}
}

// number reads a number and returns it as it is written. It reports like text.
func (r *reader) number(field string) (string, bool) {
	v, ok := r.value(field, "a number", jsontext.KindNumber)
	return string(v), ok
}

// boolean reads true or false; anything else counts as false, and is a fault
// unless it is null.
func (r *reader) boolean(field string) bool {
	k := r.peek()
	if r.skip(); k != jsontext.KindTrue && k != jsontext.KindFalse && k != jsontext.KindNull {
		r.wants(field, "true or false", k)
	}
	return k == jsontext.KindTrue
}

// value reads a value of one kind. It reports like text.
func (r *reader) value(field, want string, kind jsontext.Kind) (jsontext.Value, bool) {
	v := r.next()
	k := v.Kind()
	if k != kind && k != jsontext.KindNull {
		r.wants(field, want, k)
	}
	return v, r.err == nil && k == kind
}

// next reads a value, which is good until the next call; nil if there is none.
func (r *reader) next() jsontext.Value {
	if r.err != nil {
		return nil
	}
	v, err := r.dec.ReadValue()
	if err != nil {
		r.end(err)
		return nil
	}
	return v
}

// skip passes over a value. (ReadValue does that in one go, unlike SkipValue.)
func (r *reader) skip() { r.next() }

func (r *reader) token() {
	if r.err != nil {
		return
	}
	if _, err := r.dec.ReadToken(); err != nil {
		r.end(err)
	}
}

// end ends the reading because of err.
func (r *reader) end(err error) {
	if r.err != nil {
		return
	}
	r.err = err
	if r.onEnd != nil {
		r.onEnd(err)
	}
}

func (r *reader) wants(field, want string, got jsontext.Kind) {
	if r.err == nil {
		r.faultf(field, "want %s, got %s", want, KindName(got))
	}
}

func (r *reader) faultf(field, format string, args ...any) {
	r.faults = append(r.faults, registry.Fault{Field: field, Problem: fmt.Sprintf(format, args...)})
}

// isMissing is the problem of a field that must be given and is not.
const isMissing = "is missing"

// missing adds a fault for a field that was not given, unless it has one already
// because it was given wrongly.
func (r *reader) missing(field string) {
	if !hasFault(r.faults, field) {
		r.faultf(field, isMissing)
	}
}

// hasFault reports whether one of the faults is about a field.
func hasFault(faults registry.Faults, field string) bool {
	for _, f := range faults {
		if f.Field == field {
			return true
		}
	}
	return false
}

// An objectReader reads JSON objects that are in memory, one after the other.
type objectReader struct {
	reader
	decoder jsontext.Decoder
	src     bytes.Buffer
}

// read reads object and calls field for each of its keys. field must read the
// value with a method of reader; name is good until then. Afterwards, faults are
// those of object. read reports false if it is no object, which is a fault, or
// malformed, which is in err.
//
// A key that is given twice, at any depth, is a fault. Then read starts over:
// field is called again for the keys before.
func (r *objectReader) read(object jsontext.Value, field func(name []byte)) bool {
	ok := r.readOnce(object, field, false)
	if errors.Is(r.err, jsontext.ErrDuplicateName) {
		// Once more without the check, so that one fault does not hide others.
		if ok = r.readOnce(object, field, true); ok {
			r.faults = append(duplicates(object), r.faults...)
		}
	}
	return ok
}

// readOnce is read without starting over. Keys may be given twice if repeats is
// true.
func (r *objectReader) readOnce(object jsontext.Value, field func(name []byte), repeats bool) bool {
	r.faults, r.invalid, r.err, r.dec = nil, false, nil, &r.decoder
	r.src = *bytes.NewBuffer(object)
	r.dec.Reset(&r.src, jsontext.AllowDuplicateNames(repeats))
	k := r.peek()
	if k == jsontext.KindNull {
		r.wants("", "an object", k) // fields would let it pass
	}
	ok := r.fields("", field)
	if r.err == nil {
		if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
			r.end(ErrTrailing)
		}
	}
	return ok && r.err == nil
}

// KindName names for people the kind of a value.
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
				Problem: fmt.Sprintf("the key %s is given twice", registry.Quote(name)),
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
		key = registry.Quote(key)
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

// plain reports whether a key can be read in a message without quotes.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '.' || c == ':' || c == '"' || c >= 0x7f {
			return false
		}
	}
	return 0 < len(s) && len(s) <= 40
}

// in sets the object of faults and returns them.
func in(object string, faults registry.Faults) registry.Faults {
	for i := range faults {
		faults[i].Object = object
	}
	return faults
}
