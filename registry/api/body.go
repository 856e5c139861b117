package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// maxBody is the largest body, in octets, but for imports. A machine's object
// takes some 600, and one with files in its config some thousands.
const maxBody = 1 << 20

// readBody returns the body of a request without the space around it; nil if it
// is empty. Anything but JSON is refused.
func (c *call) readBody() ([]byte, error) {
	if err := c.plainBody(); err != nil {
		return nil, err
	}
	from, err := c.body(maxBody)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(from)
	if err != nil {
		return nil, bodyError(err)
	}
	if body = bytes.Trim(body, " \t\r\n"); len(body) == 0 {
		return nil, nil
	}
	return body, c.mediaType("application/json")
}

// body returns the body of the request, of which no more than limit octets can be
// read. One that says it is longer is refused before any of it has come.
func (c *call) body(limit int64) (io.Reader, error) {
	if c.r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	return http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, limit), nil
}

// bodyError says why a body could not be read.
func bodyError(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return failf(http.StatusBadRequest, "the body did not come whole: %v", err)
}

// plainBody refuses bodies that are encoded.
func (c *call) plainBody() error {
	if e := c.r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return failf(http.StatusUnsupportedMediaType, "the Content-Encoding %s is not supported", quote(e))
	}
	return nil
}

// mediaType refuses bodies of other types than the given ones. Browsers cannot
// send these to another site without asking it first, and so are kept out once
// more.
func (c *call) mediaType(types ...string) error {
	given := c.r.Header.Get("Content-Type")
	t, params, err := mime.ParseMediaType(given)
	if err != nil || !slices.Contains(types, t) {
		return failf(http.StatusUnsupportedMediaType, "the Content-Type must be %s, got %s", strings.Join(types, " or "), quote(given))
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return failf(http.StatusUnsupportedMediaType, "the charset must be utf-8, got %s", quote(charset))
	}
	return nil
}

// A form is a JSON object whose members are taken out one after the other. It
// collects what is wrong with them, so that the client gets all faults at once.
type form struct {
	*format.Object
	name   string // of the object, for faults
	taken  map[string]bool
	faults registry.Faults
}

// readForm reads a body that is one JSON object, in which no key is given twice
// at any depth. An empty body is an empty object.
func (c *call) readForm(name string) (*form, error) {
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	if body == nil {
		body = []byte("{}")
	}
	o, err := format.ParseObject(body)
	if err != nil {
		return nil, malformed(err, name)
	}
	return &form{Object: o, name: name, taken: make(map[string]bool)}, nil
}

// malformed returns the error of a body that could not be parsed because of err.
// If err is a fault of the whole object, it is named.
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
		return failf(http.StatusBadRequest, "the body goes on after its JSON value")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return failf(http.StatusBadRequest, "the body is no JSON: it ends too early")
	case errors.As(err, &syntactic):
		return failf(http.StatusBadRequest, "the body is no JSON: %v after octet %d", syntactic.Err, syntactic.ByteOffset)
	}
	return failf(http.StatusBadRequest, "the body is no JSON: %v", err)
}

func (f *form) faultf(field, format string, args ...any) {
	f.faults = append(f.faults, registry.Fault{Object: f.name, Field: field, Problem: fmt.Sprintf(format, args...)})
}

// take returns the value of a member; nil if it is not given, or null.
func (f *form) take(field string) jsontext.Value {
	f.taken[field] = true
	v := f.Value(field)
	if v.Kind() == jsontext.KindNull {
		return nil
	}
	return v
}

// rest returns the names of the members that were not taken, in their order.
func (f *form) rest() []string {
	return slices.DeleteFunc(f.Names(), func(name string) bool { return f.taken[name] })
}

// text takes a string; "" if it is not given.
func (f *form) text(field string) string {
	v := f.take(field)
	if v == nil {
		return ""
	}
	if k := v.Kind(); k != jsontext.KindString {
		f.faultf(field, "want a string, got %s", format.KindName(k))
		return ""
	}
	s, _ := jsontext.AppendUnquote(nil, v) // it was checked
	return string(s)
}

// boolean takes true or false; false if it is not given.
func (f *form) boolean(field string) bool {
	v := f.take(field)
	if v == nil {
		return false
	}
	k := v.Kind()
	if k != jsontext.KindTrue && k != jsontext.KindFalse {
		f.faultf(field, "want true or false, got %s", format.KindName(k))
	}
	return k == jsontext.KindTrue
}

// address takes an address, which must be given.
func (f *form) address(field string) netip.Addr {
	before := len(f.faults)
	s := f.text(field)
	if len(f.faults) > before {
		return netip.Addr{}
	}
	if s == "" {
		f.faultf(field, "is missing")
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		f.faultf(field, "%s is no address", quote(s))
	}
	return a
}

// check adds what the registry would find wrong with facts by themselves, so that
// it is told with the rest.
func (f *form) check(facts registry.Facts) {
	var faults registry.Faults
	if errors.As(facts.Validate(), &faults) {
		f.faults = append(f.faults, faults...)
	}
}

// none faults all fields that were not taken: a misspelt one must not count as
// not given.
func (f *form) none() {
	for _, name := range f.rest() {
		f.faultf(name, "is not known")
	}
}

// err returns what is wrong with the fields, as Faults.
func (f *form) err() error { return f.faults.Err() }
