package watch

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
)

// A Stream sends the commits of a feed to one client, as server-sent events. A
// commit is
//
//	id: 43
//	event: commit
//	data: {"index":43,"changes":[{"kind":"machine","network":"fdaa:0:18::/48",…}]}
//
// If the feed does not have all changes since the client's index, the stream sends
//
//	id: 57
//	event: reset
//	data: {"index":57}
//
// and the client must list everything again. Between commits, comments show that
// the connection works. An id alone means: up to that index, nothing has changed
// that the client may see.
type Stream struct {
	Feed *Feed
	// Sees reports whether the client may see the facts of a network; of network
	// 0, those that are in no network.
	Sees func(registry.Network) bool
	// Send sends octets to the client at once. Its error ends the stream.
	Send func([]byte) error
	// Admitted is called at every heartbeat. The stream ends if it returns false.
	Admitted func() bool
	// Stopping is closed when the server stops.
	Stopping <-chan struct{}

	index uint64 // the client has all changes up to this one
	sent  uint64 // the last id that was sent
	buf   bytes.Buffer
}

const (
	// Heartbeat is how often something is sent if nothing changes. Proxies and
	// address translators between client and server forget connections that are
	// quiet for a minute.
	Heartbeat = 15 * time.Second

	// burst is how many commits a stream takes from the feed at once, and
	// maxBuffered how many octets of events it collects before it sends them.
	burst       = 64
	maxBuffered = 32 << 10
)

// Run sends the commits after the one with index from, until ctx is done, the
// server stops, the client is no longer admitted or Send fails. last is the index
// of the registry.
func (s *Stream) Run(ctx context.Context, from, last uint64) {
	s.index, s.sent = from, from
	if from > last { // the registry never was at that index
		s.reset(last)
	}
	heartbeat := time.NewTicker(Heartbeat)
	defer heartbeat.Stop()
	if s.flush() != nil {
		return
	}
	for {
		commits, more, ok := s.Feed.after(s.index, burst)
		if !ok {
			s.reset(s.Feed.lastIndex())
		}
		for _, changes := range commits {
			s.index = changes.Index
			if visible := s.visible(changes); len(visible) > 0 {
				s.event("commit", event{changes.Index, visible})
			}
			if s.buf.Len() > maxBuffered && s.flush() != nil {
				return
			}
		}
		if s.buf.Len() > 0 && s.flush() != nil {
			return
		}
		if more == nil {
			more = closed // but look at the other channels, however much is committed
		}
		select {
		case <-more:
		case <-ctx.Done():
			return
		case <-s.Stopping:
			return
		case <-heartbeat.C:
			if !s.Admitted() {
				return
			}
			s.beat()
			if s.flush() != nil {
				return
			}
		}
	}
}

var closed = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// An event is the data of a server-sent event.
type event struct {
	Index   uint64   `json:"index"`
	Changes []change `json:"changes,omitempty"`
}

// A change is what a commit did to one object. Before is nil if the object did
// not exist before, After if it does not exist afterwards.
type change struct {
	Kind    string `json:"kind"` // app, machine, peer, flycast, network, region or rtt
	Network string `json:"network,omitzero"`
	App     string `json:"app,omitzero"`
	Name    string `json:"name"` // see Names
	Before  *state `json:"before,omitzero"`
	After   *state `json:"after,omitzero"`
}

// A state is what an event has of an object besides its names.
type state struct {
	State   string `json:"state,omitzero"`
	Region  string `json:"region,omitzero"`
	Address string `json:"address,omitzero"`
}

// reset adds an event that makes the client list everything at index.
func (s *Stream) reset(index uint64) {
	s.index = index
	s.event("reset", event{Index: index})
}

// event adds an event to the buffer.
func (s *Stream) event(name string, e event) {
	// Names of regions need not be UTF-8; they are sent with replacement characters.
	data, err := json.Marshal(e, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return // never: it is made of text
	}
	s.sent = e.Index
	s.buf.WriteString("id: " + strconv.FormatUint(e.Index, 10) + "\nevent: " + name + "\ndata: ")
	s.buf.Write(data)
	s.buf.WriteString("\n\n")
}

// beat adds a comment, and an id if commits have passed that the client may not
// see: if it connects again later, it need not list everything because of them.
func (s *Stream) beat() {
	s.buf.WriteString(":\n")
	if s.sent != s.index {
		s.sent = s.index
		s.buf.WriteString("id: " + strconv.FormatUint(s.index, 10) + "\n")
	}
	s.buf.WriteString("\n")
}

// flush sends the buffer.
func (s *Stream) flush() error {
	if err := s.Send(s.buf.Bytes()); err != nil {
		return err
	}
	if s.buf.Reset(); s.buf.Cap() > 2*maxBuffered {
		s.buf = bytes.Buffer{} // there are many streams, and few commits as large as that
	}
	return nil
}

// visible returns the changes of a commit that the client may see.
func (s *Stream) visible(c *registry.Changes) (list []change) {
	for ch := range c.All() {
		k := ch.Fact().Key()
		n := k.In()
		if !s.Sees(n) {
			continue
		}
		v := change{Kind: k.Kind.String(), Before: stateOf(ch.Before), After: stateOf(ch.After)}
		if n != 0 {
			v.Network = n.String()
		}
		v.App, v.Name = Names(ch.Fact())
		list = append(list, v)
	}
	return list
}

// Names returns what clients call a fact: the app that it is in, if any, and its
// id, name, address or code.
func Names(f registry.Fact) (app, name string) {
	switch f := f.(type) {
	case *registry.NetworkName:
		return "", f.Name
	case *registry.Machine:
		return f.App, f.ID
	case *registry.Flycast:
		return f.App, f.Address.String()
	case *registry.RTT:
		return "", f.From + "-" + f.To
	}
	return "", f.Key().Name
}

// stateOf returns the state of an object; nil if there is none. That of most kinds
// is empty.
func stateOf(f registry.Fact) *state {
	switch f := f.(type) {
	case nil:
		return nil
	case *registry.Machine:
		s := &state{State: f.State, Region: f.Region}
		if f.Address.IsValid() {
			s.Address = f.Address.String()
		}
		return s
	case *registry.Peer:
		return &state{Region: f.Region, Address: f.Address.String()}
	}
	return new(state)
}
