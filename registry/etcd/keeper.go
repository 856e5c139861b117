package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"github.com/internaldns/internaldns/registry"
)

// A Config says where the registry is.
type Config struct {
	// Endpoints are the addresses of members of the etcd cluster, such as
	// http://192.0.2.1:2379, all with http or all with https. With https, TLS says
	// whom to trust.
	Endpoints []string
	// Prefix is before all keys of the registry. Several registries may share one
	// etcd under different prefixes. Default DefaultPrefix.
	Prefix string
	// TLS is for endpoints with https; nil trusts what the system trusts.
	TLS *tls.Config
	// Username and Password are those of an etcd user that may read and write
	// under the prefix. "" is for an etcd without authentication.
	Username, Password string
}

// DefaultPrefix is where a registry is unless something else is said.
const DefaultPrefix = "/internaldns"

// Validate returns everything that is wrong with the configuration.
func (c *Config) Validate() error {
	var faults []error
	if len(c.Endpoints) == 0 {
		faults = append(faults, errors.New("endpoints: there must be at least one"))
	}
	for _, e := range c.Endpoints {
		address := e
		if strings.Contains(e, "@") { // not quoted: there may be a password in it
			faults = append(faults, errors.New("endpoints: one has a user in it, who is to be named apart"))
			continue
		}
		if scheme, rest, ok := strings.Cut(e, "://"); ok {
			if address = rest; scheme != "http" && scheme != "https" {
				faults = append(faults, fmt.Errorf("endpoints: %q must begin with http or https", e))
			}
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil || strings.Contains(strings.TrimSuffix(port, "/"), "/") {
			faults = append(faults, fmt.Errorf("endpoints: %q is no address such as http://192.0.2.1:2379", e))
		}
	}
	for _, e := range c.Endpoints {
		if strings.HasPrefix(e, "https://") != strings.HasPrefix(c.Endpoints[0], "https://") {
			faults = append(faults, errors.New("endpoints: some begin with https and others do not"))
			break
		}
	}
	if p := c.Prefix; p != "" && (!strings.HasPrefix(p, "/") || strings.HasSuffix(p, "/")) {
		faults = append(faults, fmt.Errorf("prefix: %q must begin with a slash and not end with one", c.Prefix))
	}
	if c.Password != "" && c.Username == "" {
		faults = append(faults, errors.New("username: is missing, and there is a password"))
	}
	return errors.Join(faults...)
}

// secure reports whether etcd is spoken to over TLS.
func (c *Config) secure() bool {
	return strings.HasPrefix(c.Endpoints[0], "https://") || c.TLS != nil && !strings.HasPrefix(c.Endpoints[0], "http://")
}

// A Keeper keeps a store as etcd says, and writes to etcd. All methods may be
// called from any goroutine.
type Keeper struct {
	config Config
	store  *registry.Store
	log    *zap.Logger
	kick   chan error // why the watch must begin anew
	conns  conns

	mu     sync.Mutex
	client *clientv3.Client // nil before Load; guarded by mu, as is all below
	plain  *clientv3.Client // the same if there is no user; else it is without
	mirror *mirror
	name   string // the registry's random name
	epoch  epoch
	// revision is the last that the store and the mirror have.
	revision int64
	touched  int64  // the last that changed something below the epoch
	cluster  uint64 // the cluster's id
	locked   bool   // an import is under way
	listing  bool   // the registry is being listed again
	changed  chan struct{}
	held     string // why the last state is kept and nothing written; "" if it is not
	leases   map[clientv3.LeaseID]*known
	asked    time.Time // when etcd last failed to say something of a lease
	status   Status
}

var _ registry.Keeper = (*Keeper)(nil)

// An epoch is the name of the keys that count, and the revision that made it so.
type epoch struct {
	name string
	mod  int64
}

// New returns a keeper that keeps store as the registry at config says. Nothing
// else may write to the store. It connects to nothing yet.
func New(config Config, store *registry.Store, log *zap.Logger) (*Keeper, error) {
	if config.Prefix == "" {
		config.Prefix = DefaultPrefix
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &Keeper{
		config:  config,
		store:   store,
		log:     log,
		kick:    make(chan error, 1),
		conns:   conns{open: make(map[*conn]struct{}), secure: config.secure()},
		changed: make(chan struct{}),
		leases:  make(map[clientv3.LeaseID]*known),
		status:  Status{Endpoints: config.Endpoints},
	}, nil
}

const (
	// callTime bounds one call to etcd. An etcd that has a leader and a disk
	// answers in milliseconds, and elects a new leader within about two seconds;
	// who waits for a write should hear of an etcd that is away before giving up.
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

// connect makes the client. It talks to etcd only to authenticate.
func (k *Keeper) connect(ctx context.Context) (*clientv3.Client, error) {
	k.mu.Lock()
	client := k.client
	k.mu.Unlock()
	if client != nil {
		return client, nil
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
		return nil, err
	}
	if !stop() {
		client.Close()
		plain.Close()
		return nil, ctx.Err()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.client, k.plain = client, plain
	return client, nil
}

// key returns the whole key of one below the prefix.
func (k *Keeper) key(below string) string { return k.config.Prefix + "/" + below }

// wait waits until the store has the revision.
func (k *Keeper) wait(ctx context.Context, revision int64) error {
	for {
		k.mu.Lock()
		done, changed := k.revision >= revision, k.changed
		k.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// waitOn is wait for a revision that etcd has: it gives up when the watch brings
// nothing for a while.
func (k *Keeper) waitOn(ctx context.Context, revision int64) error {
	for {
		before, _ := k.progress()
		call, cancel := context.WithTimeout(ctx, callTime)
		err := k.wait(call, revision)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if now, listing := k.progress(); now == before && !listing {
			return err
		}
	}
}

// advancedLocked notes that the store has the revision.
func (k *Keeper) advancedLocked(revision int64) {
	k.revision = max(k.revision, revision)
	close(k.changed)
	k.changed = make(chan struct{})
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
