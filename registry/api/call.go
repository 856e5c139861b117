package api

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/objects"
)

// A call is one request while it is answered.
type call struct {
	api   *API
	w     *recorder
	r     *http.Request
	route *route
	query url.Values
	who   *grant
	// snap is the registry when the request came. A write looks up what it depends
	// on once more, in the registry that the keeper gives it.
	snap  *registry.Snapshot
	begun time.Time
	slow  time.Time // when slowly last gave more time
	// patience is how long the keeper may take for a write.
	patience time.Duration
}

// IndexHeader is the response header with an index of the registry: for a write,
// that of its commit; for a read, that of the last commit that it shows.
const IndexHeader = "Internaldns-Index"

// writeTime bounds how long a keeper may take for one write. Clients give up after
// about that time.
const writeTime = 10 * time.Second

// setIndex sets the index header.
func (c *call) setIndex(index uint64) { c.w.Header().Set(IndexHeader, strconv.FormatUint(index, 10)) }

// answer sends v as JSON.
func (c *call) answer(status int, v any) error {
	body, err := encode(v)
	if err != nil {
		return err
	}
	c.send(status, append(body, '\n'))
	return nil
}

// encode returns v as JSON. Paths, parameters and names of regions need not be
// UTF-8; they are shown with replacement characters.
func encode(v any) ([]byte, error) {
	return json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
}

// send sends octets of JSON.
func (c *call) send(status int, body []byte) {
	header := c.w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	for piece := range slices.Chunk(body, pieceSize) {
		c.slowly()
		if _, err := c.w.Write(piece); err != nil {
			return // the client has disconnected
		}
	}
}

// pieceSize is how many octets of a long response are made and sent at once. A
// client that reads slowly takes that much memory.
const pieceSize = 64 << 10

// etag sets the header ETag to the index of the commit that changed the object last.
func (c *call) etag(modified uint64) {
	c.w.Header().Set("ETag", `"`+strconv.FormatUint(modified, 10)+`"`)
}

// okOrCreated returns the status of a PUT.
func okOrCreated(created bool) int {
	if created {
		return http.StatusCreated
	}
	return http.StatusOK
}

// done responds to a write without a body: with err, or with status if it is nil.
func (c *call) done(status int, err error) error {
	if err == nil {
		c.w.WriteHeader(status)
	}
	return err
}

// list sends an object that begins with head and ends with a list of all items.
func list[T any](c *call, head string, items iter.Seq[T]) error {
	c.w.Header().Set("Content-Type", "application/json")
	b := []byte(head)
	comma := false
	for item := range items {
		body, err := encode(item)
		if err != nil {
			return err
		}
		if comma {
			b = append(b, ',')
		}
		comma = true
		if b = append(b, body...); len(b) < pieceSize {
			continue
		}
		c.slowly()
		if _, err := c.w.Write(b); err != nil {
			return err
		}
		b = b[:0]
	}
	c.slowly()
	_, err := c.w.Write(append(b, "]}\n"...))
	return err
}

// okBody is the body of a response without content, as in Fly's API.
var okBody = struct {
	OK bool `json:"ok"`
}{true}

// fail responds with an error. If a response has begun already, it closes the
// connection, so that the client does not take half of a response for all of it.
func (c *call) fail(err error) {
	if c.w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	f := failureOf(err)
	if f.Status == http.StatusInternalServerError {
		c.api.Log.Error("request failed", zap.Stringer("route", c.route), zap.Error(err))
	}
	if f.Challenge {
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="internaldns"`)
		c.w.Header().Set("Connection", "close") // an unknown client must not hold one of maxConns
	}
	c.answer(f.Status, f.Body)
}

// rescue responds to a panic, which is a defect of the server, as to an error. By
// net/http, it would be logged among the disconnected clients.
func (c *call) rescue() {
	why := recover()
	if why == nil {
		return
	}
	if why != http.ErrAbortHandler {
		c.api.Log.Error("request failed", zap.Stringer("route", c.route), zap.Any("panic", why), zap.StackSkip("stack", 1))
		if c.w.status == 0 {
			c.answer(http.StatusInternalServerError, objects.FailureBody{Error: "the server has a defect, which is in its log"})
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// write has the keeper make the change that decide returns, and sets the index
// header. registry.Keeper says what decide must be; it may return a failure.
func (c *call) write(decide func(*registry.Snapshot) (registry.Write, error)) error {
	_, err := c.writeIndex(decide)
	return err
}

// writeIndex is write, and returns the index of the commit.
func (c *call) writeIndex(decide func(*registry.Snapshot) (registry.Write, error)) (uint64, error) {
	ctx, cancel := context.WithTimeout(c.r.Context(), c.patience)
	defer cancel()
	index, err := c.api.Keeper.Write(ctx, func(s *registry.Snapshot) (registry.Write, error) {
		w, err := decide(s)
		if err == nil {
			err = c.who.mayWrite(s, w.Events)
		}
		return w, err
	})
	if err != nil {
		c.setIndex(c.api.Store.Snapshot().Index)
		return 0, err
	}
	c.setIndex(index)
	return index, nil
}

// audit logs a request for a change, its token and its result. It logs at level
// debug, because leases are renewed all the time.
func (c *call) audit() {
	if c.r.Method == http.MethodGet || c.r.Method == http.MethodHead {
		return
	}
	entry := c.api.Log.Check(zap.DebugLevel, "change asked for")
	if entry == nil {
		return
	}
	name := ""
	if c.who != nil && c.who.token != nil {
		name = c.who.token.name
	}
	entry.Write(zap.String("token", name), zap.String("client", c.r.RemoteAddr), zap.String("method", c.r.Method),
		zap.String("path", c.r.URL.Path), zap.Int("status", c.w.status), zap.String("index", c.w.Header().Get(IndexHeader)))
}

// flag returns a parameter that is true or false; false without it.
func (c *call) flag(name string) (bool, error) {
	v, given := c.query[name]
	if !given {
		return false, nil
	}
	b, err := strconv.ParseBool(v[0])
	if v[0] == "" {
		b, err = true, nil
	}
	if err != nil {
		return false, failf(http.StatusBadRequest, "%s must be true or false, got %s", name, registry.Quote(v[0]))
	}
	return b, nil
}

// listParam returns the values of a parameter that may be given several times,
// or with several values between commas, in lower case.
func (c *call) listParam(name string) (values []string) {
	for _, v := range c.query[name] {
		for s := range strings.SplitSeq(v, ",") {
			if s != "" {
				values = append(values, registry.Fold(s))
			}
		}
	}
	return values
}

// precondition returns what the request demands of the object that it changes.
func (c *call) precondition() (objects.Precondition, error) {
	return objects.ParsePrecondition(c.r.Header)
}

// logWriter logs the messages of net/http, most of which are about disconnected
// clients.
type logWriter struct{ log *zap.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	w.log.Debug(strings.TrimSpace(string(line)))
	return len(line), nil
}
