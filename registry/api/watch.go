package api

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/internaldns/internaldns/registry"
)

// A stream has for every commit an event of server-sent events:
//
//	id: 43
//	event: commit
//	data: {"index":43,"changes":[{"kind":"machine","network":"fdaa:0:18::/48",…}]}
//
// or, where it cannot say what has changed since the index that was asked for,
//
//	id: 57
//	event: reset
//	data: {"index":57}
//
// upon which everything has to be listed again. Between commits, comments show
// that the connection lives, and an id alone says that up to there nothing has
// changed which the watcher may see.

// A watchEvent is the data of an event.
type watchEvent struct {
	Index   uint64        `json:"index"`
	Changes []watchChange `json:"changes,omitempty"`
}

// A watchChange is what became of one object: it was not there before if there
// is no Before, and is not there any more if there is no After.
type watchChange struct {
	Kind    string      `json:"kind"` // app, machine, peer, flycast, network, region or rtt
	Network string      `json:"network,omitzero"`
	App     string      `json:"app,omitzero"`
	Name    string      `json:"name"` // id, name, address or code
	Before  *watchState `json:"before,omitzero"`
	After   *watchState `json:"after,omitzero"`
}

// A watchState is what an object was or is.
type watchState struct {
	State   string `json:"state,omitzero"`
	Region  string `json:"region,omitzero"`
	Address string `json:"address,omitzero"`
}

const (
	// heartbeat is how often something is sent if nothing changes. What stands
	// between client and server forgets connections that are quiet for a minute.
	heartbeat = 15 * time.Second

	// burst is how many commits a stream takes from the feed at once, and
	// maxBuffered how many octets of events it gathers before it sends them.
	burst       = 64
	maxBuffered = 32 << 10
)

// watch is GET /v1/watch. It ends only with the client, the server, or the
// client's token.
func (c *call) watch() error {
	index, err := c.watchFrom()
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "text/event-stream")
	if c.r.Method == http.MethodHead {
		return nil
	}
	free, err := c.waits(heartbeat)
	if err != nil {
		return err
	}
	defer free()
	c.w.WriteHeader(http.StatusOK)
	s := stream{call: c, index: index, told: index}
	if index > c.snap.Index { // it was never reached here
		s.index = c.snap.Index
		s.event("reset", watchEvent{Index: s.index})
	}
	return s.run(c.r.Context())
}

// watchFrom returns the index after which the client wants to know everything:
// that of its last event, or that of its request, or now.
func (c *call) watchFrom() (uint64, error) {
	text, name := c.query.Get("index"), "index"
	if last := c.r.Header.Get("Last-Event-Id"); last != "" {
		text, name = last, "Last-Event-ID"
	}
	if text == "" {
		return c.snap.Index, nil
	}
	index, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, failf(http.StatusBadRequest, "%s must be an index, got %s", name, quote(text))
	}
	return index, nil
}

// A stream is the way from the feed to one watcher.
type stream struct {
	*call
	index uint64 // up to which the watcher knows everything
	told  uint64 // the last id that was sent
	buf   bytes.Buffer
}

// run sends until ctx is done, the client reads no more, or its token is taken
// out.
func (s *stream) run(ctx context.Context) error {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	if err := s.flush(); err != nil {
		return nil
	}
	for {
		commits, more, ok := s.api.Feed.after(s.index, burst)
		if !ok {
			s.index = s.api.Feed.now()
			s.event("reset", watchEvent{Index: s.index})
		}
		for _, changes := range commits {
			s.index = changes.Index
			if visible := s.who.changes(changes); len(visible) > 0 {
				s.event("commit", watchEvent{changes.Index, visible})
			}
			if s.buf.Len() > maxBuffered {
				if err := s.flush(); err != nil {
					return nil
				}
			}
		}
		if s.buf.Len() > 0 {
			if err := s.flush(); err != nil {
				return nil
			}
		}
		if more == nil {
			more = always // but the others have their turn, however much is committed
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		case <-s.api.ended:
			return nil
		case <-beat.C:
			if s.who.token != nil && !s.api.Tokens.holds(s.who) {
				return nil
			}
			s.beat()
			if err := s.flush(); err != nil {
				return nil
			}
		}
	}
}

// always is ready.
var always = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// event adds an event to what is to be sent.
func (s *stream) event(name string, e watchEvent) {
	data, err := encode(e)
	if err != nil {
		return // it is made of text
	}
	s.told = e.Index
	s.buf.WriteString("id: " + strconv.FormatUint(e.Index, 10) + "\nevent: " + name + "\ndata: ")
	s.buf.Write(data)
	s.buf.WriteString("\n\n")
}

// beat adds a sign of life. The id saves a client that comes back later from
// having to list everything, only because nothing happened that it may see.
func (s *stream) beat() {
	s.buf.WriteString(":\n")
	if s.told != s.index {
		s.told = s.index
		s.buf.WriteString("id: " + strconv.FormatUint(s.index, 10) + "\n")
	}
	s.buf.WriteString("\n")
}

// flush sends what is to be sent. A client that does not take it in time is cut.
func (s *stream) flush() error {
	s.writeBefore(writeStep)
	if _, err := s.w.Write(s.buf.Bytes()); err != nil {
		return err
	}
	if s.buf.Reset(); s.buf.Cap() > 2*maxBuffered {
		s.buf = bytes.Buffer{} // there are many streams, and few commits as large as that
	}
	return http.NewResponseController(s.w).Flush()
}

// changes returns what of a commit is in the grant.
func (g *grant) changes(c *registry.Changes) (list []watchChange) {
	for ch := range c.All() {
		k := ch.Fact().Key()
		n := k.In()
		if !g.sees(n) {
			continue
		}
		w := watchChange{Kind: k.Kind.String(), Before: watchStateOf(ch.Before), After: watchStateOf(ch.After)}
		if n != 0 {
			w.Network = n.String()
		}
		w.App, w.Name = namesOf(ch.Fact())
		list = append(list, w)
	}
	return list
}

// watchStateOf returns the state of an object, or nil if there is none. That of most
// kinds is empty: such an object can only be there or not.
func watchStateOf(f registry.Fact) *watchState {
	switch f := f.(type) {
	case nil:
		return nil
	case *registry.Machine:
		s := &watchState{State: f.State, Region: f.Region}
		if f.Address.IsValid() {
			s.Address = f.Address.String()
		}
		return s
	case *registry.Peer:
		return &watchState{Region: f.Region, Address: f.Address.String()}
	}
	return new(watchState)
}
