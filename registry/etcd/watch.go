package etcd

import (
	"bytes"
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
	errTorn   = errors.New("the registry does not take what etcd says")
	errFrozen = errors.New("the last state is kept")
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
	wg.Go(func() { k.commitWrites(ctx, client) })
	for pause := time.Duration(0); ctx.Err() == nil; {
		begun := time.Now()
		err := k.follow(ctx, client)
		if ctx.Err() != nil {
			break
		}
		if !errors.Is(err, errFrozen) {
			k.failed(err)
			k.log.Warn("the watch on etcd ended", zap.Error(inWords(err)))
		}
		if needsList(err) {
			k.relist(ctx, client)
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
	client.Close()
	plain.Close()
	return nil
}

// needsList reports whether a watch that ended so cannot go on where it was.
func needsList(err error) bool {
	return errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, errTorn) || errors.Is(err, errFrozen) ||
		errors.Is(err, errEpoch) || errors.Is(err, rpctypes.ErrFutureRev)
}

// follow watches the registry from the revision after the store's, and applies
// what happens. It returns why it could not go on.
func (k *Keeper) follow(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k.mu.Lock()
	from, frozen := k.revision+1, k.frozen
	k.mu.Unlock()
	if frozen != "" {
		return errFrozen
	}
	select {
	case <-k.restart: // it was for the watch before
	default:
	}
	// Progress is notified so that the client, which goes on by itself after a
	// break, asks for revisions that are not compacted away after a quiet day.
	watch := client.Watch(clientv3.WithRequireLeader(ctx), k.key(""), clientv3.WithPrefix(),
		clientv3.WithRev(from), clientv3.WithProgressNotify())
	for {
		select {
		case why := <-k.restart:
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
	var bad newlyQuarantined
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
		if _, err := tx.ApplyAt(uint64(revision), k.mirror.settle(d, tx.Snapshot(), bad.add)); err != nil {
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

// noteLocked enters the events of one revision into the mirror. After an error the
// registry must be listed; until then k.mirror.head is old, and no write succeeds.
func (k *Keeper) noteLocked(events []*clientv3.Event, d dirty) error {
	for _, e := range events {
		below := strings.TrimPrefix(string(e.Kv.Key), k.key(""))
		put := e.Type == mvccpb.Event_PUT
		switch below {
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
			k.setLocked(put)
		case keyHead:
			if put {
				k.mirror.setHead(e.Kv.ModRevision, d)
			} else {
				k.mirror.setHead(0, d)
			}
		default:
			key, ok := strings.CutPrefix(below, k.epoch+"/")
			switch {
			case !ok:
				continue
			case put:
				k.mirror.put(e.Kv, key, k.sent(e.Kv, key), d)
			default:
				k.mirror.delete(key, d)
			}
			k.lastChange = e.Kv.ModRevision
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

// setLocked notes whether an import is under way. When it is over, the writes that
// waited for it are queued again.
func (k *Keeper) setLocked(locked bool) {
	k.locked = locked
	if !locked && len(k.waiting) > 0 {
		k.queue, k.waiting = append(k.waiting, k.queue...), nil
		k.wakeCommitter()
	}
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
		t, err := k.top(ctx, client)
		if err == nil && k.freezeOnMismatch(t, had) {
			return errFrozen
		}
		var l *listing
		var changes int
		if err == nil {
			l, err = k.list(ctx, client, t)
		}
		if err == nil {
			changes, err = k.replace(l, sure)
		}
		if err == nil {
			k.log.Info("registry listed again", zap.Int("changes", changes), zap.String("epoch", l.epoch),
				zap.Int64("revision", l.revision), zap.Duration("took", time.Since(begun)))
			return nil
		}
		k.failed(err)
		if sure = errors.Is(err, errHalved); sure {
			sleep(ctx, secondLook)
		}
	}
}

// replace is replaceLocked for a listing that is not the first.
func (k *Keeper) replace(l *listing, sure bool) (changes int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	changes, err = k.replaceLocked(l, sure)
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

// secondLook is when etcd is asked again after it listed less than half of a
// network's machines. A restore or deletion that is under way should be over then.
const secondLook = time.Second

// freezeOnMismatch freezes the keeper if t cannot be that of the registry followed so
// far, and reports whether it did. had is the store's revision when t was asked for.
func (k *Keeper) freezeOnMismatch(t *top, had int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	why := ""
	switch {
	case t.cluster != k.cluster:
		why = fmt.Sprintf("this is another etcd cluster (%x, and %x before)", t.cluster, k.cluster)
	case t.name == "" || t.epoch == "":
		why = "the registry in etcd is gone"
	case t.name != k.name:
		why = "this is another registry than before"
	case t.format != currentFormat:
		why = "the format of the registry in etcd was changed"
	case t.revision < had:
		why = fmt.Sprintf("etcd has gone back from revision %d to %d", had, t.revision)
	default:
		return false
	}
	k.freezeLocked(why)
	return true
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

// maxQuarantineLines bounds the lines in the log for what comes to be quarantined at once.
const maxQuarantineLines = 20

// newlyQuarantined collects the entries that have just been quarantined.
type newlyQuarantined []*entry

func (t *newlyQuarantined) add(e *entry) { *t = append(*t, e) }

// log logs the keys that are not in effect. The keeper's mutex is held.
func (t *newlyQuarantined) log(k *Keeper) {
	for i, e := range *t {
		if i == maxQuarantineLines {
			k.log.Warn("more keys in etcd are not in effect", zap.Int("keys", len(*t)-i))
			return
		}
		k.log.Warn("a key in etcd is not in effect", zap.String("key", k.key(k.epoch+"/"+e.key)), zap.String("because", e.why))
	}
}

// restartWatch makes the watch begin anew.
func (k *Keeper) restartWatch(why error) {
	select {
	case k.restart <- why:
	default:
	}
}

const (
	// probeEvery is how often etcd is asked whether we have its last write, and
	// awayEvery how often while it does not answer. A probe is one read that needs
	// a majority, without the disk.
	probeEvery = 500 * time.Millisecond
	awayEvery  = 100 * time.Millisecond

	// probeTime is how long a probe waits; an etcd that misses two in a row counts
	// as away. Below, an election or a slow disk would often look like one.
	probeTime = time.Second

	// patience is how long a connection may be silent after others were closed
	// and probes still fail: then etcd is slow, not the connection.
	patience = 5 * time.Second

	// watchPatience is how long a watch may be behind and bring nothing while etcd
	// answers probes.
	watchPatience = time.Second
)

var errSilent = errors.New("the watch brings nothing")

// probe asks etcd for the revision of the last write, twice a second until ctx is
// done, and restarts the watch if the watch does not bring it.
func (k *Keeper) probe(ctx context.Context, client *clientv3.Client) {
	every, silence := probeEvery, probeTime
	var silent time.Time // since when the watch is behind and brings nothing
	missed := false      // the last probe
	for sleep(ctx, every) == nil {
		begun, had := time.Now(), k.revisionNow()
		within, cancel := context.WithTimeout(ctx, probeTime)
		t, err := k.top(within, client)
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
		if k.freezeOnMismatch(t, had) || k.isFrozen() {
			cancel()
			k.restartWatch(errFrozen)
			continue
		}
		err = k.wait(within, t.head)
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
				k.away(fmt.Errorf("the watch does not bring revision %d", t.head))
				k.restartWatch(errSilent)
			}
			continue
		}
		silent = time.Time{}
		k.confirmed(begun)
	}
}

func (k *Keeper) isFrozen() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.frozen != ""
}

// progress returns the last revision that is applied, and whether the registry is
// being listed.
func (k *Keeper) progress() (revision int64, listing bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.revision, k.listing
}
