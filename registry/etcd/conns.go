package etcd

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
)

// conns are the connections to etcd, so that those that answer no more can be
// closed: gRPC itself notices that after more than ten seconds.
type conns struct {
	secure bool // there is a handshake after dial

	mu   sync.Mutex
	open map[*conn]struct{} // guarded by mu
	why  error              // the last could not be made; guarded by mu
}

// A conn knows when it last heard something.
type conn struct {
	net.Conn
	of    *conns
	heard atomic.Int64 // Unix time in nanoseconds
}

// dial connects to etcd, and remembers the connection.
func (cs *conns) dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	tcp, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		cs.note(err)
		return nil, err
	}
	if !cs.secure {
		cs.note(nil)
	}
	c := &conn{Conn: tcp, of: cs}
	c.heard.Store(time.Now().UnixNano())
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.open[c] = struct{}{}
	return c, nil
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

func (c *conn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// hangUp closes the connections that have heard nothing for so long.
func (cs *conns) hangUp(silence time.Duration) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		if time.Since(time.Unix(0, c.heard.Load())) >= silence {
			c.Conn.Close()
		}
	}
}

// note remembers how making a connection ended.
func (cs *conns) note(err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.why = err
}

// cause adds to an error that says no more than that time is over why no
// connection could be made, if none could.
func (cs *conns) cause(err error) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.why == nil || !late(err) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cs.why)
}

// handshakes are TLS credentials that remember how it went: gRPC tells that only
// sometimes.
type handshakes struct {
	credentials.TransportCredentials
	of *conns
}

func (h handshakes) ClientHandshake(ctx context.Context, authority string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secure, info, err := h.TransportCredentials.ClientHandshake(ctx, authority, c)
	h.of.note(err)
	return secure, info, err
}

func (h handshakes) Clone() credentials.TransportCredentials {
	return handshakes{h.TransportCredentials.Clone(), h.of}
}
