package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

const (
	// lockTTL is how long an import that crashed keeps others from writing, in seconds.
	lockTTL = 5

	// maxPending is how many transactions of an import are under way at a time: etcd
	// syncs its disk once for several.
	maxPending = 4

	// maxTries bounds how often a large write is decided because keys are changed by
	// hand at the same time, and how often each transaction of it is tried.
	maxTries = 5
)

// errChanged reports that the registry changed while it was copied.
var errChanged = errors.New("the registry changed while the new epoch was written")

// writeLarge makes a write that is too large for one transaction: it copies the epoch
// that counts into a new one, with the changes, and makes that count. The import lock
// keeps all other writes waiting.
func (k *Keeper) writeLarge(ctx context.Context, w *write) (index uint64, err error) {
	lock, err := k.takeLock(ctx)
	if err != nil {
		return 0, err
	}
	defer lock.release()
	for range maxTries {
		if index, err = lock.writeEpoch(w); !errors.Is(err, errChanged) {
			break
		}
	}
	return index, fault(ctx, err)
}

// A lock keeps all nodes from writing as long as its key exists. Only leases are
// renewed.
type lock struct {
	*Keeper
	ctx     context.Context // done when the lock may be lost
	stop    context.CancelFunc
	lease   clientv3.LeaseID
	created uint64 // the revision that created the key
}

// takeLock takes the import lock. It waits until no other node has it.
func (k *Keeper) takeLock(ctx context.Context) (*lock, error) {
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	lease, err := k.client.Grant(call, lockTTL)
	if err != nil {
		return nil, fault(ctx, err)
	}
	l := &lock{Keeper: k, lease: lease.ID}
	l.ctx, l.stop = context.WithCancel(ctx)
	alive, err := k.client.KeepAlive(l.ctx, lease.ID)
	if err != nil {
		l.release()
		return nil, fault(ctx, err)
	}
	go func() {
		for range alive { // until ctx is done or the lease is lost
		}
		l.stop()
	}()
	if l.created, err = k.write(ctx, &write{lock: lease.ID}); err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

// release releases the lock, if it is still held.
func (l *lock) release() {
	l.stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), callTime)
	defer cancel()
	l.client.Revoke(ctx, l.lease)
}

// held is true in etcd as long as the lock is held.
func (l *lock) held() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(l.key(keyLock)), "=", int64(l.created))
}

// A newEpoch is an epoch that does not count yet: a copy of the one that does, with the
// changes of a batch.
type newEpoch struct {
	*lock
	*batch
	ctx         context.Context // done when a transaction has failed, or with the lock's
	stop        context.CancelFunc
	revision    int64
	from, to    string          // the names of the epochs
	quarantined map[string]bool // keys that are not in effect

	pending errgroup.Group
	ops     []clientv3.Op // the next transaction
	octets  int           // of ops
	keys    int           // put so far
}

// plan decides w. It returns nil if leases must be obtained before.
func (l *lock) plan(w *write) (*newEpoch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.readyLocked(); err != nil {
		return nil, err
	}
	w.grants, w.unknown, w.renew = nil, nil, nil
	tx := l.store.Begin()
	defer tx.Abort()
	b, err := l.planLocked(tx, w)
	if b == nil || err != nil {
		return nil, err
	}
	c := &newEpoch{lock: l, batch: b, revision: l.revision, from: l.epoch, quarantined: make(map[string]bool)}
	c.to = strconv.FormatInt(l.revision, 10) // above all before: the lock's revision or later
	c.ctx, c.stop = context.WithCancel(l.ctx)
	c.pending.SetLimit(maxPending)
	for key := range l.mirror.quarantined {
		c.quarantined[key] = true
	}
	return c, nil
}

// writeEpoch decides w, writes a new epoch and makes it count. It returns errChanged if
// something was changed by hand at the same time.
func (l *lock) writeEpoch(w *write) (uint64, error) {
	c, err := l.plan(w)
	switch {
	case w.panicked != nil:
		panic(w.panicked)
	case err != nil:
		return 0, err
	case c == nil:
		return 0, cmp.Or(l.obtain(l.ctx, w), errChanged)
	}
	defer c.stop()
	if again, err := l.renew(l.ctx, w.renew); again || err != nil {
		return 0, cmp.Or(err, errChanged)
	}
	if !c.changes() {
		return l.store.Snapshot().Index, nil
	}
	begun := time.Now()
	if err := l.tidy(l.ctx, c.from, l.held()); err != nil {
		return 0, err
	}
	err = c.fill()
	if err = cmp.Or(c.pending.Wait(), err); err != nil {
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			w.discardLeases()
			return 0, errChanged // a machine has been deleted with its lease
		}
		return 0, err
	}
	l.mu.Lock()
	changed := l.lastChange > c.revision
	l.mu.Unlock()
	if changed {
		return 0, errChanged
	}
	call, cancel := context.WithTimeout(l.ctx, callTime)
	defer cancel()
	resp, err := l.client.Txn(call).
		If(l.held(), clientv3.Compare(clientv3.Value(l.key(keyEpoch)), "=", c.from),
			clientv3.Compare(clientv3.ModRevision(l.key(c.from)+"/").WithPrefix(), "<", c.revision+1)).
		Then(clientv3.OpPut(l.key(keyEpoch), c.to), clientv3.OpPut(l.key(keyHead), ""), clientv3.OpDelete(l.key(keyLock))).Commit()
	switch {
	case err != nil:
		clear(w.granted) // the transaction may have been made with them
		return 0, err
	case !resp.Succeeded:
		return 0, errChanged
	}
	w.wrote = true
	clear(w.granted)
	l.log.Info("registry written under a new epoch", zap.String("epoch", c.to), zap.Int("keys", c.keys), zap.Duration("took", time.Since(begun)))
	if err := l.waitOn(l.ctx, resp.Header.Revision); err != nil {
		return 0, fmt.Errorf("the write was made, and the watch does not bring it: %w", err)
	}
	// Only the old epoch: the next import may have begun to write another.
	counts := clientv3.Compare(clientv3.Value(l.key(keyEpoch)), "!=", c.from)
	if err := l.wipe(l.ctx, l.key(c.from)+"/", counts); err != nil {
		l.log.Warn("the old epoch stays in etcd until the next import", zap.Error(inWords(err)))
	}
	return uint64(resp.Header.Revision), nil
}

