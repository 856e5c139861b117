package etcd

import (
	"bytes"
	"cmp"
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

	"github.com/internaldns/internaldns/registry"
)

// Why the watch ends.
var (
	errEpoch  = errors.New("another epoch counts")
	errTorn   = errors.New("the registry refuses what etcd has")
	errFrozen = errors.New("the last state is kept")
)

// Run follows etcd until ctx is done; then it closes the connections and returns
// nil. Load must have returned before. A Keeper runs once.
func (k *Keeper) Run(ctx context.Context) error {
	if k.client == nil {
		return errors.New("the registry has not been loaded from etcd")
	}
	var wg sync.WaitGroup
	wg.Go(func() { k.probe(ctx) })
	wg.Go(func() { k.commitWrites(ctx) })
	for pause := time.Duration(0); ctx.Err() == nil; {
		begun := time.Now()
		err := k.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		if !errors.Is(err, errFrozen) {
			k.failed(err)
			k.log.Warn("the watch on etcd ended", zap.Error(inWords(err)))
		}
		if needsList(err) {
			k.relist(ctx)
		}
		switch {
		case errors.Is(err, errFrozen):
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
	k.client.Close()
	k.plain.Close()
	return nil
}

// needsList reports whether the registry must be listed after a watch ended with err.
func needsList(err error) bool {
	return errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, errTorn) || errors.Is(err, errFrozen) ||
		errors.Is(err, errEpoch) || errors.Is(err, rpctypes.ErrFutureRev)
}

// follow watches the registry from the revision after the store's, and applies the
// events. It returns why the watch ended.
func (k *Keeper) follow(ctx context.Context) error {
	watching, restart := context.WithCancelCause(ctx)
	defer restart(nil)
	k.mu.Lock()
	from, frozen := k.revision+1, k.frozen
	k.restart = restart
	k.mu.Unlock()
	if frozen != "" {
		return errFrozen
	}
	// With progress notifications the client, which continues the watch by itself when a
	// connection breaks, asks for revisions that have not been compacted.
	watch := k.client.Watch(clientv3.WithRequireLeader(watching), k.key(""), clientv3.WithPrefix(),
		clientv3.WithRev(from), clientv3.WithProgressNotify())
	for resp := range watch {
		if err := resp.Err(); err != nil {
			return cmp.Or(context.Cause(watching), err)
		}
		err := k.apply(resp.Events)
		if errors.Is(err, errEpoch) {
			err = k.relist(ctx)
		}
		if err != nil {
			return err
		}
	}
	return cmp.Or(context.Cause(watching), errors.New("the watch was closed"))
}

// apply applies the events of a watch, revision by revision. After an error, those
// before it are applied.
func (k *Keeper) apply(events []*clientv3.Event) (err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	tx := k.store.Begin()
	last := k.revision
	var quarantined []*entry
	for len(events) > 0 && err == nil {
		n := 1
		for n < len(events) && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
			n++
		}
		if revision := events[0].Kv.ModRevision; revision > k.revision { // a listing had the others
			var bad []*entry
			if bad, err = k.applyLocked(tx, revision, events[:n]); err == nil {
				last = revision
			}
			quarantined = append(quarantined, bad...)
		}
		events = events[n:]
	}
	tx.Commit()
	if last > k.revision {
		k.advancedLocked(last)
	}
	k.logQuarantined(quarantined)
	return err
}

// applyLocked applies the events of one revision. After an error the registry must be
// listed; until then the mirror's head is old, and no write succeeds.
func (k *Keeper) applyLocked(tx *registry.Tx, revision int64, events []*clientv3.Event) ([]*entry, error) {
	d := make(dirty)
	for _, e := range events {
		if err := k.noteLocked(e, d); err != nil {
			return nil, err
		}
	}
	changes, quarantined := k.mirror.settle(d, tx.Snapshot())
	if _, err := tx.ApplyAt(uint64(revision), changes); err != nil {
		return nil, fmt.Errorf("%w: %w", errTorn, err)
	}
	return quarantined, nil
}

