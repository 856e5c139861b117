package etcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/internaldns/internaldns/registry"
)

// A listing is the registry as etcd has it at one revision.
type listing struct {
	*top
	mirror *mirror
}

const (
	// pageSize is how many keys are listed at once, at first.
	pageSize = 1000

	// pageOctets is how much the next page should have: etcd reads that without
	// others noticing. Many pages are dear, since etcd before 3.5 looks at all keys
	// that follow for each of them; large objects make pages that do not come in
	// time.
	pageOctets = 4 << 20
)

// Load reads the registry for the first time, before Run, and makes an empty one
// if there is none under the prefix. It goes on trying until ctx is done, unless
// etcd refuses the user or the certificate: then it returns the reason.
func (k *Keeper) Load(ctx context.Context) error {
	logged := ""
	for {
		err := k.conns.cause(k.load(ctx))
		if err == nil || ctx.Err() != nil || permanent(err) {
			if err != nil {
				k.failed(err)
				return fmt.Errorf("load the registry from etcd: %w", inWords(err))
			}
			return nil
		}
		k.failed(err)
		if why := inWords(err).Error(); why != logged {
			logged = why
			k.log.Warn("the registry cannot be loaded from etcd yet", zap.Strings("endpoints", k.config.Endpoints), zap.String("error", why))
		}
		sleep(ctx, maxBackoff)
	}
}

func (k *Keeper) load(ctx context.Context) error {
	client, err := k.connect(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	t, err := k.prepare(ctx, client)
	if err != nil {
		return err
	}
	l, err := k.list(ctx, client, t)
	if err != nil {
		return err
	}
	if !l.locked { // otherwise an import is under way
		if err := k.tidy(ctx, client, l.epoch, clientv3.Compare(clientv3.CreateRevision(k.key(keyLock)), "=", 0)); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	changes, err := k.replaceLocked(l, true)
	if err != nil {
		return err
	}
	stats := k.store.Snapshot().Stats()
	k.log.Info("registry loaded from etcd", zap.Int("apps", stats.Apps), zap.Int("machines", stats.Total()),
		zap.Int("peers", stats.Peers), zap.Int("changes", changes), zap.Int("quarantined", len(l.mirror.bad)),
		zap.String("epoch", l.epoch), zap.Int64("revision", l.revision), zap.Duration("took", time.Since(start)))
	k.status.Connected, k.status.ConfirmedAt = true, start
	return nil
}

// prepare makes an empty registry if there is none, and upgrades one of format 1.
func (k *Keeper) prepare(ctx context.Context, client *clientv3.Client) (*top, error) {
	t, err := k.top(ctx, client)
	if err == nil && t.name == "" && t.epoch == "" {
		if err = k.create(ctx, client); err == nil {
			t, err = k.top(ctx, client)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case t.name == "" || t.epoch == "":
		return nil, fmt.Errorf("%w: of %s and %s only one is there", errBroken, k.key(keyRegistry), k.key(keyEpoch))
	case t.format == "":
		if err := k.begin2(ctx, client, t); err != nil {
			return nil, err
		}
	case t.format != currentFormat && t.formatLeased:
		return nil, errors.New("a server of an older version imports a registry; this one waits for the end of it")
	case t.format != currentFormat:
		return nil, fmt.Errorf("%w: its format, %.20q in %s, is unknown to this version", errBroken, t.format, k.key(keyFormat))
	}
	return k.dropClaims(ctx, client)
}

// create makes an empty registry, unless another node has made one.
func (k *Keeper) create(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(k.key(keyRegistry)), "=", 0),
			clientv3.Compare(clientv3.CreateRevision(k.key(keyEpoch)), "=", 0)).
		Then(clientv3.OpPut(k.key(keyRegistry), rand.Text()), clientv3.OpPut(k.key(keyEpoch), "1"),
			clientv3.OpPut(k.key(keyFormat), currentFormat), clientv3.OpPut(k.key(keyHead), "")).
		Commit()
	return err
}

// begin2 makes a registry of format 1 one of format 2. Servers of older versions, which
// know format 1 only, take its key for an import that does not end: they go on reading,
// renew leases, and write nothing else.
func (k *Keeper) begin2(ctx context.Context, client *clientv3.Client, t *top) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(k.key(keyFormat)), "=", 0),
			clientv3.Compare(clientv3.Value(k.key(keyRegistry)), "=", t.name)).
		Then(clientv3.OpPut(k.key(keyFormat), currentFormat), clientv3.OpPut(k.key(keyHead), "")).Commit()
	return err // another node may have been quicker
}

