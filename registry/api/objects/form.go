package objects

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// A Form is a JSON object whose members are taken out one after the other. It
// collects what is wrong with them, so that the client gets all faults at once.
type Form struct {
	*format.Object
	Name   string          // of the object, for faults
	Faults registry.Faults // so far
	taken  map[string]bool
}

// ParseForm parses body, which must be one JSON object in which no key is given
// twice at any depth. A nil body is an empty object. name is the object's name in
// faults.
func ParseForm(name string, body []byte) (*Form, error) {
	if body == nil {
		body = []byte("{}")
	}
	o, err := format.ParseObject(body)
	if err != nil {
		return nil, malformed(err, name)
	}
	return &Form{Object: o, Name: name, taken: make(map[string]bool)}, nil
}

// malformed returns the error of a body that could not be parsed because of err.
// A fault of the whole body gets the object's name.
func malformed(err error, object string) error {
	var faults registry.Faults
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.As(err, &faults):
		if faults[0].Field == "" {
			faults[0].Object = object
		}
		return faults
	case errors.Is(err, format.ErrTrailing):
		return Failf(http.StatusBadRequest, "the body goes on after its JSON value")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Failf(http.StatusBadRequest, "the body is no JSON: it ends too early")
	case errors.As(err, &syntactic):
		return Failf(http.StatusBadRequest, "the body is no JSON: %v after octet %d", syntactic.Err, syntactic.ByteOffset)
	}
	return Failf(http.StatusBadRequest, "the body is no JSON: %v", err)
}

// Faultf adds a fault of a member.
func (f *Form) Faultf(field, format string, args ...any) {
	f.Faults = append(f.Faults, registry.Fault{Object: f.Name, Field: field, Problem: fmt.Sprintf(format, args...)})
}

// Take returns the value of a member; nil if it is not given, or null.
func (f *Form) Take(field string) jsontext.Value {
	f.taken[field] = true
	v := f.Value(field)
	if v.Kind() == jsontext.KindNull {
		return nil
	}
	return v
}

// take is Take for a value of one of some kinds. Another one is a fault, and nil.
func (f *Form) take(field, want string, kinds ...jsontext.Kind) jsontext.Value {
	v := f.Take(field)
	if k := v.Kind(); v != nil && !slices.Contains(kinds, k) {
		f.Faultf(field, "want %s, got %s", want, format.KindName(k))
		return nil
	}
	return v
}

// String takes a string; "" if it is not given.
func (f *Form) String(field string) string {
	if f.take(field, "a string", jsontext.KindString) == nil {
		return ""
	}
	return f.Text(field)
}

// Bool takes true or false; false if it is not given.
func (f *Form) Bool(field string) bool {
	return f.take(field, "true or false", jsontext.KindTrue, jsontext.KindFalse).Kind() == jsontext.KindTrue
}

// Address takes an address, which must be given.
func (f *Form) Address(field string) netip.Addr {
	before := len(f.Faults)
	s := f.String(field)
	if len(f.Faults) > before {
		return netip.Addr{}
	}
	if s == "" {
		f.Faultf(field, "is missing")
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		f.Faultf(field, "%s is no address", registry.Quote(s))
	}
	return a
}

// SameName takes name, which may be given if it is the one of the path.
func (f *Form) SameName(name string) {
	if s := f.String("name"); s != "" && registry.Fold(s) != name {
		f.Faultf("name", "%s is not the name of the path", registry.Quote(s))
	}
}

// Rest returns the names of the members that were not taken, in their order.
func (f *Form) Rest() []string {
	return slices.DeleteFunc(f.Names(), func(name string) bool { return f.taken[name] })
}

// Check adds the faults that the registry finds in facts by themselves.
func (f *Form) Check(facts registry.Facts) {
	var faults registry.Faults
	if errors.As(facts.Validate(), &faults) {
		f.Faults = append(f.Faults, faults...)
	}
}

// End faults all members that were not taken: a misspelt one must not count as
// not given. It returns all faults.
func (f *Form) End() error {
	for _, name := range f.Rest() {
		f.Faultf(name, "is not known")
	}
	return f.Faults.Err()
}
