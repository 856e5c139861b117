package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// probeEvery is how often etcd is asked whether we have its last write, and
	// awayEvery how often while it does not answer. A probe is one read that needs
	// a majority, without the disk.
	probeEvery = 500 * time.Millisecond
	awayEvery  = 100 * time.Millisecond

	// probeTime is how long a probe waits; an etcd that misses two in a row counts
	// as away. Below, an election or a slow disk would often look like one.
	probeTime = time.Second

	// patience is how long a connection may be silent after others have been
	// given up in vain: then etcd is slow, and it is not the connection.
	patience = 5 * time.Second

	// watchPatience is how long a watch may be behind, and bring nothing, while
	// etcd answers otherwise.
	watchPatience = time.Second
)

var errSilent = errors.New("the watch brings nothing")

// probe asks etcd from time to time for the last write, until ctx is done, and
// sees to it that the watch brings it.
func (k *Keeper) probe(ctx context.Context, client *clientv3.Client) {
	every, silence := probeEvery, probeTime
	var silent time.Time // since when the watch is behind and brings nothing
	missed := false      // the last probe
	for sleep(ctx, every) == nil {
		begun, had := time.Now(), k.revisionNow()
		within, cancel := context.WithTimeout(ctx, probeTime)
		h, err := k.head(within, client)
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
				k.conns.hangUp(silence)
				silence = patience
			}
			continue
		}
		every, silence, missed = probeEvery, probeTime, false
		if k.strange(h, had) {
			cancel()
			k.again(errHeld)
			continue
		}
		err = k.wait(within, h.written)
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
				k.away(fmt.Errorf("the watch does not bring revision %d", h.written))
				k.again(errSilent)
			}
			continue
		}
		silent = time.Time{}
		k.confirmed(begun)
	}
}

// progress returns the last revision that is applied, and whether the registry is
// being listed.
func (k *Keeper) progress() (revision int64, listing bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.revision, k.listing
}

// strange reports whether etcd cannot be the one that we followed, and then holds
// the last state.
func (k *Keeper) strange(h *head, had int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	why := k.strangeLocked(h, had)
	if why != "" {
		k.holdLocked(why)
	}
	return why != "" || k.held != ""
}
