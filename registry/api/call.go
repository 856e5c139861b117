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
)

// A call is one request on its way to be answered.
type call struct {
	api   *API
	w     *recorder
	r     *http.Request
	route *route
	query url.Values
	who   *grant
	// snap is the registry when the request came. What a write depends on is
	// looked up again in what the keeper shows.
	snap  *registry.Snapshot
	begun time.Time
	slow  time.Time // when slowly last gave more time
	// patience is how long the keeper may take for a write.
	patience time.Duration
}

// IndexHeader is the response header that says the registry's index: for a
// write, that of the commit that made it; else, that of what is shown.
const IndexHeader = "Internaldns-Index"

// writeTime bounds how long a keeper may take for one write. Clients give up
// after about that time; who repeats a write then is told what became of it.
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

// encode returns v as JSON. What is not UTF-8, which paths, parameters and names
// of regions need not be, is shown with replacement characters.
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
			return // the client has gone
		}
	}
}

// pieceSize is how much of a long response is sent, or made, at once: as much as
// each client that reads slowly takes of memory.
const pieceSize = 64 << 10

// list sends an object that begins as head and ends with a list of all items.
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

// okBody is what Fly answers where there is nothing to say.
var okBody = struct {
	OK bool `json:"ok"`
}{true}

// fail answers an error, unless an answer has begun already: then the connection
// is cut, so that nobody takes half of an answer for all of it.
func (c *call) fail(err error) {
	if c.w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	f := failureOf(err)
	if f.status == http.StatusInternalServerError {
		c.api.Log.Error("request failed", zap.Stringer("route", c.route), zap.Error(err))
	}
	if f.challenge {
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="internaldns"`)
		c.w.Header().Set("Connection", "close") // nobody known keeps one of maxConns
	}
	c.answer(f.status, f.body)
}

// rescue answers a panic, which is a defect of ours, as an error. Left to
// net/http, it would be logged among the clients that break off.
func (c *call) rescue() {
	why := recover()
	if why == nil {
		return
	}
	if why != http.ErrAbortHandler {
		c.api.Log.Error("request failed", zap.Stringer("route", c.route), zap.Any("panic", why), zap.StackSkip("stack", 1))
		if c.w.status == 0 {
			c.answer(http.StatusInternalServerError, errorBody{Error: "the server has a defect, which is in its log"})
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// write has the keeper make the change that decide wants, and says its index in
// the response. decide must be as registry.Keeper says, and may return a failure.
func (c *call) write(decide func(*registry.Snapshot) (registry.Write, error)) error {
	_, err := c.writeIndex(decide)
	return err
}

// writeIndex is write, and returns the index.
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

// audit logs who asked for a change, and what became of it. That is at the level
// of debugging, since leases are renewed without end.
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

// parseQuery parses the query of a URL. What cannot be parsed is refused.
func parseQuery(raw string) (url.Values, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, failf(http.StatusBadRequest, "the query is malformed: %v", err)
	}
	return query, nil
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
		return false, failf(http.StatusBadRequest, "%s must be true or false, got %s", name, quote(v[0]))
	}
	return b, nil
}

// quote quotes s for a message, shortened if it is long.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}

// logWriter logs what net/http has to say, which is mostly that clients break
// off.
type logWriter struct{ log *zap.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	w.log.Debug(strings.TrimSpace(string(line)))
	return len(line), nil
}
