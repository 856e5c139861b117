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
)

// lockTTL is how long an import that crashed keeps others from writing, in
// seconds.
const lockTTL = 5

// maxPending is how many transactions of an import are under way at a time, with no
// more than maxOctets together: etcd syncs its disk for all that have come meanwhile
// at once. Each has to be answered in callTime, also by an etcd that is slow.
const maxPending = 4

// maxTries bounds how often a large write starts over because keys are changed
// by hand meanwhile, and how often each transaction of it is tried.
const maxTries = 5

// errChanged reports that the registry changed while it was copied.
var errChanged = errors.New("the registry changed while the new epoch was written")

// writeLarge makes a write that is too large for one transaction: it copies the epoch
// that counts into a new one, with the changes, and makes that count. The import lock
// keeps all other writes waiting meanwhile.
func (k *Keeper) writeLarge(ctx context.Context, w *write) (index uint64, err error) {
	lock, err := k.takeLock(ctx)
	if err != nil {
		return 0, err
	}
	defer lock.release()
	for try := 1; ; try++ {
		index, err = lock.writeEpoch(w)
		switch {
		case errors.Is(err, errChanged) && try < maxTries:
		case err != nil:
			return 0, faultIn(ctx, err)
		default:
			return index, nil
		}
	}
}

func (k *Keeper) revisionNow() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.revision
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
		return nil, faultIn(ctx, err)
	}
	l := &lock{Keeper: k, lease: lease.ID}
	l.ctx, l.stop = context.WithCancel(ctx)
	alive, err := k.client.KeepAlive(l.ctx, lease.ID)
	if err != nil {
		l.release()
		return nil, faultIn(ctx, err)
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

// ours compares true as long as the lock is held.
func (l *lock) ours() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(l.key(keyLock)), "=", int64(l.created))
}

// planEpoch decides w, alone. bad holds the keys that are not in effect.
func (l *lock) planEpoch(w *write) (b *batch, revision int64, epoch string, bad map[string]bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.readyLocked(); err != nil {
		return nil, 0, "", nil, err
	}
	w.grants, w.unknown, w.renew = nil, nil, nil
	tx := l.store.Begin()
	defer tx.Abort()
	b, err = l.planLocked(tx, w)
	bad = make(map[string]bool, len(l.mirror.bad))
	for key := range l.mirror.bad {
		bad[key] = true
	}
	return b, l.revision, l.epoch, bad, err
}

// writeEpoch decides w, writes a new epoch and makes it count. It returns errChanged if
// something was changed by hand meanwhile.
func (l *lock) writeEpoch(w *write) (uint64, error) {
	b, revision, epoch, bad, err := l.planEpoch(w)
	if w.panicked != nil {
		panic(w.panicked)
	}
	if err != nil {
		return 0, err
	}
	if b == nil {
		return 0, cmp.Or(l.obtain(l.ctx, w), errChanged)
	}
	if again, err := l.renewAll(l.ctx, w.renew); again || err != nil {
		return 0, cmp.Or(err, errChanged)
	}
	if !b.changes() {
		return l.store.Snapshot().Index, nil
	}
	if err := l.tidy(l.ctx, l.client, epoch, l.ours()); err != nil {
		return 0, err
	}
	begun := time.Now()
	name := strconv.FormatInt(l.revisionNow(), 10) // above all before: the lock's revision or later
	f := &filler{lock: l, root: l.key(name) + "/", done: make(chan result, maxPending)}
	if err := f.fill(b, epoch, revision, bad); err != nil {
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			w.discardLeases()
			return 0, errChanged // a machine's time was over
		}
		return 0, err
	}
	l.mu.Lock()
	moved := l.lastChange > revision
	l.mu.Unlock()
	if moved {
		return 0, errChanged
	}
	call, cancel := context.WithTimeout(l.ctx, callTime)
	defer cancel()
	resp, err := l.client.Txn(call).
		If(l.ours(), clientv3.Compare(clientv3.Value(l.key(keyEpoch)), "=", epoch),
			clientv3.Compare(clientv3.ModRevision(l.key(epoch)+"/").WithPrefix(), "<", revision+1)).
		Then(clientv3.OpPut(l.key(keyEpoch), name), clientv3.OpPut(l.key(keyHead), ""), clientv3.OpDelete(l.key(keyLock))).Commit()
	if err != nil {
		clear(w.granted) // it may have been made with them
		return 0, err
	}
	if !resp.Succeeded {
		return 0, errChanged
	}
	w.wrote = true
	clear(w.granted)
	l.log.Info("registry written under a new epoch", zap.String("epoch", name), zap.Int("keys", f.keys), zap.Duration("took", time.Since(begun)))
	if err := l.waitOn(l.ctx, resp.Header.Revision); err != nil {
		return 0, fmt.Errorf("the write was made, and the watch does not bring it: %w", err)
	}
	// Only the old epoch: the next import may have begun to write another.
	counts := clientv3.Compare(clientv3.Value(l.key(keyEpoch)), "!=", epoch)
	if err := l.wipe(context.WithoutCancel(l.ctx), l.client, l.key(epoch)+"/", counts); err != nil {
		l.log.Warn("the old epoch stays in etcd until the next import", zap.Error(inWords(err)))
	}
	return uint64(resp.Header.Revision), nil
}