// noteLocked enters an event into the mirror.
func (k *Keeper) noteLocked(e *clientv3.Event, d dirty) error {
	put := e.Type == mvccpb.Event_PUT
	switch below := strings.TrimPrefix(string(e.Kv.Key), k.key("")); below {
	case keyRegistry:
		if !put || string(e.Kv.Value) != k.name {
			return k.freezeLocked("the registry in etcd was deleted or replaced")
		}
	case keyFormat:
		if !put || string(e.Kv.Value) != currentFormat {
			return k.freezeLocked("the format of the registry in etcd was changed")
		}
	case keyEpoch:
		if !put {
			return k.freezeLocked("the registry's epoch in etcd was deleted")
		}
		if string(e.Kv.Value) != k.epoch {
			return errEpoch
		}
	case keyLock:
		k.setImporting(put)
	case keyHead:
		head := int64(0)
		if put {
			head = e.Kv.ModRevision
		}
		k.mirror.setHead(head, d)
	default:
		if key, ok := strings.CutPrefix(below, k.epoch+"/"); ok {
			k.lastChange = e.Kv.ModRevision
			if put {
				k.mirror.put(e.Kv, key, k.sent(e.Kv, key), d)
			} else {
				k.mirror.delete(key, d)
			}
		}
	}
	return nil
}

// sent returns the machine of which this node has just made the value, or nil. So a
// machine is not parsed again when the watch brings it back.
func (k *Keeper) sent(kv *mvccpb.KeyValue, key string) registry.Fact {
	p := k.expected[key]
	if p.object == nil || !bytes.Equal(p.value, kv.Value) {
		return nil
	}
	m := *p.object
	m.Modified = uint64(kv.ModRevision)
	return &m
}

// setImporting notes whether an import is under way. When it is over, the writes that
// waited for it are queued again.
func (k *Keeper) setImporting(importing bool) {
	k.importing = importing
	if !importing && len(k.waiting) > 0 {
		k.queue, k.waiting = append(k.waiting, k.queue...), nil
		k.wakeCommitter()
	}
}

// relist lists the registry until that succeeds, and applies the difference. It
// returns an error only if ctx is done or the keeper is frozen.
func (k *Keeper) relist(ctx context.Context) error {
	k.setListing(true)
	defer k.setListing(false)
	sure := false
	for pause := time.Duration(0); ; pause = min(maxBackoff, pause*2+maxBackoff/20) {
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		err := k.relistOnce(ctx, sure)
		if err == nil || errors.Is(err, errFrozen) {
			return err
		}
		k.failed(err)
		if sure = errors.Is(err, errHalved); sure {
			sleep(ctx, secondLook)
		}
	}
}

func (k *Keeper) relistOnce(ctx context.Context, sure bool) error {
	begun, had := time.Now(), k.revisionNow()
	c, err := k.control(ctx)
	if err != nil {
		return err
	}
	if k.freezeOnMismatch(c, had) {
		return errFrozen
	}
	m, err := k.list(ctx, c)
	if err != nil {
		return err
	}
	changes, err := k.replace(c, m, sure)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.Relists++
	k.log.Info("registry listed again", zap.Int("changes", changes), zap.String("epoch", c.epoch),
		zap.Int64("revision", c.revision), zap.Duration("took", time.Since(begun)))
	return nil
}

func (k *Keeper) setListing(is bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.listing = is
}

// secondLook is when etcd is asked again after it listed less than half of a
// network's machines. A restore or deletion that is under way should be over then.
const secondLook = time.Second

