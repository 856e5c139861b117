package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// watchAgain is the time between a lost connection and the next.
const watchAgain = time.Second

// maxEvent is the longest line of an event that is read, in octets.
const maxEvent = 64 << 20

// An Event is one event of a watch, such as the changes of one commit.
type Event struct {
	Index uint64 // of the commit
	Kind  string // "reset" if changes may be missing, so that everything must be listed again
	Data  string // JSON
}

// Watch calls event for each event after the index after, in order; from now on if after
// is nil. r has what the request needs beside its path and the index. When the connection
// is lost, Watch calls lost, and connects again after a second: no event is missed.
//
// It returns when ctx is done; when event returns an error; when the API refuses the
// request; or when the API cannot be reached at the first time. Errors of the API are
// those of Ask.
func (c *Client) Watch(ctx context.Context, r Request, after *uint64, event func(Event) error, lost func()) error {
	w := watch{client: c, after: after, event: event}
	for {
		err := w.stream(ctx, r)
		switch {
		case ctx.Err() != nil:
			return nil
		case w.failed != nil:
			return w.failed
		case err != nil && (w.after == nil || !temporary(err)):
			return err
		}
		lost()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchAgain):
		}
	}
}

// temporary reports whether the same request may succeed later.
func temporary(err error) bool {
	if _, ok := errors.AsType[*Unreachable](err); ok {
		return true
	}
	refused, ok := errors.AsType[*Error](err)
	return ok && refused.Temporary()
}

// A watch is a Watch that is running.
type watch struct {
	client *Client
	after  *uint64 // the index of the last event; nil until a server has said the current index
	event  func(Event) error
	failed error // of event
}

// stream reads the events of one connection. It returns nil when the connection is lost.
func (w *watch) stream(ctx context.Context, r Request) error {
	r.Method, r.Path = http.MethodGet, Path("watch")
	query := url.Values{}
	for name, value := range r.Query {
		query[name] = value
	}
	r.Query = query
	if w.after != nil {
		r.Query.Set("index", fmt.Sprint(*w.after))
	}
	resp, err := w.client.Send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if w.after == nil { // from now on, even if the connection is lost before the first event
		w.after = new(uint64)
		if _, err := fmt.Sscan(resp.Header.Get("Internaldns-Index"), w.after); err != nil {
			return errors.New("the answer of the API has no index")
		}
	}
	return w.read(resp.Body)
}

// read reads server-sent events: lines of fields, and an empty line after each event. An
// event counts only with its empty line. Without it, the connection was lost in the middle
// of the event, which must come again.
func (w *watch) read(body io.Reader) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxEvent)
	var e Event
	var id string
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			id = value
		case "event":
			e.Kind = value
		case "data":
			e.Data = value
		}
		if lines.Text() != "" {
			continue
		}
		if id != "" {
			if _, err := fmt.Sscan(id, w.after); err != nil {
				return fmt.Errorf("the event %q has no index", id)
			}
		}
		if e.Index = *w.after; e.Kind != "" {
			if w.failed = w.event(e); w.failed != nil {
				return w.failed
			}
		}
		e, id = Event{}, ""
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("an event after index %d is longer than %d octets", *w.after, maxEvent)
	}
	return nil
}
