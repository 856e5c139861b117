package upstream

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/internaldns/internaldns/resolver/forward/clock"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"golang.org/x/sync/singleflight"
)

const (
	// streamIdle is how long a TLS connection without responses is kept. Making one
	// costs two round trips and a signature. Keeping one costs a descriptor on both
	// sides.
	streamIdle = 10 * time.Second

	// streamStall is how long a query may wait on a TLS connection that brings
	// nothing, before the next query goes over a new one.
	streamStall = 700 * time.Millisecond

	// streamQueries is how many queries may wait on a TLS connection. It is half of
	// all IDs, so that a free one is soon found. Further queries go over a new
	// connection.
	streamQueries = 1 << 15

	// streamDial is how long making a connection may take, TLS handshake included.
	streamDial = 3 * time.Second
)

// errStreamClosed is the end of queries on a connection that ended.
var errStreamClosed = errors.New("the connection ended before the response")

// exchangeTLS asks over the server's TLS connection, which many queries share. If
// that is an old one and has ended, or is full, it asks once more over a new one.
func (a *Asker) exchangeTLS(ctx context.Context, q *Query) (*message.Response, error) {
	for {
		st, old, err := a.stream(ctx, q.Server)
		if err != nil {
			return nil, err
		}
		sent := message.NewQuery(q.Question, q.EDNS, q.MixedCase)
		msg, err := st.ask(ctx, sent, a.config.Clock.Now())
		if (errors.Is(err, errStreamClosed) || errors.Is(err, ErrNoSocket)) && old {
			continue
		}
		if err != nil {
			return nil, err
		}
		resp, ok, err := a.examineStream(msg, sent, q)
		if !ok {
			return nil, message.ErrInvalid
		}
		return resp, err
	}
}

// streams holds the one TLS connection of a server.
type streams struct {
	dials singleflight.Group

	mu   sync.Mutex
	open *stream // guarded by mu; nil: none
}

// stream returns the server's connection, and whether it is an old one. It makes
// a connection if there is none that can be used.
func (a *Asker) stream(ctx context.Context, s *Server) (st *stream, old bool, err error) {
	p := &s.streams
	p.mu.Lock()
	st = p.open
	p.mu.Unlock()
	if st != nil && st.usable(a.config.Clock.Now()) {
		return st, true, nil
	}
	made := p.dials.DoChan("", func() (any, error) {
		if !a.enter() {
			return nil, errStopped
		}
		defer a.wg.Done()
		st, err := a.dialTLS(s)
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		p.open = st
		p.mu.Unlock()
		return st, nil
	})
	select {
	case r := <-made:
		if r.Err != nil {
			return nil, false, r.Err
		}
		return r.Val.(*stream), false, nil
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
}

// dialTLS makes a connection. It ends with the Asker.
func (a *Asker) dialTLS(s *Server) (*stream, error) {
	ctx, cancel := context.WithTimeout(a.ctx, streamDial)
	defer cancel()
	name := s.Name
	if name == "" {
		name = s.Addr.Addr().WithZone("").String()
	}
	d := tls.Dialer{
		NetDialer: new(net.Dialer),
		Config:    &tls.Config{ServerName: name, RootCAs: a.config.RootCAs, NextProtos: []string{"dot"}, ClientSessionCache: a.sessions},
	}
	conn, err := d.DialContext(ctx, "tcp", s.Addr.String())
	if err != nil {
		return nil, err
	}
	st := &stream{conn: conn, waiting: make(map[uint16]waiter), ended: make(chan struct{})}
	if !a.Go(func() { st.read(a) }) {
		conn.Close()
		return nil, errStopped
	}
	return st, nil
}

// A stream is a connection on which many queries are asked at once (RFC 7766,
// Section 6.2.1.1).
type stream struct {
	conn  net.Conn
	ended chan struct{} // closed by read when the connection ended

	writing sync.Mutex // held while a frame is written

	mu      sync.Mutex
	waiting map[uint16]waiter // guarded by mu; by ID
	closed  bool              // guarded by mu
	heard   clock.Moment      // guarded by mu; when the last message came
}

// A waiter waits for the response to one query.
type waiter struct {
	response chan []byte // has room for it
	sent     clock.Moment
}

// usable reports whether the connection is open, brings responses, and has room for
// a query.
func (st *stream) usable(now clock.Moment) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed || len(st.waiting) >= streamQueries {
		return false
	}
	for _, w := range st.waiting {
		if st.heard < w.sent && now >= w.sent.After(streamStall) {
			return false
		}
	}
	return true
}

// ask sends a query, with another ID if its own is taken, and waits for the
// response to it.
func (st *stream) ask(ctx context.Context, q *message.Query, now clock.Moment) ([]byte, error) {
	w := waiter{make(chan []byte, 1), now}
	st.mu.Lock()
	if st.closed {
		st.mu.Unlock()
		return nil, errStreamClosed
	}
	if len(st.waiting) >= streamQueries {
		st.mu.Unlock()
		return nil, ErrNoSocket
	}
	for _, taken := st.waiting[q.ID()]; taken; _, taken = st.waiting[q.ID()] {
		var id [2]byte
		rand.Read(id[:]) // never fails
		q.SetID(binary.BigEndian.Uint16(id[:]))
	}
	st.waiting[q.ID()] = w
	st.mu.Unlock()
	defer st.forget(q.ID(), w)

	st.writing.Lock()
	st.conn.SetWriteDeadline(time.Now().Add(streamDial))
	err := writeFrame(st.conn, q.Octets)
	st.writing.Unlock()
	if err != nil {
		st.conn.Close()
		return nil, errStreamClosed
	}
	select {
	case msg := <-w.response:
		return msg, nil
	case <-st.ended:
		select {
		case msg := <-w.response:
			return msg, nil
		default:
			return nil, errStreamClosed
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (st *stream) forget(id uint16, w waiter) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.waiting[id] == w {
		delete(st.waiting, id)
	}
}

// read passes each response to the query that waits for it, until the connection
// ends or has brought nothing for streamIdle.
func (st *stream) read(a *Asker) {
	defer close(st.ended)
	defer st.conn.Close()
	defer context.AfterFunc(a.ctx, func() { st.conn.Close() })()
	for {
		st.conn.SetReadDeadline(time.Now().Add(streamIdle))
		msg, err := readFrame(st.conn)
		st.mu.Lock()
		if err != nil {
			st.closed = true
			st.mu.Unlock()
			return
		}
		st.heard = a.config.Clock.Now()
		id := binary.BigEndian.Uint16(msg)
		if w, ok := st.waiting[id]; ok {
			delete(st.waiting, id)
			w.response <- msg
		}
		st.mu.Unlock()
	}
}
