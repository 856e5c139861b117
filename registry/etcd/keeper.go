package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/internaldns/internaldns/registry"
)

// A Config says where the registry is.
type Config struct {
	// Endpoints are the addresses of members of the etcd cluster, such as
	// http://192.0.2.1:2379, all with http or all with https.
	Endpoints []string
	// Prefix is before all keys of the registry. Several registries may share one
	// etcd under different prefixes. Default DefaultPrefix.
	Prefix string
	// TLS is for endpoints with https. nil trusts the certificate authorities of the
	// system.
	TLS *tls.Config
	// Username and Password are those of an etcd user that may read and write
	// under the prefix. "" is for an etcd without authentication.
	Username, Password string
}

// DefaultPrefix is the prefix if none is configured.
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
			faults = append(faults, errors.New("endpoints: one has a user in it, which has a setting of its own"))
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

// secure reports whether the connections to etcd use TLS.
func (c *Config) secure() bool {
	return strings.HasPrefix(c.Endpoints[0], "https://") || c.TLS != nil && !strings.HasPrefix(c.Endpoints[0], "http://")
}

// A Keeper keeps a store equal to the registry in etcd, and writes to etcd. All methods
// but Load and Run may be called from any goroutine.
type Keeper struct {
	config Config
	store  *registry.Store
	log    *zap.Logger
	conns  conns
	wake   chan struct{} // a write is queued, or all must be refused

	// Load sets these, and nothing changes them.
	client *clientv3.Client
	plain  *clientv3.Client // a client without a user; the same if none is configured

	mu      sync.Mutex // guards all below
	mirror  *mirror    // nil before Load
	name    string     // the registry's random name
	epoch   string     // the name of the epoch that counts
	cluster uint64     // the cluster's id

	revision   int64         // the last that the store and the mirror have
	changed    chan struct{} // closed when revision grows
	lastChange int64         // the last revision that changed something below the epoch

	importing bool        // an import is under way
	listing   bool        // the registry is being listed again
	stopped   bool        // Run has ended
	frozen    string      // why the last state is kept and writes are refused; "" if they are not
	restart   func(error) // ends the watch, so that it is started again

	queue    []*write       // to be decided next
	waiting  []*write       // for the end of an import
	expected map[string]put // what this node is writing now

	// leases holds the leases that this node granted, renewed or asked for. Renewals
	// through other nodes are not seen.
	leases map[clientv3.LeaseID]registry.Lease
	status Status
}

var _ registry.Keeper = (*Keeper)(nil)

// New returns a keeper of the registry that config names. Nothing else may write to
// store. The keeper does not connect before Load.
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
		restart: func(error) {},
		wake:    make(chan struct{}, 1),
		conns:   conns{open: make(map[*conn]struct{}), secure: config.secure()},
		changed: make(chan struct{}),
		leases:  make(map[clientv3.LeaseID]registry.Lease),
		status:  Status{Endpoints: config.Endpoints},
	}, nil
}

// key returns the key in etcd of a key below the prefix.
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

// waitOn is wait for a revision that etcd has. It gives up when the watch brings
// nothing for callTime and no listing is under way.
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

func (k *Keeper) revisionNow() int64 {
	revision, _ := k.progress()
	return revision
}

// progress returns the last revision that is applied, and whether the registry is
// being listed.
func (k *Keeper) progress() (revision int64, listing bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.revision, k.listing
}

// advancedLocked records that the store has the revision, and wakes the callers of wait.
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