// replaces reports whether the batch puts or deletes key.
func (b *batch) replaces(key string) bool {
	_, puts := b.puts[key]
	return puts || b.deletes[key] || slices.ContainsFunc(b.ranges, func(r string) bool { return strings.HasPrefix(key, r) })
}

// A filler writes an epoch that does not count yet, in transactions that only the
// holder of the lock can make.
type filler struct {
	lock   *lock
	root   string
	ops    []clientv3.Op
	octets int
	keys   int

	pending, pendingOctets int         // under way
	done                   chan result // those that ended
}

// fill writes the old epoch as it was at the revision, with the changes of the batch.
// What is not in effect comes last, and the oldest first: so its values stay younger than
// those that exclude it (see mirror.before).
func (f *filler) fill(b *batch, epoch string, revision int64, bad map[string]bool) error {
	ctx, root := f.lock.ctx, f.lock.key(epoch)+"/"
	var last []*mvccpb.KeyValue
	err := f.lock.pages(ctx, f.lock.client, root, revision, func(kv *mvccpb.KeyValue) error {
		key := string(kv.Key[len(root):])
		switch {
		case b.replaces(key):
			return nil
		case bad[key]:
			last = append(last, kv)
			return nil
		}
		return f.put(ctx, key, kv.Value, clientv3.LeaseID(kv.Lease))
	})
	for key, p := range b.puts {
		if err == nil {
			err = f.put(ctx, key, p.value, p.lease)
		}
	}
	if err == nil {
		err = f.flush(ctx)
	}
	if err = cmp.Or(err, f.wait()); err != nil {
		return err
	}
	slices.SortFunc(last, func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.ModRevision, b.ModRevision) })
	for _, kv := range last {
		if err = f.put(ctx, string(kv.Key[len(root):]), kv.Value, clientv3.LeaseID(kv.Lease)); err != nil {
			break
		}
	}
	if err == nil {
		err = f.flush(ctx)
	}
	return cmp.Or(err, f.wait())
}

// A result is how a transaction of a filler ended.
type result struct {
	octets int
	err    error
}