// freezeOnMismatch freezes the keeper if c cannot be of the registry followed so far, and
// reports whether it did. had is the store's revision when c was asked for.
func (k *Keeper) freezeOnMismatch(c *control, had int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	why := ""
	switch {
	case c.cluster != k.cluster:
		why = fmt.Sprintf("this is another etcd cluster (%x, and %x before)", c.cluster, k.cluster)
	case c.name == "" || c.epoch == "":
		why = "the registry in etcd is gone"
	case c.name != k.name:
		why = "this is another registry than before"
	case c.format != currentFormat:
		why = "the format of the registry in etcd was changed"
	case c.revision < had:
		why = fmt.Sprintf("etcd has gone back from revision %d to %d", had, c.revision)
	default:
		return false
	}
	k.freezeLocked(why)
	return true
}

func (k *Keeper) isFrozen() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.frozen != ""
}

// freezeLocked keeps the last state, and refuses writes, until etcd is again as
// before.
func (k *Keeper) freezeLocked(why string) error {
	k.status.Connected = false
	k.wakeCommitter()
	if k.frozen != why {
		k.frozen = why
		k.status.Failures++
		k.status.LastError = why
		k.log.Error("the registry is kept as it was, and not written to, until etcd is as before or the program is started again", zap.String("because", why))
	}
	return errFrozen
}

// maxQuarantineLines bounds the lines in the log for keys that are quarantined at once.
const maxQuarantineLines = 20

// logQuarantined logs entries that are not in effect from now on.
func (k *Keeper) logQuarantined(entries []*entry) {
	for i, e := range entries {
		if i == maxQuarantineLines {
			k.log.Warn("more keys in etcd are not in effect", zap.Int("keys", len(entries)-i))
			return
		}
		k.log.Warn("a key in etcd is not in effect", zap.String("key", k.key(k.epoch+"/"+e.key)), zap.String("because", e.why))
	}
}

// restartWatch ends the watch, so that Run starts another.
func (k *Keeper) restartWatch(why error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.restart(why)
}

const (
	// probeEvery is how often etcd is asked for the revision of the last write, and
	// awayEvery how often while it does not answer. A probe is one read that needs
	// a majority, without the disk.
	probeEvery = 500 * time.Millisecond
	awayEvery  = 100 * time.Millisecond

	// probeTime is how long a probe waits; an etcd that misses two in a row counts
	// as away. Below, an election or a slow disk would often look like one.
	probeTime = time.Second

	// patience is how long a connection may be silent if probes fail although
	// connections have been closed: then etcd is slow, not the connection.
	patience = 5 * time.Second

	// watchPatience is how long a watch may bring nothing that etcd has, while etcd
	// answers probes.
	watchPatience = time.Second
)

var errSilent = errors.New("the watch brings nothing")

// probe asks etcd for the revision of the last write, twice a second until ctx is
// done, and restarts the watch if the watch does not bring it.
func (k *Keeper) probe(ctx context.Context) {
	every, silence := probeEvery, probeTime
	var silent time.Time // since when the watch brings nothing that etcd has; zero if it does
	missed := false      // the last probe
	for sleep(ctx, every) == nil {
		begun, had := time.Now(), k.revisionNow()
		within, cancel := context.WithTimeout(ctx, probeTime)
		c, err := k.control(within)
		if err != nil {
			timeout := within.Err() != nil
			cancel()
			if ctx.Err() != nil {
				return
			}
			if missed { // one alone may be an election
				k.away(k.conns.cause(err))
			}
			every, missed = awayEvery, true
			if timeout {
				k.conns.closeSilent(silence)
				silence = patience
			}
			continue
		}
		every, silence, missed = probeEvery, probeTime, false
		if k.freezeOnMismatch(c, had) || k.isFrozen() {
			cancel()
			k.restartWatch(errFrozen)
			continue
		}
		err = k.wait(within, c.head)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			// A watch that brings something, or a listing, may take its time.
			if revision, listing := k.progress(); revision > had || listing {
				silent = time.Time{}
			} else if silent.IsZero() {
				silent = begun
			} else if begun.Sub(silent) > watchPatience {
				silent = time.Time{}
				k.away(fmt.Errorf("the watch does not bring revision %d", c.head))
				k.restartWatch(errSilent)
			}
			continue
		}
		silent = time.Time{}
		k.confirmed(begun)
	}
}