// A Status is the state of a keeper.
type Status struct {
	Endpoints []string `json:"endpoints"`
	// Connected reports that etcd answered when it was last asked, and that its last
	// write has been applied.
	Connected bool `json:"connected"`
	// Held is the reason why the keeper is frozen: it serves the last state although etcd
	// answers. "" if it is not.
	Held string `json:"held,omitzero"`
	// Epoch is the name of the epoch that counts.
	Epoch string `json:"epoch"`
	// Revision is the last revision of etcd that is applied.
	Revision int64 `json:"revision"`
	// ConfirmedAt is when the store was last known to have all that etcd had. It is less
	// than two seconds ago unless etcd is away.
	ConfirmedAt time.Time `json:"confirmed_at"`
	// Age is the time since ConfirmedAt, in seconds.
	Age float64 `json:"age_seconds"`

	Relists  uint64 `json:"relists"`  // listings after the first
	Writes   uint64 `json:"writes"`   // that this node made
	Refused  uint64 `json:"refused"`  // writes, because etcd was away or full
	Failures uint64 `json:"failures"` // of reading and following etcd
	// LastError is the error that is not over yet; "" if there is none.
	LastError string `json:"last_error,omitzero"`

	// Quarantined counts the keys that are not in effect; Quarantine lists the
	// first of them, by key.
	Quarantined int           `json:"quarantined"`
	Quarantine  []Quarantined `json:"quarantine,omitzero"`
}

// A Quarantined key is not in effect.
type Quarantined struct {
	Key     string `json:"key"`
	Because string `json:"because"`
}

// maxQuarantine bounds the keys that a Status lists.
const maxQuarantine = 100

// Status returns the state of the keeper.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.status
	s.Held, s.Epoch, s.Revision = k.frozen, k.epoch, k.revision
	if !s.ConfirmedAt.IsZero() {
		s.Age = time.Since(s.ConfirmedAt).Seconds()
	}
	if k.mirror != nil {
		s.Quarantined = len(k.mirror.quarantined)
		for _, key := range slices.Sorted(maps.Keys(k.mirror.quarantined)) {
			if len(s.Quarantine) == maxQuarantine {
				break
			}
			s.Quarantine = append(s.Quarantine, Quarantined{k.key(k.epoch + "/" + key), k.mirror.quarantined[key].why})
		}
	}
	return s
}

// failed counts a failure and records its error.
func (k *Keeper) failed(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.Failures++
	k.status.LastError = inWords(err).Error()
}

// away records that etcd does not answer, or that the watch does not bring what etcd has.
func (k *Keeper) away(err error) {
	k.failed(err)
	k.mu.Lock()
	was := k.status.Connected
	k.status.Connected = false
	k.mu.Unlock()
	k.wakeCommitter()
	if was {
		k.log.Warn("etcd is away; answers go on from the last state", zap.Error(inWords(err)))
	}
}

// confirmed records that at that time the store had what etcd had.
func (k *Keeper) confirmed(at time.Time) {
	k.mu.Lock()
	was := k.status.Connected
	k.status.Connected, k.status.ConfirmedAt, k.status.LastError = true, at, ""
	revision := k.revision
	k.mu.Unlock()
	if !was {
		k.log.Info("etcd is back, and caught up with", zap.Int64("revision", revision))
	}
}

// unavailable returns an error of etcd as one of the errors of registry.Keeper.
func unavailable(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: etcd has no space left, or its alarm for that is set", registry.ErrFull)
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return registry.Faults{{Problem: "the objects are larger than etcd takes at once"}}
	default:
		return fmt.Errorf("%w: %w", registry.ErrUnavailable, inWords(err))
	}
}

// inWords returns err with a text for operators.
func inWords(err error) error {
	switch {
	case tlsFault(err):
		return fmt.Errorf("TLS with etcd fails: %w", err)
	case late(err):
		return fmt.Errorf("etcd does not answer in time: %w", err)
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return errors.New("etcd does not accept the user name and password")
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return errors.New("etcd does not let this user read and write under the prefix")
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return errors.New("etcd wants a user name and password")
	}
	return err
}

// late reports whether err is a timeout without a reason.
func late(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded
}

// permanent reports whether the same call would fail again.
func permanent(err error) bool {
	for _, is := range []error{rpctypes.ErrAuthFailed, rpctypes.ErrPermissionDenied, rpctypes.ErrUserEmpty, rpctypes.ErrUserNotFound, errBroken} {
		if errors.Is(err, is) {
			return true
		}
	}
	var faults registry.Faults
	return errors.As(err, &faults) || tlsFault(err)
}

// tlsFault reports whether err is about certificates or versions, of which gRPC
// leaves only the text.
func tlsFault(err error) bool {
	text := err.Error()
	return strings.Contains(text, "x509: ") || strings.Contains(text, "tls: ")
}