func (f *filler) put(ctx context.Context, key string, value []byte, lease clientv3.LeaseID) error {
	if n := len(key) + len(value); len(f.ops) == maxOps || f.octets+n > maxOctets {
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
	f.octets += len(key) + len(value)
	f.ops = append(f.ops, clientv3.OpPut(f.root+key, string(value), clientv3.WithLease(lease)))
	return nil
}

// flush begins to write what was put. The error is of what was begun before.
func (f *filler) flush(ctx context.Context) error {
	if len(f.ops) == 0 {
		return nil
	}
	for f.pending == maxPending || f.pending > 0 && f.pendingOctets+f.octets > maxOctets {
		if err := f.await(); err != nil {
			return err
		}
	}
	ops, octets := f.ops, f.octets
	f.pending, f.pendingOctets, f.keys = f.pending+1, f.pendingOctets+octets, f.keys+len(ops)
	f.ops, f.octets = nil, 0
	go func() { f.done <- result{octets, f.commit(ctx, ops)} }()
	return nil
}

// await waits until one that is under way has ended.
func (f *filler) await() error {
	ended := <-f.done
	f.pending, f.pendingOctets = f.pending-1, f.pendingOctets-ended.octets
	return ended.err
}

// commit makes a transaction, more than once if it is not known to be made: it puts
// the same, and nothing when the lock is lost. So an import outlives an election.
func (f *filler) commit(ctx context.Context, ops []clientv3.Op) error {
	for try := 1; ; try++ {
		call, cancel := context.WithTimeout(ctx, callTime)
		resp, err := f.lock.client.Txn(call).If(f.lock.ours()).Then(ops...).Commit()
		cancel()
		switch {
		case err == nil && resp.Succeeded:
			return nil
		case err == nil:
			return errors.New("the import lock was lost")
		case ctx.Err() != nil || final(err) || try == maxTries:
			return err
		}
		sleep(ctx, maxBackoff)
	}
}

// final reports whether a transaction with this error would fail again.
func final(err error) bool {
	return errors.Is(err, rpctypes.ErrLeaseNotFound) || errors.Is(err, rpctypes.ErrNoSpace) || errors.Is(err, rpctypes.ErrRequestTooLarge) || permanent(err)
}

// wait waits for all that was begun, and returns what went wrong with it.
func (f *filler) wait() (err error) {
	for f.pending > 0 {
		err = cmp.Or(err, f.await())
	}
	return err
}

// tidy deletes the epochs that do not count, as long as the condition holds. It must
// include that no import of another node is under way.
func (k *Keeper) tidy(ctx context.Context, client *clientv3.Client, epoch string, condition clientv3.Cmp) error {
	counts := clientv3.Compare(clientv3.Value(k.key(keyEpoch)), "=", epoch)
	end := clientv3.GetPrefixRangeEnd(k.key(""))
	for from := k.key(""); ; {
		call, cancel := context.WithTimeout(ctx, callTime)
		resp, err := client.Get(call, from, clientv3.WithRange(end), clientv3.WithLimit(1), clientv3.WithKeysOnly())
		cancel()
		if err != nil {
			return err
		}
		if len(resp.Kvs) == 0 {
			return nil
		}
		below := strings.TrimPrefix(string(resp.Kvs[0].Key), k.key(""))
		name, _, isEpoch := strings.Cut(below, "/")
		from = k.key(below) + "\x00"
		if !isEpoch {
			continue
		}
		from = clientv3.GetPrefixRangeEnd(k.key(name) + "/")
		if _, err := strconv.ParseUint(name, 10, 64); err != nil || name == epoch {
			continue // not an epoch
		}
		if err := k.wipe(ctx, client, k.key(name)+"/", counts, condition); err != nil {
			return err
		}
	}
}

// wipe deletes everything under a prefix, as long as the conditions hold, and a page
// at a time: the watches of all nodes receive every deletion.
func (k *Keeper) wipe(ctx context.Context, client *clientv3.Client, prefix string, conditions ...clientv3.Cmp) error {
	for {
		if more, err := k.wipePage(ctx, client, prefix, conditions); !more || err != nil {
			return err
		}
	}
}

// wipePage reports whether there is more to delete, and the conditions still hold.
func (k *Keeper) wipePage(ctx context.Context, client *clientv3.Client, prefix string, conditions []clientv3.Cmp) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	page, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithLimit(pageSize), clientv3.WithKeysOnly())
	if err != nil || len(page.Kvs) == 0 {
		return false, err
	}
	last := string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	resp, err := client.Txn(ctx).If(conditions...).Then(clientv3.OpDelete(prefix, clientv3.WithRange(last))).Commit()
	return err == nil && resp.Succeeded && page.More, err
}
