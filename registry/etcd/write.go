package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
)

const (
	// maxOps is how much one transaction compares, and how much it puts and
	// deletes; etcd takes 128 unless --max-txn-ops says otherwise.
	maxOps = 120

	// maxOctets is how much one transaction puts, in octets; etcd takes 1.5 MiB,
	// keys and compares included, unless --max-request-bytes says otherwise.
	maxOctets = 1 << 20

	// retryAfter is when a write that lost is tried again although the watch has
	// not brought the other write yet, which usually takes milliseconds.
	retryAfter = 20 * time.Millisecond
)

// Write implements registry.Keeper. What decide reads of objects that it does
// not change, other than the apps of machines, may be changed at the same time
// by another node; what it reads was in etcd no earlier than Write was called if
// it decides for an error or for no change.
//
// The index that a large write returns is above the Modified of what it wrote.
func (k *Keeper) Write(ctx context.Context, decide func(*registry.Snapshot) (registry.Write, error)) (uint64, error) {
	k.mu.Lock()
	client := k.client
	k.mu.Unlock()
	w := &write{Keeper: k, client: client, decide: decide, granted: make(map[grant]clientv3.LeaseID)}
	index, err := w.run(ctx)
	w.revoke()
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err == nil && w.wrote:
		k.status.Writes++
	case errors.Is(err, registry.ErrUnavailable) || errors.Is(err, registry.ErrFull):
		k.status.Refused++
	}
	return index, err
}

// A write is one call of Write.
type write struct {
	*Keeper
	client  *clientv3.Client
	decide  func(*registry.Snapshot) (registry.Write, error)
	granted map[grant]clientv3.LeaseID // that no key has yet
	current bool                       // what the store has is no older than the call
	wrote   bool
}

// plan decides, and makes the batch. It returns the revision that it decided on,
// also with an error.
func (w *write) plan() (b *batch, revision int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.readyLocked(); err != nil {
		return nil, 0, err
	}
	want, err := w.decide(w.store.Snapshot())
	if err != nil {
		return nil, w.revision, err
	}
	b, err = w.planLocked(want)
	return b, w.revision, err
}

// readyLocked returns why nothing can be written now, or nil.
func (k *Keeper) readyLocked() error {
	switch {
	case k.mirror == nil:
		return fmt.Errorf("%w: it has not been loaded", registry.ErrUnavailable)
	case k.frozen != "":
		return fmt.Errorf("%w: %s", registry.ErrUnavailable, k.frozen)
	case !k.status.Connected:
		return fmt.Errorf("%w: etcd is away: %s", registry.ErrUnavailable, k.status.LastError)
	}
	return nil
}

func (w *write) run(ctx context.Context) (uint64, error) {
	for {
		b, revision, err := w.plan()
		if errors.Is(err, registry.ErrUnavailable) && revision == 0 {
			return 0, err
		}
		if !w.current && (err != nil || !b.changes()) {
			// Nothing is going to be compared with what etcd has: it must be new
			// enough by itself.
			if err := w.catchUp(ctx); err != nil {
				return 0, err
			}
			w.current = true
			continue
		}
		if err != nil {
			return 0, err
		}
		if len(b.unknown) > 0 {
			if err := w.learn(ctx, b); err != nil {
				return 0, err
			}
			continue
		}
		if b.empty() {
			return w.store.Snapshot().Index, nil
		}
		if b.changes() { // leases are renewed during imports, too
			if waited, err := w.unlocked(ctx); err != nil {
				return 0, err
			} else if waited {
				continue
			}
		}
		index, again, err := w.commit(ctx, b)
		if !again || err != nil {
			return index, err
		}
	}
}

// commit makes the batch. again tells that it must be decided anew.
func (w *write) commit(ctx context.Context, b *batch) (index uint64, again bool, err error) {
	if b.large() {
		return w.writeLarge(ctx)
	}
	if again, err := w.lease(ctx, b); again || err != nil {
		return 0, again, err
	}
	if !b.changes() {
		return w.store.Snapshot().Index, false, nil // leases were renewed
	}
	compares, ops := w.transaction(b)
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	resp, err := w.client.Txn(call).If(compares...).Then(ops...).Else(clientv3.OpGet(w.key(keyWritten), clientv3.WithKeysOnly())).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return 0, true, w.lost(ctx, b.revision, 0)
	case err != nil:
		clear(w.granted) // it may have been made with them
		return 0, false, w.fault(ctx, err)
	case !resp.Succeeded:
		var written int64
		if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
			written = kvs[0].ModRevision
		}
		return 0, true, w.lost(ctx, b.revision, written)
	}
	w.wrote = true
	clear(w.granted)
	if err := w.waitOn(ctx, resp.Header.Revision); err != nil {
		return 0, false, w.fault(ctx, fmt.Errorf("the write was made, and the watch does not bring it: %w", err))
	}
	if len(b.optional) > 0 && !w.fits(b) {
		w.sweep(ctx, b)
	}
	return uint64(resp.Header.Revision), false, nil
}

