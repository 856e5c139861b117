package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Why the watch ends.
var (
	errEpoch = errors.New("another epoch counts")
	errTorn  = errors.New("the registry does not take what etcd says")
	errHeld  = errors.New("the last state is kept")
)

// Run follows etcd until ctx is done; then it closes the connections and returns
// nil. Load must have returned before. A Keeper runs once.
func (k *Keeper) Run(ctx context.Context) error {
	k.mu.Lock()
	client, plain := k.client, k.plain
	k.mu.Unlock()
	if client == nil {
		return errors.New("the registry has not been loaded from etcd")
	}
	var wg sync.WaitGroup
	wg.Go(func() { k.probe(ctx, client) })
	for pause := time.Duration(0); ctx.Err() == nil; {
		begun := time.Now()
		err := k.follow(ctx, client)
		if ctx.Err() != nil {
			break
		}
		if !errors.Is(err, errHeld) {
			k.failed(err)
			k.log.Warn("the watch on etcd ended", zap.Error(inWords(err)))
		}
		if needsList(err) {
			k.relist(ctx, client)
		}
		switch {
		case errors.Is(err, errHeld):
			pause = secondLook
		case time.Since(begun) > maxBackoff:
			pause = 0
		}
		sleep(ctx, pause)
		pause = min(maxBackoff, pause*2+maxBackoff/20)
	}
	wg.Wait()
	k.mu.Lock()
	k.status.Connected = false
	k.mu.Unlock()
	client.Close()
	plain.Close()
	return nil
}

// needsList reports whether a watch that ended so cannot go on where it was.
func needsList(err error) bool {
	return errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, errTorn) || errors.Is(err, errHeld) ||
		errors.Is(err, errEpoch) || errors.Is(err, rpctypes.ErrFutureRev)
}

// follow watches the registry from the revision after the store's, and applies
// what happens. It returns why it could not go on.
func (k *Keeper) follow(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k.mu.Lock()
	from, held := k.revision+1, k.held
	k.mu.Unlock()
	if held != "" {
		return errHeld
	}
	select {
	case <-k.kick: // it was for the watch before
	default:
	}
	// Progress is notified so that the client, which goes on by itself after a
	// break, asks for revisions that are not compacted away after a quiet day.
	watch := client.Watch(clientv3.WithRequireLeader(ctx), k.key(""), clientv3.WithPrefix(),
		clientv3.WithRev(from), clientv3.WithProgressNotify())
	for {
		select {
		case why := <-k.kick:
			return why
		case resp, ok := <-watch:
			if !ok {
				return errors.New("the watch was closed")
			}
			if err := resp.Err(); err != nil {
				return err
			}
			err := k.apply(resp.Events)
			if errors.Is(err, errEpoch) {
				err = k.relist(ctx, client)
			}
			if err != nil {
				return err
			}
		}
	}
}

// apply applies the events of a watch, revision by revision.
func (k *Keeper) apply(events []*clientv3.Event) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var bad told
	defer bad.log(k)
	tx := k.store.Begin()
	last := k.revision
	for len(events) > 0 {
		n := 1
		for n < len(events) && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
			n++
		}
		revision := events[0].Kv.ModRevision
		if revision <= k.revision {
			events = events[n:] // a listing had it
			continue
		}
		d := make(dirty)
		if err := k.noteLocked(events[:n], d); err != nil {
			tx.Commit()
			k.advancedLocked(last)
			return err
		}
		if _, err := tx.ApplyAt(uint64(revision), k.mirror.settle(d, bad.add)); err != nil {
			tx.Commit()
			k.advancedLocked(last)
			return fmt.Errorf("%w: %w", errTorn, err)
		}
		last, events = revision, events[n:]
	}
	tx.Commit()
	if last > k.revision {
		k.advancedLocked(last)
	}
	return nil
}

