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

// A form is a JSON object whose fields are taken out one after the other. What
// is wrong with them is kept, so that all of it is told at once.
type form struct {
	object string // for faults
	fields map[string]jsontext.Value
	names  []string // of fields that were not taken, in their order
	faults registry.Faults
}

// readForm reads a body that is one JSON object, in which no key is given twice
// at any depth. An empty body is an empty object.
func (c *call) readForm(object string) (*form, error) {
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	if body == nil {
		body = []byte("{}")
	}
	return parseForm(object, body)
}

func parseForm(object string, body []byte) (*form, error) {
	if err := checkJSON(body); err != nil {
		return nil, err
	}
	f := &form{object: object, fields: make(map[string]jsontext.Value)}
	if k := jsontext.Value(body).Kind(); k != jsontext.KindBeginObject {
		return nil, registry.Faults{{Object: object, Problem: "want an object, got " + format.KindName(k)}}
	}
	members(body, func(name string, value jsontext.Value) {
		f.fields[name] = value
		f.names = append(f.names, name)
	})
	return f, nil
}

// checkJSON says what keeps body from being JSON, in which no key is given twice
// unless the options allow it.
func checkJSON(body []byte, opts ...jsontext.Options) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), opts...)
	if err := dec.SkipValue(); err != nil {
		return jsonError(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return failf(http.StatusBadRequest, "the body goes on after its JSON value")
	}
	return nil
}

// jsonError says what is wrong with JSON, and where.
func jsonError(err error) error {
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return failf(http.StatusBadRequest, "the body is no JSON: it ends too early")
	case errors.As(err, &syntactic) && errors.Is(err, jsontext.ErrDuplicateName):
		return registry.Faults{{Field: strings.ReplaceAll(strings.TrimPrefix(string(syntactic.JSONPointer), "/"), "/", "."), Problem: "the key is given twice"}}
	case errors.As(err, &syntactic):
		return failf(http.StatusBadRequest, "the body is no JSON: %v after octet %d", syntactic.Err, syntactic.ByteOffset)
	}
	return failf(http.StatusBadRequest, "the body is no JSON: %v", err)
}

func (f *form) faultf(field, format string, args ...any) {
	f.faults = append(f.faults, registry.Fault{Object: f.object, Field: field, Problem: fmt.Sprintf(format, args...)})
}

// take returns the value of a field; nil if it is not given, or null.
func (f *form) take(field string) jsontext.Value {
	v, ok := f.fields[field]
	if !ok {
		return nil
	}
	f.names = slices.DeleteFunc(f.names, func(n string) bool { return n == field })
	if v.Kind() == jsontext.KindNull {
		return nil
	}
	return v
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
	for _, name := range f.names {
		f.faultf(name, "is not known")
	}
}

// err returns what is wrong with the fields, as Faults.
func (f *form) err() error { return f.faults.Err() }
