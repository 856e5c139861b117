package forward

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/internaldns/internaldns/resolver/forward/message"
	"golang.org/x/sync/singleflight"
)

const (
	// streamIdle is how long a TLS connection without queries is kept: making
	// one costs two round trips and a signature, keeping it a descriptor here
	// and there.
	streamIdle = 10 * time.Second

	// streamStall is how long a TLS connection may bring nothing, although
	// something was asked, until the next query goes over a new one.
	streamStall = 700 * time.Millisecond

	// streamQueries is how many queries may wait on a TLS connection: half of all
	// IDs, so that a free one is soon found. For more there is a new connection.
	streamQueries = 1 << 15

	// streamDial bounds the making of a connection, TLS handshake included.
	streamDial = 3 * time.Second
)

// errStreamClosed is what became of queries on a connection that ended.
var errStreamClosed = errors.New("the connection ended before the response")

// exchangeTLS asks over the upstream's TLS connection, which many queries share.
// If that was an old one and ended, or is full, it asks once more over a new one.
func (f *Forwarder) exchangeTLS(ctx context.Context, a ask, q message.Question) (*message.Response, error) {
	for {
		s, old, err := a.up.pool.get(ctx, f, a.up)
		if err != nil {
			return nil, noAnswer(ctx, err)
		}
		sent := message.NewQuery(q, a.edns, a.mixed)
		msg, err := s.ask(ctx, sent, f.now())
		if (errors.Is(err, errStreamClosed) || errors.Is(err, errNoSocket)) && old {
			continue
		}
		if err != nil {
			return nil, noAnswer(ctx, err)
		}
		r, ok, err := f.readStream(msg, sent, a, q)
		if !ok {
			return nil, message.ErrInvalid
		}
		return r, err
	}
}

// streams keeps the one TLS connection of an upstream.
type streams struct {
	dials singleflight.Group

	mu   sync.Mutex
	open *stream // guarded by mu; nil: none
}

// get returns the connection, made if need be, and whether it is an old one.
func (p *streams) get(ctx context.Context, f *Forwarder, u *upstream) (s *stream, old bool, err error) {
	p.mu.Lock()
	s = p.open
	p.mu.Unlock()
	if s != nil && s.usable(f.now()) {
		return s, true, nil
	}
	made := p.dials.DoChan("", func() (any, error) {
		s, err := f.dialTLS(u)
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		p.open = s
		p.mu.Unlock()
		return s, nil
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

// dialTLS makes a connection that ends with the Forwarder.
func (f *Forwarder) dialTLS(u *upstream) (*stream, error) {
	ctx, cancel := context.WithTimeout(f.ctx, streamDial)
	defer cancel()
	name := u.Name
	if name == "" {
		name = u.Addr.Addr().WithZone("").String()
	}
	d := tls.Dialer{
		NetDialer: new(net.Dialer),
		Config:    &tls.Config{ServerName: name, RootCAs: f.config.RootCAs, NextProtos: []string{"dot"}, ClientSessionCache: f.sessions},
	}
	conn, err := d.DialContext(ctx, "tcp", u.Addr.String())
	if err != nil {
		return nil, err
	}
	s := &stream{conn: conn, waiting: make(map[uint16]waiter), ended: make(chan struct{})}
	if !f.flights.goWith(func() { s.read(f) }) {
		conn.Close()
		return nil, errStreamClosed
	}
	return s, nil
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
	heard   moment            // guarded by mu; when the last message came
}

// A waiter waits for the response to one query.
type waiter struct {
	response chan []byte // has room for it
	sent     moment
}

// usable reports whether the connection is open, brings answers, and has room for a
// query.
func (s *stream) usable(now moment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.waiting) >= streamQueries {
		return false
	}
	for _, w := range s.waiting {
		if s.heard < w.sent && now >= w.sent.After(streamStall) {
			return false
		}
	}
	return true
}

// ask sends a query, with another ID if its own is taken, and waits for the
// response to it.
func (s *stream) ask(ctx context.Context, q *message.Query, now moment) ([]byte, error) {
	w := waiter{make(chan []byte, 1), now}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, errStreamClosed
	}
	if len(s.waiting) >= streamQueries {
		s.mu.Unlock()
		return nil, errNoSocket
	}
	for _, taken := s.waiting[q.ID()]; taken; _, taken = s.waiting[q.ID()] {
		var id [2]byte
		rand.Read(id[:]) // never fails
		q.SetID(binary.BigEndian.Uint16(id[:]))
	}
	s.waiting[q.ID()] = w
	s.mu.Unlock()
	defer s.forget(q.ID(), w)

	s.writing.Lock()
	s.conn.SetWriteDeadline(time.Now().Add(streamDial))
	err := writeFrame(s.conn, q.Octets)
	s.writing.Unlock()
	if err != nil {
		s.conn.Close()
		return nil, errStreamClosed
	}
	select {
	case msg := <-w.response:
		return msg, nil
	case <-s.ended:
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

func (s *stream) forget(id uint16, w waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[id] == w {
		delete(s.waiting, id)
	}
}

// read passes responses to those who wait for them until the connection ends, or
// has brought nothing for streamIdle.
func (s *stream) read(f *Forwarder) {
	defer close(s.ended)
	defer s.conn.Close()
	defer context.AfterFunc(f.ctx, func() { s.conn.Close() })()
	for {
		s.conn.SetReadDeadline(time.Now().Add(streamIdle))
		msg, err := readFrame(s.conn)
		s.mu.Lock()
		if err != nil {
			s.closed = true
			s.mu.Unlock()
			return
		}
		s.heard = f.now()
		id := binary.BigEndian.Uint16(msg)
		if w, ok := s.waiting[id]; ok {
			delete(s.waiting, id)
			w.response <- msg
		}
		s.mu.Unlock()
	}
}
