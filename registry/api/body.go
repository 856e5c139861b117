package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/objects"
)

// maxBody is the largest body, in octets, except of imports.
const maxBody = objects.MaxObject

// readForm reads a body that is a JSON object. name is the object's name in faults.
func (c *call) readForm(name string) (*objects.Form, error) {
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	return objects.ParseForm(name, body)
}

// readBody returns the body of a request without the white space around it; nil if
// it is empty. A body of another type than JSON is refused.
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

// body returns the body of the request, of which at most limit octets can be read.
// If its header gives it more, it is refused before any of it has come.
func (c *call) body(limit int64) (io.Reader, error) {
	if c.r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	return http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, limit), nil
}

// bodyError returns the error of a body that could not be read because of err.
func bodyError(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return failf(http.StatusBadRequest, "the body did not come whole: %v", err)
}

// plainBody refuses bodies that are encoded.
func (c *call) plainBody() error {
	if e := c.r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return failf(http.StatusUnsupportedMediaType, "the Content-Encoding %s is not supported", registry.Quote(e))
	}
	return nil
}

// mediaType refuses bodies of other types than the given ones. Browsers send these
// to another site only after asking it, so this is a second guard against them.
func (c *call) mediaType(types ...string) error {
	given := c.r.Header.Get("Content-Type")
	t, params, err := mime.ParseMediaType(given)
	if err != nil || !slices.Contains(types, t) {
		return failf(http.StatusUnsupportedMediaType, "the Content-Type must be %s, got %s", strings.Join(types, " or "), registry.Quote(given))
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return failf(http.StatusUnsupportedMediaType, "the charset must be utf-8, got %s", registry.Quote(charset))
	}
	return nil
}

// A slowReader reads a long body. Each read extends the connection's deadlines,
// until the time until. It keeps the error that ended the body.
type slowReader struct {
	c     *call
	from  io.Reader
	until time.Time
	err   error
}

func (r *slowReader) Read(b []byte) (int, error) {
	r.c.readBefore(min(readStep, time.Until(r.until)))
	r.c.writeBefore(readStep + writeStep) // the response comes after the body
	n, err := r.from.Read(b)
	if err != nil {
		r.err = err
	}
	return n, err
}

// A slowWriter writes a long response. Each write extends the connection's deadline
// (see slowly).
type slowWriter struct{ c *call }

func (w slowWriter) Write(b []byte) (int, error) {
	w.c.slowly()
	return w.c.w.Write(b)
}
