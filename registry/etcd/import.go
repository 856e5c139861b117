package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
// that counts into a new one, with the changes, and makes that count. The lock
// keeps other writes waiting meanwhile.
func (w *write) writeLarge(ctx context.Context) (index uint64, again bool, err error) {
	lock, held, err := w.lock(ctx)
	if err != nil {
		return 0, false, w.fault(ctx, err)
	}
	if !held {
		return 0, true, w.lost(ctx, w.revisionNow(), 0) // another node has it
	}
	defer lock.release()
	if err := w.waitOn(lock.ctx, lock.revision); err != nil {
		return 0, false, w.fault(ctx, err)
	}
	for try := 1; ; try++ {
		index, err = w.writeEpoch(ctx, lock)
		if errors.Is(err, errChanged) {
			if try < maxTries {
				continue
			}
			err = w.fault(ctx, err)
		}
		return index, false, err
	}
}

func (k *Keeper) revisionNow() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.revision
}

// A lock keeps other nodes from writing as long as its key exists.
type lock struct {
	*Keeper
	client   *clientv3.Client
	ctx      context.Context // done when the lock may be lost
	stop     context.CancelFunc
	lease    clientv3.LeaseID
	revision int64 // that created the key
}

// lock takes the import lock; held is false if another node has it.
func (w *write) lock(ctx context.Context) (l *lock, held bool, err error) {
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	lease, err := w.client.Grant(call, lockTTL)
	if err != nil {
		return nil, false, err
	}
	w.mu.Lock()
	epoch := w.epoch
	w.mu.Unlock()
	resp, err := w.client.Txn(call).
		If(clientv3.Compare(clientv3.CreateRevision(w.key(keyImport)), "=", 0),
			clientv3.Compare(clientv3.ModRevision(w.key(keyEpoch)), "=", epoch.mod)).
		Then(clientv3.OpPut(w.key(keyImport), time.Now().UTC().Format(time.RFC3339), clientv3.WithLease(lease.ID))).Commit()
	if err != nil || !resp.Succeeded {
		w.client.Revoke(call, lease.ID)
		return nil, false, err
	}
	l = &lock{Keeper: w.Keeper, client: w.client, lease: lease.ID, revision: resp.Header.Revision}
	l.ctx, l.stop = context.WithCancel(ctx)
	alive, err := w.client.KeepAlive(l.ctx, lease.ID)
	if err != nil {
		l.release()
		return nil, false, err
	}
	go func() {
		for range alive { // until ctx is done or the lease is lost
		}
		l.stop()
	}()
	return l, true, nil
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
	return clientv3.Compare(clientv3.CreateRevision(l.key(keyImport)), "=", l.revision)
}

// writeEpoch decides, writes a new epoch and makes it count. It returns errChanged if
// something was changed by hand meanwhile.
func (w *write) writeEpoch(ctx context.Context, l *lock) (uint64, error) {
	b, _, err := w.plan()
	if err != nil {
		return 0, err
	}
	if len(b.unknown) > 0 {
		if err := w.learn(ctx, b); err != nil {
			return 0, err
		}
		return 0, errChanged
	}
	if b.empty() {
		return w.store.Snapshot().Index, nil
	}
	if again, err := w.lease(ctx, b); again || err != nil {
		if err == nil {
			err = errChanged
		}
		return 0, err
	}
	if err := w.tidy(l.ctx, w.client, b.epoch, l.ours()); err != nil {
		return 0, w.fault(ctx, err)
	}
	begun := time.Now()
	name := strconv.FormatInt(w.revisionNow(), 10) // above all before: the lock's revision or later
	f := &filler{write: w, lock: l, root: w.key(name) + "/", done: make(chan result, maxPending)}
	err = w.copy(l.ctx, b, f)
	if err == nil {
		for key, p := range b.puts {
			if err = f.put(l.ctx, key, p.value, w.leaseOf(p)); err != nil {
				break
			}
		}
	}
	if err == nil {
		err = f.flush(l.ctx)
	}
	err = cmp.Or(err, f.wait())
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return 0, errChanged // a machine's time was over
	}
	if err != nil {
		return 0, w.fault(ctx, err)
	}
	w.mu.Lock()
	moved := w.lastChange > b.revision
	w.mu.Unlock()
	if moved {
		return 0, errChanged
	}
	call, cancel := context.WithTimeout(l.ctx, callTime)
	defer cancel()
	resp, err := w.client.Txn(call).
		If(l.ours(), clientv3.Compare(clientv3.ModRevision(w.key(keyEpoch)), "=", b.epoch.mod),
			clientv3.Compare(clientv3.ModRevision(w.key(b.epoch.name)+"/").WithPrefix(), "<", b.revision+1)).
		Then(clientv3.OpPut(w.key(keyEpoch), name), clientv3.OpPut(w.key(keyWritten), ""), clientv3.OpDelete(w.key(keyImport))).Commit()
	if err != nil {
		clear(w.granted) // it may have been made with them
		return 0, w.fault(ctx, err)
	}
	if !resp.Succeeded {
		return 0, errChanged
	}
	w.wrote = true
	clear(w.granted)
	w.log.Info("registry written under a new epoch", zap.String("epoch", name), zap.Int("keys", f.keys), zap.Duration("took", time.Since(begun)))
	if err := w.waitOn(ctx, resp.Header.Revision); err != nil {
		return 0, w.fault(ctx, fmt.Errorf("the write was made, and the watch does not bring it: %w", err))
	}
	// Only the old epoch: the next import may have begun to write another.
	counts := clientv3.Compare(clientv3.Value(w.key(keyEpoch)), "!=", b.epoch.name)
	if err := w.wipe(ctx, w.client, w.key(b.epoch.name)+"/", []clientv3.Cmp{counts}); err != nil {
		w.log.Warn("the old epoch stays in etcd until the next import", zap.Error(inWords(err)))
	}
	return uint64(resp.Header.Revision), nil
}

