package etcd

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
)

const (
	// callTime bounds one call to etcd. An etcd that has a leader and a disk
	// answers in milliseconds, and elects a new leader within about two seconds. The
	// client of a write should get an error before it gives up.
	callTime = 3 * time.Second

	// connectTime bounds making a connection, from TCP to the first frame of
	// HTTP/2. A longer one would make the time until an etcd that is back has been
	// caught up with longer, too.
	connectTime = time.Second

	// maxBackoff is the longest pause between two attempts to reach etcd. It is
	// part of the time until an etcd that is back has been caught up with.
	maxBackoff = 250 * time.Millisecond

	// keepAlive is how often a silent connection is tried; gRPC allows no less.
	// What the probes send notices a dead peer sooner.
	keepAlive = 10 * time.Second
)

// connect makes the client, once. It talks to etcd only to authenticate.
func (k *Keeper) connect(ctx context.Context) error {
	if k.client != nil {
		return nil
	}
	// The client's context must outlive ctx, which may be that of Load only.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	options := []grpc.DialOption{
		grpc.WithContextDialer(k.conns.dial),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: maxBackoff / 5, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxBackoff},
			MinConnectTimeout: connectTime,
		}),
	}
	if k.conns.secure {
		options = append(options, grpc.WithTransportCredentials(handshakes{credentials.NewTLS(k.config.TLS), &k.conns}))
	}
	client, plain, err := newClients(clientv3.Config{
		Context:              life,
		Endpoints:            k.config.Endpoints,
		TLS:                  k.config.TLS,
		DialTimeout:          callTime,
		DialKeepAliveTime:    keepAlive,
		DialKeepAliveTimeout: callTime,
		MaxUnaryRetries:      2, // we try again ourselves, and want to hear why
		Logger:               zap.NewNop(),
		DialOptions:          options,
	}, k.config.Username, k.config.Password)
	if err != nil {
		cancel()
		return err
	}
	if !stop() {
		client.Close()
		plain.Close()
		return ctx.Err()
	}
	k.client, k.plain = client, plain
	return nil
}

// newClients returns a client of the user, which authenticates through plain, a
// client without one; without a user they are the same.
//
// By itself a client authenticates with the token that it has. If that has expired,
// etcd 3.4 refuses it there, too, upon which the client authenticates once more, and
// so on without end, as fast as etcd can refuse.
func newClients(config clientv3.Config, username, password string) (client, plain *clientv3.Client, err error) {
	if plain, err = clientv3.New(config); err != nil || username == "" {
		return plain, plain, err
	}
	config.Username, config.Password = username, password
	config.DialOptions = append(config.DialOptions, grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string,
		req, reply any, conn *grpc.ClientConn, next grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if method == etcdserverpb.Auth_Authenticate_FullMethodName {
			return plain.ActiveConnection().Invoke(ctx, method, req, reply, options...)
		}
		return next(ctx, method, req, reply, conn, options...)
	}))
	if client, err = clientv3.New(config); err != nil {
		plain.Close()
	}
	return client, plain, err
}

// conns holds the connections to etcd, so that those that no longer answer can be
// closed. gRPC itself needs more than ten seconds to notice them.
type conns struct {
	secure bool // there is a handshake after dial

	mu   sync.Mutex
	open map[*conn]struct{} // guarded by mu
	why  error              // the last could not be made; guarded by mu
}

// A conn records when it last received something.
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
		cs.setCause(err)
		return nil, err
	}
	if !cs.secure {
		cs.setCause(nil)
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

// closeSilent closes the connections that have received nothing for that long.
func (cs *conns) closeSilent(silence time.Duration) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		if time.Since(time.Unix(0, c.heard.Load())) >= silence {
			c.Conn.Close()
		}
	}
}

// setCause remembers how making a connection ended.
func (cs *conns) setCause(err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.why = err
}

// cause adds to a timeout the reason why no connection could be made, if none
// could.
func (cs *conns) cause(err error) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.why == nil || !late(err) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cs.why)
}

// handshakes are TLS credentials that record how the last handshake ended: gRPC
// reports that only sometimes.
type handshakes struct {
	credentials.TransportCredentials
	of *conns
}

func (h handshakes) ClientHandshake(ctx context.Context, authority string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secure, info, err := h.TransportCredentials.ClientHandshake(ctx, authority, c)
	h.of.setCause(err)
	return secure, info, err
}

func (h handshakes) Clone() credentials.TransportCredentials {
	return handshakes{h.TransportCredentials.Clone(), h.of}
}