// fill writes the old epoch with the changes. What is not in effect comes last, and the
// oldest first: so its values stay younger than those that exclude it (see
// mirror.before).
func (c *newEpoch) fill() error {
	root := c.key(c.from) + "/"
	var last []*mvccpb.KeyValue
	err := pages(c.ctx, c.client, root, c.revision, func(kv *mvccpb.KeyValue) error {
		key := string(kv.Key[len(root):])
		switch {
		case c.replaces(key):
			return nil
		case c.quarantined[key]:
			last = append(last, kv)
			return nil
		}
		return c.put(key, put{value: kv.Value, lease: clientv3.LeaseID(kv.Lease)})
	})
	if err != nil {
		return err
	}
	for key, p := range c.puts {
		if err := c.put(key, p); err != nil {
			return err
		}
	}
	c.flush()
	if err := c.pending.Wait(); err != nil {
		return err
	}
	slices.SortFunc(last, func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.ModRevision, b.ModRevision) })
	for _, kv := range last {
		if err := c.put(string(kv.Key[len(root):]), put{value: kv.Value, lease: clientv3.LeaseID(kv.Lease)}); err != nil {
			return err
		}
	}
	c.flush()
	return nil
}

// put adds a key to the next transaction, and begins that if it is full.
func (c *newEpoch) put(key string, p put) error {
	n := len(key) + len(p.value)
	if len(c.ops) == maxOps || c.octets+n > maxOctets {
		c.flush()
	}
	c.ops = append(c.ops, clientv3.OpPut(c.key(c.to)+"/"+key, string(p.value), clientv3.WithLease(p.lease)))
	c.octets += n
	return c.ctx.Err()
}

// flush begins the next transaction, when few enough are pending.
func (c *newEpoch) flush() {
	if len(c.ops) == 0 {
		return
	}
	ops := c.ops
	c.keys += len(ops)
	c.ops, c.octets = nil, 0
	c.pending.Go(func() error {
		err := c.commit(ops)
		if err != nil {
			c.stop()
		}
		return err
	})
}

// commit makes a transaction, more than once if it is not known to be made: it puts
// the same, and nothing when the lock is lost. So an import outlives an election.
func (c *newEpoch) commit(ops []clientv3.Op) error {
	for try := 1; ; try++ {
		call, cancel := context.WithTimeout(c.ctx, callTime)
		resp, err := c.client.Txn(call).If(c.held()).Then(ops...).Commit()
		cancel()
		switch {
		case err == nil && resp.Succeeded:
			return nil
		case err == nil:
			return errors.New("the import lock was lost")
		case c.ctx.Err() != nil || permanent(err) || try == maxTries:
			return err
		}
		sleep(c.ctx, maxBackoff)
	}
}

// replaces reports whether the batch puts or deletes key.
func (b *batch) replaces(key string) bool {
	_, puts := b.puts[key]
	return puts || b.deletes[key] || slices.ContainsFunc(b.ranges, func(r string) bool { return strings.HasPrefix(key, r) })
}

// tidy deletes the epochs that do not count, as long as the condition holds. It must
// include that no import of another node is under way.
func (k *Keeper) tidy(ctx context.Context, epoch string, condition clientv3.Cmp) error {
	counts := clientv3.Compare(clientv3.Value(k.key(keyEpoch)), "=", epoch)
	end := clientv3.GetPrefixRangeEnd(k.key(""))
	for from := k.key(""); ; {
		call, cancel := context.WithTimeout(ctx, callTime)
		resp, err := k.client.Get(call, from, clientv3.WithRange(end), clientv3.WithLimit(1), clientv3.WithKeysOnly())
		cancel()
		if err != nil || len(resp.Kvs) == 0 {
			return err
		}
		from = string(resp.Kvs[0].Key) + "\x00"
		name, _, isEpoch := strings.Cut(strings.TrimPrefix(string(resp.Kvs[0].Key), k.key("")), "/")
		if _, err := strconv.ParseUint(name, 10, 64); err != nil || !isEpoch {
			continue // a control key, or another's
		}
		if from = clientv3.GetPrefixRangeEnd(k.key(name) + "/"); name != epoch {
			if err := k.wipe(ctx, k.key(name)+"/", counts, condition); err != nil {
				return err
			}
		}
	}
}

// wipe deletes everything under a prefix, as long as the conditions hold, and a page
// at a time: the watches of all nodes receive every deletion.
func (k *Keeper) wipe(ctx context.Context, prefix string, conditions ...clientv3.Cmp) error {
	for {
		call, cancel := context.WithTimeout(ctx, callTime)
		page, err := k.client.Get(call, prefix, clientv3.WithPrefix(), clientv3.WithLimit(pageSize), clientv3.WithKeysOnly())
		if err != nil || len(page.Kvs) == 0 {
			cancel()
			return err
		}
		last := string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
		resp, err := k.client.Txn(call).If(conditions...).Then(clientv3.OpDelete(prefix, clientv3.WithRange(last))).Commit()
		cancel()
		if err != nil || !resp.Succeeded || !page.More {
			return err
		}
	}
}
