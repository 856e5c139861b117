package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// pageSize is how many keys are listed at once, at first.
	pageSize = 1000

	// pageOctets is how much the next page should have: etcd reads that without
	// others noticing. Many pages take long, since etcd before 3.5 looks at all keys
	// that follow for each of them; large objects make pages that do not come in
	// time.
	pageOctets = 4 << 20

	// prepareTime bounds making or upgrading a registry. It is enough for 100,000 claims.
	prepareTime = time.Minute

	// progressEvery is how often a long listing logs how far it is.
	progressEvery = 2 * time.Second
)

// Load reads the registry for the first time, before Run, and makes an empty one
// if there is none under the prefix. It tries again until ctx is done, unless the error is
// permanent: etcd refuses the user or the certificate, or the registry is damaged.
func (k *Keeper) Load(ctx context.Context) error {
	logged := ""
	for {
		err := k.conns.cause(k.load(ctx))
		if err == nil {
			return nil
		}
		k.failed(err)
		if ctx.Err() != nil || permanent(err) {
			return fmt.Errorf("load the registry from etcd: %w", inWords(err))
		}
		if why := inWords(err).Error(); why != logged {
			logged = why
			k.log.Warn("the registry cannot be loaded from etcd yet", zap.Strings("endpoints", k.config.Endpoints), zap.String("error", why))
		}
		sleep(ctx, maxBackoff)
	}
}

func (k *Keeper) load(ctx context.Context) error {
	start := time.Now()
	if err := k.connect(ctx); err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	c, err := k.prepare(call)
	if err != nil {
		return err
	}
	m, err := k.list(ctx, c)
	if err != nil {
		return err
	}
	if !c.locked {
		noImport := clientv3.Compare(clientv3.CreateRevision(k.key(keyLock)), "=", 0)
		if err := k.tidy(ctx, c.epoch, noImport); err != nil {
			return err
		}
	}
	changes, err := k.replace(c, m, true)
	if err != nil {
		return err
	}
	stats := k.store.Snapshot().Stats()
	k.log.Info("registry loaded from etcd", zap.Int("apps", stats.Apps), zap.Int("machines", stats.Total()),
		zap.Int("peers", stats.Peers), zap.Int("changes", changes), zap.Int("quarantined", len(m.quarantined)),
		zap.String("epoch", c.epoch), zap.Int64("revision", c.revision), zap.Duration("took", time.Since(start)))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.Connected, k.status.ConfirmedAt = true, start
	return nil
}

// A control is what the control keys say, with etcd's revision and cluster id.
type control struct {
	revision     int64
	cluster      uint64
	name         string
	epoch        string
	format       string
	formatLeased bool // the format is the import lock of a server that knows format 1 only
	locked       bool
	head         int64 // the revision of the last write
}

// control reads the control keys. They are at least as new as the call.
func (k *Keeper) control(ctx context.Context) (*control, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var gets []clientv3.Op
	for _, key := range []string{keyRegistry, keyEpoch, keyFormat, keyLock, keyHead} {
		gets = append(gets, clientv3.OpGet(k.key(key)))
	}
	resp, err := k.client.Txn(ctx).Then(gets...).Commit()
	if err != nil {
		return nil, err
	}
	kv := func(i int) *mvccpb.KeyValue {
		if kvs := resp.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
			return kvs[0]
		}
		return new(mvccpb.KeyValue)
	}
	return &control{
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

// list reads the registry at the revision of c.
func (k *Keeper) list(ctx context.Context, c *control) (*mirror, error) {
	m, d := newMirror(), make(dirty)
	m.head = c.head
	root := k.key(c.epoch) + "/"
	last := time.Now()
	err := pages(ctx, k.client, root, c.revision, func(kv *mvccpb.KeyValue) error {
		if time.Since(last) > progressEvery {
			last = time.Now()
			k.log.Info("loading the registry from etcd", zap.Int("keys", len(m.entries)))
		}
		m.put(kv, string(kv.Key[len(root):]), nil, d)
		return nil
	})
	for e := range d {
		m.update(e)
	}
	return m, err
}

// pages calls each for everything below root as it was at a revision, in the order
// of the keys, and ends with its error.
func pages(ctx context.Context, client clientv3.KV, root string, revision int64, each func(*mvccpb.KeyValue) error) error {
	limit := int64(pageSize)
	for from := root; ; {
		call, cancel := context.WithTimeout(ctx, callTime)
		page, err := client.Get(call, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(root)), clientv3.WithLimit(limit), clientv3.WithRev(revision))
		cancel()
		if tooLong := late(err) || status.Code(err) == codes.ResourceExhausted; tooLong && limit > 1 && ctx.Err() == nil {
			limit = max(limit/10, 1)
			continue
		}
		if err != nil {
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

// errHalved reports that a listing must be made twice.
var errHalved = errors.New("more than half of a network's machines are missing")

// replace brings the store to what m, listed at the revision of c, has, in one commit.
// Unless sure, it returns errHalved instead of removing more than half of the machines of
// a network.
func (k *Keeper) replace(c *control, m *mirror, sure bool) (changes int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	snap := k.store.Snapshot()
	events := snap.Diff(m.facts())
	if c.epoch == k.epoch && !sure {
		if lost := snap.Halved(events); len(lost) > 0 {
			k.log.Warn("etcd lists less than half of a network's machines", zap.Stringer("network", lost[0].Network),
				zap.Int("lost", lost[0].Lost), zap.Int("of", lost[0].Of), zap.Int("networks", len(lost)))
			return 0, errHalved
		}
	}
	if uint64(c.revision) > snap.Index {
		tx := k.store.Begin()
		if _, err := tx.ApplyAt(uint64(c.revision), events); err != nil {
			tx.Abort()
			return 0, fmt.Errorf("apply what etcd lists: %w", err)
		}
		tx.Commit()
	} else if len(events) > 0 {
		return 0, fmt.Errorf("etcd lists something else at revision %d, which is old, than it did before", c.revision)
	}
	for _, a := range m.apps {
		for _, entries := range a.machines {
			m.drop(entries)
		}
	}
	var quarantined []*entry
	for key, e := range m.quarantined {
		if k.mirror == nil || k.mirror.entries[key] == nil || k.mirror.entries[key].why != e.why {
			quarantined = append(quarantined, e)
		}
	}
	k.mirror, k.epoch, k.name, k.cluster, k.frozen = m, c.epoch, c.name, c.cluster, ""
	k.setImporting(c.locked)
	k.logQuarantined(quarantined)
	k.advancedLocked(c.revision)
	return len(events), nil
}