// fault makes the error of a call to etcd that of a write.
func (k *Keeper) fault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var faults registry.Faults
	if errors.As(err, &faults) {
		return faults
	}
	return unavailable(err)
}

// transaction returns what must be so for the batch to be made, and what it does.
func (w *write) transaction(b *batch) (compares []clientv3.Cmp, ops []clientv3.Op) {
	root := w.key(b.epoch.name) + "/"
	compares = append(compares,
		clientv3.Compare(clientv3.ModRevision(w.key(keyEpoch)), "=", b.epoch.mod),
		clientv3.Compare(clientv3.CreateRevision(w.key(keyImport)), "=", 0))
	for key, mod := range b.unchanged {
		compares = append(compares, clientv3.Compare(clientv3.ModRevision(root+key), "=", mod))
	}
	for _, r := range b.ranges {
		compares = append(compares, clientv3.Compare(clientv3.ModRevision(root+r).WithPrefix(), "<", b.revision+1))
		ops = append(ops, clientv3.OpDelete(root+r, clientv3.WithPrefix()))
	}
	for key := range b.deletes {
		ops = append(ops, clientv3.OpDelete(root+key))
	}
	if w.fits(b) {
		for key, mod := range b.optional {
			compares = append(compares, clientv3.Compare(clientv3.ModRevision(root+key), "=", mod))
			ops = append(ops, clientv3.OpDelete(root+key))
		}
	}
	for key, p := range b.puts {
		ops = append(ops, clientv3.OpPut(root+key, string(p.value), clientv3.WithLease(w.leaseOf(p))))
	}
	return compares, append(ops, clientv3.OpPut(w.key(keyWritten), ""))
}

// leaseOf returns the lease of a put, which has been granted.
func (w *write) leaseOf(p put) clientv3.LeaseID {
	if p.grant != nil {
		return w.granted[*p.grant]
	}
	return p.lease
}

// ops is how much the batch is at least, for one transaction.
func (b *batch) ops() int {
	return max(len(b.unchanged)+len(b.ranges)+2, len(b.puts)+len(b.deletes)+len(b.ranges)+1)
}

// large reports whether the batch is too large for one transaction of etcd.
func (b *batch) large() bool {
	octets := 0
	for key, p := range b.puts {
		octets += len(key) + len(p.value)
	}
	return b.ops() > maxOps || octets > maxOctets && len(b.puts) > 3 // one machine cannot be split
}

// fits reports whether the optional claims fit into the transaction.
func (w *write) fits(b *batch) bool { return b.ops()+len(b.optional) <= maxOps }

// sweep deletes the optional claims that did not fit. Those that remain after a
// crash or an error have no effect: their owners do not exist.
func (w *write) sweep(ctx context.Context, b *batch) {
	root := w.key(b.epoch.name) + "/"
	claims := make([]string, 0, len(b.optional))
	for c := range b.optional {
		claims = append(claims, c)
	}
	for some := range slices.Chunk(claims, maxOps) {
		var compares []clientv3.Cmp
		var ops []clientv3.Op
		for _, c := range some {
			compares = append(compares, clientv3.Compare(clientv3.ModRevision(root+c), "=", b.optional[c]))
			ops = append(ops, clientv3.OpDelete(root+c))
		}
		call, cancel := context.WithTimeout(ctx, callTime)
		_, err := w.client.Txn(call).If(compares...).Then(ops...).Commit()
		cancel()
		if err != nil {
			w.log.Warn("claims of a deleted app stay in etcd", zap.Int("claims", len(claims)), zap.Error(inWords(err)))
			return
		}
	}
}

// lost waits until the store has the write that came first, if its revision is
// known, and otherwise briefly for any newer revision.
func (w *write) lost(ctx context.Context, revision, written int64) error {
	if err := w.waitOn(ctx, written); err != nil {
		return w.fault(ctx, err)
	}
	brief, cancel := context.WithTimeout(ctx, retryAfter)
	defer cancel()
	w.wait(brief, revision+1)
	return ctx.Err()
}

// catchUp waits until the store has the last write that etcd has now.
func (w *write) catchUp(ctx context.Context) error {
	h, err := w.head(ctx, w.client)
	if err == nil {
		err = w.waitOn(ctx, h.written)
	}
	if err != nil {
		return w.fault(ctx, err)
	}
	return nil
}

// unlocked waits until no import is under way, and reports whether one was.
func (w *write) unlocked(ctx context.Context) (waited bool, err error) {
	for ; ; waited = true {
		w.mu.Lock()
		wait, changed, err := w.locked, w.changed, w.readyLocked()
		w.mu.Unlock()
		if !wait || err != nil {
			return waited, err
		}
		t := time.NewTimer(callTime)
		select {
		case <-changed:
		case <-t.C: // look whether etcd is still there
		case <-ctx.Done():
		}
		t.Stop()
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return waited, fmt.Errorf("%w: an import is under way, and other writes wait for it", registry.ErrUnavailable)
		case ctx.Err() != nil:
			return waited, ctx.Err()
		}
	}
}