// copy copies what the batch does not change, as it was when it was decided.
func (w *write) copy(ctx context.Context, b *batch, f *filler) error {
	root := w.key(b.epoch.name) + "/"
	return w.pages(ctx, w.client, root, b.revision, func(kv *mvccpb.KeyValue) error {
		key := string(kv.Key[len(root):])
		if b.replaces(key) {
			return nil
		}
		return f.put(ctx, key, kv.Value, clientv3.LeaseID(kv.Lease))
	})
}

// replaces reports whether the batch puts or deletes key.
func (b *batch) replaces(key string) bool {
	if _, ok := b.puts[key]; ok || b.deletes[key] {
		return true
	}
	if _, ok := b.optional[key]; ok {
		return true
	}
	for _, r := range b.ranges {
		if strings.HasPrefix(key, r) {
			return true
		}
	}
	return false
}

// A filler writes an epoch that does not count yet, in transactions that only the
// holder of the lock can make. Each key is put once, so that their order does not
// matter.
type filler struct {
	*write
	lock   *lock
	root   string
	ops    []clientv3.Op
	octets int
	keys   int

	pending, pendingOctets int         // under way
	done                   chan result // those that ended
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
		resp, err := f.client.Txn(call).If(f.lock.ours()).Then(ops...).Commit()
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

// tidy deletes the epochs that do not count, as long as the conditions hold. They
// must include that no import of another node is under way.
func (k *Keeper) tidy(ctx context.Context, client *clientv3.Client, now epoch, conditions ...clientv3.Cmp) error {
	conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(k.key(keyEpoch)), "=", now.mod))
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
		if _, err := strconv.ParseUint(name, 10, 64); err != nil || name == now.name {
			continue // not an epoch
		}
		if err := k.wipe(ctx, client, k.key(name)+"/", conditions); err != nil {
			return err
		}
	}
}

// wipe deletes everything under a prefix, as long as the conditions hold, and a
// page at a time: the watches of all nodes receive every deletion.
func (k *Keeper) wipe(ctx context.Context, client *clientv3.Client, prefix string, conditions []clientv3.Cmp) error {
	for done := false; !done; {
		var err error
		if done, err = k.wipeSome(ctx, client, prefix, conditions); err != nil {
			return err
		}
	}
	return nil
}

// wipeSome reports whether nothing is left to delete, or the conditions no longer
// hold.
func (k *Keeper) wipeSome(ctx context.Context, client *clientv3.Client, prefix string, conditions []clientv3.Cmp) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	page, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithLimit(pageSize), clientv3.WithKeysOnly())
	if err != nil || len(page.Kvs) == 0 {
		return true, err
	}
	last := string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	resp, err := client.Txn(ctx).If(conditions...).Then(clientv3.OpDelete(prefix, clientv3.WithRange(last))).Commit()
	if err != nil {
		return true, err
	}
	return !resp.Succeeded || !page.More, nil
}