// noteLocked enters the events of one revision into the mirror.
func (k *Keeper) noteLocked(events []*clientv3.Event, d dirty) error {
	var err error
	for _, e := range events {
		below := strings.TrimPrefix(string(e.Kv.Key), k.key(""))
		put := e.Type == mvccpb.Event_PUT
		switch below {
		case keyRegistry:
			if !put || string(e.Kv.Value) != k.name {
				return k.holdLocked("the registry in etcd was deleted or replaced")
			}
		case keyEpoch:
			if !put {
				return k.holdLocked("the registry's epoch in etcd was deleted")
			}
			if string(e.Kv.Value) == k.epoch.name {
				k.epoch.mod = e.Kv.ModRevision
			} else {
				err = errEpoch // and writes for the old one fail until the new one is listed
			}
		case keyImport:
			k.locked = put
		default:
			key, ok := strings.CutPrefix(below, k.epoch.name+"/")
			switch {
			case !ok:
			case put:
				k.mirror.put(e.Kv, key, d)
				k.touched = e.Kv.ModRevision
			default:
				k.mirror.delete(key, d)
				k.touched = e.Kv.ModRevision
			}
		}
	}
	return err
}

// relist lists the registry until that succeeds, and applies the difference. It
// returns an error only if ctx is done or the last state is held.
func (k *Keeper) relist(ctx context.Context, client *clientv3.Client) error {
	sure := false
	k.setListing(true)
	defer k.setListing(false)
	for pause := time.Duration(0); ; pause = min(maxBackoff, pause*2+maxBackoff/20) {
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		begun, had := time.Now(), k.revisionNow()
		h, err := k.head(ctx, client)
		if err == nil && !k.same(h, had) {
			return errHeld
		}
		var l *listing
		var changes int
		if err == nil {
			l, err = k.list(ctx, client, h)
		}
		if err == nil {
			changes, err = k.show(l, sure)
		}
		if err == nil {
			k.log.Info("registry listed again", zap.Int("changes", changes), zap.String("epoch", l.epoch.name),
				zap.Int64("revision", l.revision), zap.Duration("took", time.Since(begun)))
			return nil
		}
		k.failed(err)
		if sure = errors.Is(err, errHalved); sure {
			sleep(ctx, secondLook)
		}
	}
}

// same reports whether h is that of the etcd that we followed. If not the last
// state is held, else no more.
func (k *Keeper) same(h *head, had int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if why := k.strangeLocked(h, had); why != "" {
		k.holdLocked(why)
		return false
	}
	k.held = ""
	return true
}

// show is showLocked for a listing that is not the first.
func (k *Keeper) show(l *listing, sure bool) (changes int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	changes, err = k.showLocked(l, sure)
	if err == nil {
		k.status.Relists++
	}
	return changes, err
}

func (k *Keeper) setListing(is bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.listing = is
}

// secondLook is when etcd is asked again that lists less than half of a network's
// machines: whoever is restoring or deleting should be done, or somebody notice.
const secondLook = time.Second

// strangeLocked says why etcd, which we asked for its head when we had that
// revision, cannot be the one that we followed, or "".
func (k *Keeper) strangeLocked(h *head, had int64) string {
	switch {
	case h.cluster != k.cluster:
		return fmt.Sprintf("this is another etcd cluster (%x, and %x before)", h.cluster, k.cluster)
	case h.name == "" || h.epoch.name == "":
		return "the registry in etcd is gone"
	case h.name != k.name:
		return "this is another registry than before"
	case h.revision < had:
		return fmt.Sprintf("etcd has gone back from revision %d to %d", had, h.revision)
	}
	return ""
}

// holdLocked keeps the last state until etcd is again as it was.
func (k *Keeper) holdLocked(why string) error {
	k.status.Connected = false
	if k.held != why {
		k.held = why
		k.status.Failures++
		k.status.LastError = why
		k.log.Error("the registry is kept as it was, and not written to, until etcd is as before or the program is started again", zap.String("because", why))
	}
	return errHeld
}

// maxTold bounds the lines in the log for what comes to be quarantined at once.
const maxTold = 20

// told collects what comes to be quarantined.
type told []*entry

func (t *told) add(e *entry) { *t = append(*t, e) }

// log tells of the keys that are not in effect. The keeper's mutex is held.
func (t *told) log(k *Keeper) {
	for i, e := range *t {
		if i == maxTold {
			k.log.Warn("more keys in etcd are not in effect", zap.Int("keys", len(*t)-i))
			return
		}
		k.log.Warn("a key in etcd is not in effect", zap.String("key", k.key(k.epoch.name+"/"+e.key)), zap.String("because", e.why))
	}
}

// again makes the watch begin anew.
func (k *Keeper) again(why error) {
	select {
	case k.kick <- why:
	default:
	}
}
