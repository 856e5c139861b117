package etcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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
	*head
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
	h, err := k.head(ctx, client)
	if err == nil && (h.name == "" || h.epoch.name == "") {
		if err = k.create(ctx, client); err != nil {
			return err
		}
		if h, err = k.head(ctx, client); err == nil && (h.name == "" || h.epoch.name == "") {
			err = fmt.Errorf("%w: of %s and %s only one is there", errBroken, k.key(keyRegistry), k.key(keyEpoch))
		}
	}
	if err != nil {
		return err
	}
	l, err := k.list(ctx, client, h)
	if err != nil {
		return err
	}
	if !l.locked { // left by an import that crashed
		if err := k.tidy(ctx, client, l.epoch, clientv3.Compare(clientv3.CreateRevision(k.key(keyImport)), "=", 0)); err != nil {
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
		zap.String("epoch", l.epoch.name), zap.Int64("revision", l.revision), zap.Duration("took", time.Since(start)))
	k.status.Connected, k.status.ConfirmedAt = true, start
	return nil
}

// create makes an empty registry, unless another node has made one.
func (k *Keeper) create(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(k.key(keyRegistry)), "=", 0),
			clientv3.Compare(clientv3.CreateRevision(k.key(keyEpoch)), "=", 0)).
		Then(clientv3.OpPut(k.key(keyRegistry), rand.Text()), clientv3.OpPut(k.key(keyEpoch), "1")).
		Commit()
	return err
}

// list reads the registry at the revision of h.
func (k *Keeper) list(ctx context.Context, client *clientv3.Client, h *head) (*listing, error) {
	l := &listing{head: h, mirror: newMirror()}
	root := k.key(l.epoch.name) + "/"
	d := make(dirty)
	type named struct {
		key string
		claim
	}
	var claims []named // after the objects that they name
	last := time.Now()
	err := k.pages(ctx, client, root, l.revision, func(kv *mvccpb.KeyValue) error {
		if time.Since(last) > progressEvery {
			last = time.Now()
			k.log.Info("loading the registry from etcd", zap.Int("keys", len(l.mirror.entries)+len(claims)))
		}
		key := string(kv.Key[len(root):])
		if kind, _, _ := strings.Cut(key, "/"); isClaim(kind) {
			claims = append(claims, named{key, claim{string(kv.Value), kv.ModRevision, clientv3.LeaseID(kv.Lease)}})
		} else {
			l.mirror.put(kv, key, d)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, c := range claims {
		c.owner = l.mirror.intern(c.owner)
		l.mirror.claim(c.key, c.claim, d)
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

// A head holds the keys beside the epochs, and etcd's revision and cluster id.
type head struct {
	revision int64
	cluster  uint64
	name     string
	epoch    epoch
	locked   bool
	written  int64 // the revision of the last write
}

// head reads the head from etcd. It is at least as new as the call.
func (k *Keeper) head(ctx context.Context, client *clientv3.Client) (*head, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	resp, err := client.Txn(ctx).Then(clientv3.OpGet(k.key(keyRegistry)), clientv3.OpGet(k.key(keyEpoch)),
		clientv3.OpGet(k.key(keyImport), clientv3.WithKeysOnly()), clientv3.OpGet(k.key(keyWritten), clientv3.WithKeysOnly())).Commit()
	if err != nil {
		return nil, err
	}
	h := &head{revision: resp.Header.Revision, cluster: resp.Header.ClusterId}
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		h.name = string(kvs[0].Value)
	}
	if kvs := resp.Responses[1].GetResponseRange().Kvs; len(kvs) > 0 {
		h.epoch = epoch{string(kvs[0].Value), kvs[0].ModRevision}
		h.written = kvs[0].ModRevision
	}
	h.locked = len(resp.Responses[2].GetResponseRange().Kvs) > 0
	if kvs := resp.Responses[3].GetResponseRange().Kvs; len(kvs) > 0 {
		h.written = max(h.written, kvs[0].ModRevision)
	}
	return h, nil
}

// errHalved says that a listing should be asked for twice.
var errHalved = errors.New("more than half of a network's machines are missing")

// replaceLocked brings the store to what l says, in one commit. Unless sure, it
// returns errHalved instead of taking away more than half of the machines of a
// network that nobody was seen to delete.
func (k *Keeper) replaceLocked(l *listing, sure bool) (changes int, err error) {
	snap := k.store.Snapshot()
	events := snap.Diff(l.mirror.facts())
	if l.epoch.name == k.epoch.name && !sure {
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
	k.mirror, k.epoch, k.locked, k.name, k.cluster = l.mirror, l.epoch, l.locked, l.name, l.cluster
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