// claimKinds are the keys of format 1 that said whose an id, an address or a name is,
// and how objects say that they want it.
var claimKinds = map[string]string{"ids/": wantID, "addresses/": wantAddress, "names/": wantName}

// dropClaims deletes the claims of format 1. An object that had one comes before others
// that want the same (see mirror.before): those that are older are put again.
func (k *Keeper) dropClaims(ctx context.Context, client *clientv3.Client) (*top, error) {
	t, err := k.top(ctx, client)
	if err != nil {
		return nil, err
	}
	if t.format != currentFormat {
		return nil, errors.New("the registry is upgraded by another server")
	}
	root := k.key(t.epoch) + "/"
	owners := make(map[string]string) // key of the owner, by what it wants
	for kind, want := range claimKinds {
		err := k.pages(ctx, client, root+kind, t.revision, func(kv *mvccpb.KeyValue) error {
			owners[want+string(kv.Key[len(root+kind):])] = string(kv.Value)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(owners) == 0 {
		return t, nil
	}
	l, err := k.list(ctx, client, t)
	if err != nil {
		return nil, err
	}
	for want, key := range owners {
		owner := l.mirror.entries[key]
		if owner == nil || !slices.Contains(l.mirror.wanted[want], owner) {
			continue
		}
		for _, e := range l.mirror.wanted[want] {
			if e == owner || !older(e, owner) {
				continue
			}
			call, cancel := context.WithTimeout(ctx, callTime)
			_, err := client.Txn(call).If(clientv3.Compare(clientv3.ModRevision(root+e.key), "=", e.mod)).
				Then(clientv3.OpPut(root+e.key, "", clientv3.WithIgnoreValue(), clientv3.WithIgnoreLease())).Commit()
			cancel()
			if err != nil {
				return nil, err
			}
		}
	}
	for kind := range claimKinds {
		if err := k.wipe(ctx, client, root+kind); err != nil {
			return nil, err
		}
	}
	k.log.Info("registry in etcd upgraded", zap.String("format", currentFormat), zap.Int("claims", len(owners)))
	return k.top(ctx, client)
}

// list reads the registry at the revision of t.
func (k *Keeper) list(ctx context.Context, client *clientv3.Client, t *top) (*listing, error) {
	l := &listing{top: t, mirror: newMirror()}
	l.mirror.head = t.head
	root := k.key(l.epoch) + "/"
	d := make(dirty)
	last := time.Now()
	err := k.pages(ctx, client, root, l.revision, func(kv *mvccpb.KeyValue) error {
		if time.Since(last) > progressEvery {
			last = time.Now()
			k.log.Info("loading the registry from etcd", zap.Int("keys", len(l.mirror.entries)))
		}
		l.mirror.put(kv, string(kv.Key[len(root):]), nil, d)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for e := range d {
		if e.why = l.mirror.decide(e); e.why != "" {
			l.mirror.bad[e.key] = e
		}
	}
	return l, nil
}

// progressEvery is how often a long load says how far it is.
const progressEvery = 2 * time.Second

// pages calls each for everything below root as it was at a revision, in the order
// of the keys, and ends with its error.
func (k *Keeper) pages(ctx context.Context, client clientv3.KV, root string, revision int64, each func(*mvccpb.KeyValue) error) error {
	limit := int64(pageSize)
	for from := root; ; {
		page, err := k.page(ctx, client, from, clientv3.GetPrefixRangeEnd(root), revision, limit)
		switch {
		case err != nil && tooLong(err) && limit > 1 && ctx.Err() == nil:
			limit = max(limit/10, 1)
			continue
		case err != nil:
			return err
		}
		octets := 1
		for _, kv := range page.Kvs {
			octets += len(kv.Key) + len(kv.Value)
			if err := each(kv); err != nil {
				return err
			}
		}
		if !page.More {
			return nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
		limit = max(min(limit*pageOctets/int64(octets), 4*limit), 1)
	}
}

// tooLong reports whether err can be one of a page that is too long.
func tooLong(err error) bool { return late(err) || status.Code(err) == codes.ResourceExhausted }

func (k *Keeper) page(ctx context.Context, client clientv3.KV, from, end string, revision, limit int64) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(limit), clientv3.WithRev(revision))
}

// A top holds what is beside the epochs, and etcd's revision and cluster id.
type top struct {
	revision     int64
	cluster      uint64
	name         string
	epoch        string
	format       string
	formatLeased bool // the format is the import lock of a server that knows format 1 only
	locked       bool
	head         int64 // the revision of the last write
}

// top reads the top from etcd. It is at least as new as the call.
func (k *Keeper) top(ctx context.Context, client *clientv3.Client) (*top, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var gets []clientv3.Op
	for _, key := range []string{keyRegistry, keyEpoch, keyFormat, keyLock, keyHead} {
		gets = append(gets, clientv3.OpGet(k.key(key)))
	}
	resp, err := client.Txn(ctx).Then(gets...).Commit()
	if err != nil {
		return nil, err
	}
	kv := func(i int) *mvccpb.KeyValue {
		if kvs := resp.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
			return kvs[0]
		}
		return new(mvccpb.KeyValue)
	}
	return &top{
		revision:     resp.Header.Revision,
		cluster:      resp.Header.ClusterId,
		name:         string(kv(0).Value),
		epoch:        string(kv(1).Value),
		format:       string(kv(2).Value),
		formatLeased: kv(2).Lease != 0,
		locked:       kv(3).ModRevision != 0,
		head:         kv(4).ModRevision,
	}, nil
}

// errHalved says that a listing should be asked for twice.
var errHalved = errors.New("more than half of a network's machines are missing")

// replaceLocked brings the store to what l says, in one commit. Unless sure, it
// returns errHalved instead of taking away more than half of the machines of a
// network that nobody was seen to delete.
func (k *Keeper) replaceLocked(l *listing, sure bool) (changes int, err error) {
	snap := k.store.Snapshot()
	events := snap.Diff(l.mirror.facts())
	if l.epoch == k.epoch && !sure {
		if lost := snap.Halved(events); len(lost) > 0 {
			k.log.Warn("etcd lists less than half of a network's machines", zap.Stringer("network", lost[0].Network),
				zap.Int("lost", lost[0].Lost), zap.Int("of", lost[0].Of), zap.Int("networks", len(lost)))
			return 0, errHalved
		}
	}
	if uint64(l.revision) > snap.Index {
		tx := k.store.Begin()
		if _, err := tx.ApplyAt(uint64(l.revision), events); err != nil {
			tx.Abort()
			return 0, fmt.Errorf("apply what etcd lists: %w", err)
		}
		tx.Commit()
	} else if len(events) > 0 {
		return 0, fmt.Errorf("etcd lists something else at revision %d, which is old, than it said before", l.revision)
	}
	var bad newlyQuarantined
	for _, e := range l.mirror.bad {
		if k.mirror == nil || k.mirror.entries[e.key] == nil || k.mirror.entries[e.key].why != e.why {
			bad.add(e)
		}
	}
	defer bad.log(k)
	for _, a := range l.mirror.apps {
		for _, entries := range a.machines {
			l.mirror.drop(entries)
		}
	}
	k.mirror, k.epoch, k.name, k.cluster, k.frozen = l.mirror, l.epoch, l.name, l.cluster, ""
	k.setLocked(l.locked)
	k.advancedLocked(l.revision)
	return len(events), nil
}

// errBroken reports that etcd lacks a key without which the registry cannot be
// read, and that a person has to repair it.
var errBroken = errors.New("the registry is damaged")

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
