package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/internaldns/internaldns/registry"
)

const (
	// maxQueue bounds the writes that wait on a node.
	maxQueue = 4096

	// retryAfter is when a write that needs something newer than the store has is
	// decided again, although the watch has not brought it yet.
	retryAfter = 20 * time.Millisecond

	// maxJitter bounds the pause before a write that lost against one of another node
	// is decided again: so nodes that write all the time take turns.
	maxJitter = 4 * time.Millisecond
)

// Write implements registry.Keeper. decide reads the registry with all writes of all
// nodes before it. A value that is put by hand at the same moment may be overwritten.
//
// The index that a large write returns is above the Modified of what it wrote.
func (k *Keeper) Write(ctx context.Context, decide func(*registry.Snapshot) (registry.Write, error)) (uint64, error) {
	w := &write{decide: decide, granted: make(map[grant]clientv3.LeaseID)}
	index, err := k.write(ctx, w)
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

// A write is one call of Write. While it is queued it belongs to the committer, which
// sets the fields below done and then closes done.
type write struct {
	ctx    context.Context
	decide func(*registry.Snapshot) (registry.Write, error)
	lock   clientv3.LeaseID // unless 0, the write takes the import lock with this lease

	granted map[grant]clientv3.LeaseID // leases that were granted for it, and that no key has yet
	unused  []clientv3.LeaseID         // leases that were granted for it, and that no key will have
	current bool                       // the store has all that was acknowledged before the call

	done     chan struct{}
	index    uint64
	err      error
	panicked any                // what decide panicked with
	changed  bool               // the group's batch has its changes
	wrote    bool               // its changes are in etcd
	large    bool               // it does not fit into a transaction
	grants   []grant            // leases to be granted before it is decided again
	unknown  []clientv3.LeaseID // leases whose TTL must be known before it is decided again
	renew    []clientv3.LeaseID // leases to be renewed
}

// write queues w until it is made or refused.
func (k *Keeper) write(ctx context.Context, w *write) (uint64, error) {
	for {
		if err := k.queueAndWait(ctx, w); err != nil {
			return 0, err
		}
		index, again, err := k.finish(ctx, w)
		if !again || err != nil {
			k.revoke(w)
			return index, err
		}
	}
}

// finish does what the committer leaves to the caller, so that other writes do not wait:
// it grants and renews leases, and makes a large write. again reports that w must be
// decided again.
func (k *Keeper) finish(ctx context.Context, w *write) (index uint64, again bool, err error) {
	switch {
	case w.panicked != nil:
		k.revoke(w)
		panic(w.panicked)
	case w.err != nil:
		return 0, false, w.err
	case len(w.grants)+len(w.unknown) > 0:
		return 0, true, k.obtain(ctx, w)
	}
	index = w.index
	if w.large {
		if index, err = k.writeLarge(ctx, w); err != nil {
			return 0, false, err
		}
	}
	again, err = k.renew(ctx, w.renew)
	return index, again, err
}

// queueAndWait queues w and waits until the committer is done with it.
func (k *Keeper) queueAndWait(ctx context.Context, w *write) error {
	w.ctx, w.done = ctx, make(chan struct{})
	k.mu.Lock()
	err := k.readyLocked()
	if err == nil && len(k.queue)+len(k.waiting) >= maxQueue {
		err = fmt.Errorf("%w: too many writes are waiting", registry.ErrUnavailable)
	}
	if err == nil {
		k.queue = append(k.queue, w)
		k.wakeCommitter()
	}
	k.mu.Unlock()
	if err != nil {
		k.revoke(w)
		return err
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		go func() { // the committer may be about to put keys with the leases
			<-w.done
			k.revoke(w)
		}()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.importing && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: an import is under way, and other writes wait for it", registry.ErrUnavailable)
	}
	return ctx.Err()
}

// readyLocked returns why nothing can be written now, or nil.
func (k *Keeper) readyLocked() error {
	switch {
	case k.mirror == nil:
		return fmt.Errorf("%w: it has not been loaded", registry.ErrUnavailable)
	case k.stopped:
		return fmt.Errorf("%w: the server is stopping", registry.ErrUnavailable)
	case k.frozen != "":
		return fmt.Errorf("%w: %s", registry.ErrUnavailable, k.frozen)
	case !k.status.Connected:
		return fmt.Errorf("%w: etcd is away: %s", registry.ErrUnavailable, k.status.LastError)
	}
	return nil
}

func (k *Keeper) wakeCommitter() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// commitWrites makes the writes that are queued, as many as possible in one
// transaction, until ctx is done. Then it refuses them.
func (k *Keeper) commitWrites(ctx context.Context) {
	for ctx.Err() == nil {
		if g := k.nextGroup(); g != nil {
			k.commit(ctx, g)
			continue
		}
		select {
		case <-k.wake:
		case <-ctx.Done():
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	k.refuseLocked(k.readyLocked())
}

// refuseLocked ends all writes that wait.
func (k *Keeper) refuseLocked(err error) {
	for _, w := range append(k.waiting, k.queue...) {
		w.err = err
		close(w.done)
	}
	k.queue, k.waiting = nil, nil
}

// A group is writes that are decided one after the other on one state of the registry,
// and made in one transaction.
type group struct {
	writes []*write
	batch  *batch // what they change
	// The state that they were decided on: the registry's name, the epoch, and the
	// revision of the head.
	name, epoch string
	head        int64
	// displaced holds the keys that must be put again before, with their create revisions.
	displaced map[string]int64
}

// nextGroup decides the writes that are queued, until one does not fit. It returns nil
// if there is none.
func (k *Keeper) nextGroup() *group {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.readyLocked(); err != nil {
		k.refuseLocked(err)
		return nil
	}
	g := &group{batch: newBatch(), name: k.name, epoch: k.epoch, head: k.mirror.head, displaced: make(map[string]int64)}
	for e := range k.mirror.displaced {
		g.displaced[e.key] = e.create
	}
	tx := k.store.Begin()
	for len(k.queue) > 0 {
		w, before := k.queue[0], tx.Snapshot()
		if !k.addLocked(g, tx, w) {
			break
		}
		k.queue = k.queue[1:]
		if tx.Snapshot() == before || w.changed {
			continue
		}
		if g.batch.changes() {
			break
		}
		tx.Abort() // it has a write that is not in the group
		tx = k.store.Begin()
	}
	tx.Abort()
	k.expected = g.batch.puts
	if len(g.writes) == 0 {
		return nil
	}
	return g
}

// addLocked decides w. It returns false if w does not fit into the group and must be
// decided again, for the next.
func (k *Keeper) addLocked(g *group, tx *registry.Tx, w *write) (taken bool) {
	w.index, w.err, w.changed, w.large, w.grants, w.unknown, w.renew = 0, nil, false, false, nil, nil, nil
	if w.err = w.ctx.Err(); w.err != nil {
		close(w.done)
		return true
	}
	b, err := k.planLocked(tx, w)
	switch {
	case err != nil:
		w.err = err
	case b == nil: // leases come first
		close(w.done)
		return true
	case b.changes() && k.importing:
		k.waiting = append(k.waiting, w)
		return true
	case b.large():
		if g.batch.changes() {
			return false
		}
		w.large = true
		close(w.done)
		return true
	case !g.batch.merge(b):
		return false
	default:
		w.changed = b.changes()
	}
	g.writes = append(g.writes, w)
	return true
}

// planLocked decides w on the state in tx, and applies it there. It returns nil without
// an error if leases must be obtained before.
func (k *Keeper) planLocked(tx *registry.Tx, w *write) (*batch, error) {
	p := planner{batch: newBatch(), mirror: k.mirror, store: k.store.Snapshot()}
	if w.lock != 0 {
		p.lock = w.lock
		return p.batch, nil
	}
	want, err := w.call(tx.Snapshot())
	if err != nil {
		return nil, err
	}
	p.leases = k.chooseLeases(w, want)
	if len(w.grants)+len(w.unknown) > 0 {
		return nil, nil
	}
	changes, err := tx.Apply(want.Events)
	if err != nil {
		return nil, err
	}
	p.after = tx.Snapshot()
	return p.batch, p.plan(changes)
}

var errDecide = errors.New("the decision about a write panicked")

// call calls decide. A panic is returned to the goroutine that called Write.
func (w *write) call(s *registry.Snapshot) (want registry.Write, err error) {
	defer func() {
		if r := recover(); r != nil {
			w.panicked, err = r, errDecide
		}
	}()
	return w.decide(s)
}

// commit makes a group. Its writes are done afterwards, or queued again.
func (k *Keeper) commit(ctx context.Context, g *group) {
	if !g.batch.changes() {
		k.confirm(ctx, g)
		return
	}
	compares, ops := k.transaction(g)
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	resp, err := k.client.Txn(call).If(compares...).Then(ops...).Else(clientv3.OpGet(k.key(keyHead), clientv3.WithKeysOnly())).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		for _, w := range g.writes {
			w.discardLeases()
		}
		k.lost(ctx, g, g.head)
	case err != nil:
		for _, w := range g.writes {
			clear(w.granted) // they may be in use
		}
		k.fail(g, err)
	case !resp.Succeeded:
		var head int64
		if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
			head = kvs[0].ModRevision
		}
		k.lost(ctx, g, head)
	default:
		k.made(ctx, g, resp.Header.Revision)
	}
}

// transaction returns the group's transaction: what it compares and what it does. It
// fails if a server has written since the group was decided, or if this is another
// registry or epoch. If keys are displaced it puts these again, unchanged and without the
// head, and nothing else (see mirror.before).
func (k *Keeper) transaction(g *group) (compares []clientv3.Cmp, ops []clientv3.Op) {
	root := k.key(g.epoch) + "/"
	compares = []clientv3.Cmp{
		clientv3.Compare(clientv3.Value(k.key(keyRegistry)), "=", g.name),
		clientv3.Compare(clientv3.Value(k.key(keyEpoch)), "=", g.epoch),
		clientv3.Compare(clientv3.ModRevision(k.key(keyHead)), "=", g.head),
	}
	for key, created := range g.displaced {
		if len(compares) < maxOps { // the others come next
			compares = append(compares, clientv3.Compare(clientv3.CreateRevision(root+key), "=", created))
			ops = append(ops, putUnchanged(root+key))
		}
	}
	if len(ops) > 0 {
		return compares, ops
	}
	ops = append(ops, clientv3.OpPut(k.key(keyHead), ""))
	for _, r := range g.batch.ranges {
		ops = append(ops, clientv3.OpDelete(root+r, clientv3.WithPrefix()))
	}
	for key := range g.batch.deletes {
		ops = append(ops, clientv3.OpDelete(root+key))
	}
	for key, p := range g.batch.puts {
		ops = append(ops, clientv3.OpPut(root+key, string(p.value), clientv3.WithLease(p.lease)))
	}
	if g.batch.lock != 0 {
		ops = append(ops, clientv3.OpPut(k.key(keyLock), time.Now().UTC().Format(time.RFC3339), clientv3.WithLease(g.batch.lock)))
	}
	return compares, ops
}

// putUnchanged puts a key with the value and the lease that it has, so that it is younger.
func putUnchanged(key string) clientv3.Op {
	return clientv3.OpPut(key, "", clientv3.WithIgnoreValue(), clientv3.WithIgnoreLease())
}

// made ends the writes of a group whose transaction was made at the revision, when the
// store has it.
func (k *Keeper) made(ctx context.Context, g *group, revision int64) {
	again := len(g.displaced) > 0
	for _, w := range g.writes {
		if w.changed && !again {
			w.wrote = true
			clear(w.granted)
		}
	}
	if err := k.waitOn(ctx, revision); err != nil {
		k.fail(g, fmt.Errorf("the write was made, and the watch does not bring it: %w", err))
	} else if again {
		k.queueAgain(g, false)
	} else {
		k.succeed(g, uint64(revision))
	}
}

// confirm ends the writes of a group that changes nothing, if the store had all that was
// acknowledged before they were called. Otherwise they are decided again when it has, and
// when it has seen the leases that have ended, which do not change the head.
func (k *Keeper) confirm(ctx context.Context, g *group) {
	if !slices.ContainsFunc(g.writes, func(w *write) bool { return !w.current }) {
		k.succeed(g, 0)
		return
	}
	c, err := k.control(ctx)
	if err == nil {
		err = k.waitOn(ctx, c.head)
	}
	if err != nil {
		k.fail(g, err)
		return
	}
	if c.revision > k.revisionNow() { // perhaps of other keys
		k.waitBriefly(ctx)
	}
	k.queueAgain(g, true)
}

// lost queues a group again whose transaction did not succeed, when the store has what
// came first: another server's write, which is the head now, or a change by hand.
func (k *Keeper) lost(ctx context.Context, g *group, head int64) {
	if err := k.waitOn(ctx, head); err != nil {
		k.fail(g, err)
		return
	}
	if head == g.head {
		k.waitBriefly(ctx)
	}
	sleep(ctx, rand.N(maxJitter))
	k.queueAgain(g, head != g.head)
}

// queueAgain has the group's writes decided again, before others. current tells that
// the store has now all that was acknowledged when they were queued.
func (k *Keeper) queueAgain(g *group, current bool) {
	for _, w := range g.writes {
		w.current = w.current || current
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.queue = append(g.writes, k.queue...)
}

// fail ends the group's writes with an error of etcd.
func (k *Keeper) fail(g *group, err error) {
	err = fault(context.Background(), err) // not that of Run
	for _, w := range g.writes {
		w.err = err
		close(w.done)
	}
}

// succeed ends the group's writes. Those that changed something have the revision as
// their index.
func (k *Keeper) succeed(g *group, revision uint64) {
	last := k.store.Snapshot().Index
	for _, w := range g.writes {
		if w.index = last; w.changed {
			w.index = revision
		}
		close(w.done)
	}
}

// fault makes the error of a call to etcd, which ends with ctx, that of a write.
func fault(ctx context.Context, err error) error {
	var faults registry.Faults
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &faults):
		return faults
	}
	return unavailable(err)
}

// waitBriefly waits until the store has something newer, or for retryAfter.
func (k *Keeper) waitBriefly(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, retryAfter)
	defer cancel()
	k.wait(ctx, k.revisionNow()+1)
}
