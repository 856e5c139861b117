package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
)

// progressEvery is how often Load says how far it is.
const progressEvery = 2 * time.Second

// Load takes the directory, making it if it is not there, and brings what it
// keeps into the store, which must be empty: all of it, with the indexes that it
// had, or nothing. Leases that ended while nobody watched are left out. The error
// says everything that is wrong with the database.
//
// A database that can be read and not written is loaded all the same, and
// Status says so.
func (k *Keeper) Load(ctx context.Context) (err error) {
	defer faultsArePanics()()
	begun := time.Now()
	if err := makeDir(k.dir); err != nil {
		return err
	}
	if k.lock, err = acquire(k.dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	os.Remove(k.path + newSuffix) // of a process that did not finish it
	if _, err := os.Stat(k.path); errors.Is(err, fs.ErrNotExist) {
		if err := create(k.path); err != nil {
			return fmt.Errorf("make a database at %s: %w", k.path, err)
		}
		k.log.Info("database made")
	}
	c, readOnly, err := k.read(ctx)
	if err != nil {
		return unreadable(k.path, err)
	}
	now := time.Now()
	ended, err := k.replay(c, now)
	if err != nil {
		return unreadable(k.path, err)
	}
	if readOnly != nil {
		k.failed(readOnly, c.state, nil)
	} else {
		k.settle(c.state, ended, nil) // if that fails it says so, and Run tries again
	}
	k.mu.Lock()
	k.phase = phaseLoaded
	k.status.Octets = c.octets
	k.mu.Unlock()
	k.log.Info("registry loaded",
		zap.Int("apps", len(c.facts.Apps)), zap.Int("machines", len(c.facts.Machines)), zap.Int("leases", len(c.leases)),
		zap.Int("ended", len(k.owed)), zap.Uint64("index", k.store.Snapshot().Index), zap.Duration("took", time.Since(begun)))
	return nil
}

// unreadable says what to do about a database that cannot be loaded.
func unreadable(path string, err error) error {
	_, damaged := errors.AsType[Faults](err)
	_, refused := errors.AsType[registry.Faults](err)
	if damaged || refused {
		return fmt.Errorf("the database %s is damaged:\n%w\nNothing of it is served. internaldns data check shows all that is wrong; restore a backup, or move the file away to begin anew", path, err)
	}
	return fmt.Errorf("read %s: %w", path, err)
}

// read reads the database. readOnly says why it cannot be written, if so.
func (k *Keeper) read(ctx context.Context) (c *contents, readOnly, err error) {
	f, err := os.OpenFile(k.path, os.O_RDWR, 0)
	if err == nil {
		// What a process wrote that was killed may be in the kernel alone. It
		// must not be taken for durable.
		readOnly = f.Sync()
	} else if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	} else {
		readOnly = err
		if f, err = os.Open(k.path); err != nil {
			return nil, nil, err
		}
	}
	defer f.Close()
	if readOnly != nil {
		forget(f)
	}
	last := time.Now()
	c, err = (&scan{file: f, progress: func(records, of uint64) error {
		if time.Since(last) >= progressEvery {
			last = time.Now()
			k.log.Info("reading the database", zap.Uint64("records", records), zap.Uint64("of", of))
		}
		return ctx.Err()
	}}).read()
	return c, readOnly, err
}

// replay gives c to the store and keeps its leases. It returns what the leases
// that ended, which are owed then, change in the database.
func (k *Keeper) replay(c *contents, now time.Time) (ended []record, err error) {
	// A clock that was set back gives no lease more time.
	shown := now
	if c.clock.After(now) {
		shown = c.clock
	}
	for key, l := range c.leases {
		if !l.Expires.After(shown) {
			k.owed[key] = true
		}
	}
	index := c.index + uint64(len(k.owed)) // above any that was shown when they ended in memory alone
	ended = c.without(k.owed)
	for key, l := range c.leases {
		l.Expires = now.Add(min(l.Expires.Sub(shown), l.TTL))
		k.leases.set(key, &l)
	}
	k.shown, k.known = c.state, c.state
	k.mu.Lock()
	k.status.Index, k.status.Leases = index, len(c.leases)
	k.mu.Unlock()
	if index == 0 {
		return nil, nil
	}
	k.log.Info("taking in the registry", zap.Int("machines", len(c.facts.Machines)))
	tx := k.store.Begin()
	if _, err := tx.ApplyAt(index, events(&c.facts)); err != nil {
		tx.Abort()
		return nil, err
	}
	tx.Commit()
	return ended, nil
}

// events returns those that put f.
func events(f *registry.Facts) []registry.Event {
	list := make([]registry.Event, 0, len(f.Networks)+len(f.Apps)+len(f.Machines)+len(f.Peers)+len(f.Flycast)+len(f.Regions)+len(f.RTTs))
	for _, n := range f.Networks {
		list = append(list, registry.PutNetwork{NetworkName: n})
	}
	for _, a := range f.Apps {
		list = append(list, registry.PutApp{App: a})
	}
	for _, m := range f.Machines {
		list = append(list, registry.PutMachine{Machine: m})
	}
	for _, p := range f.Peers {
		list = append(list, registry.PutPeer{Peer: p})
	}
	for _, c := range f.Flycast {
		list = append(list, registry.PutFlycast{Flycast: c})
	}
	for _, r := range f.Regions {
		list = append(list, registry.PutRegion{Region: r})
	}
	for _, r := range f.RTTs {
		list = append(list, registry.PutRTT{RTT: r})
	}
	return list
}
