package cache

import (
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/internaldns/internaldns/resolver/forward/clock"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/maypok86/otter/v2"
)

// A Cache holds entries and failures. Its methods may be called from any
// goroutine.
//
// Keys are hashes with a random seed, so that clients cannot choose names that
// collide. If two questions collide all the same, the later one replaces the
// other.
type Cache struct {
	seed     maphash.Seed
	entries  *otter.Cache[Key, *Entry]
	failures *otter.Cache[Key, *failure]
	evicted  atomic.Uint64
}

// A Key is the hash of a question.
type Key uint64

// maxFailures is the number of failures remembered. They take 2 MB in all. If
// more questions fail at the same time, some are asked again early.
const maxFailures = 10_000

// New returns a cache whose entries take about that many octets of memory at most.
func New(octets int) (*Cache, error) {
	c := &Cache{seed: maphash.MakeSeed()}
	var err error
	c.entries, err = otter.New(&otter.Options[Key, *Entry]{
		MaximumWeight: uint64(octets),
		Executor:      inline,
		Weigher:       func(_ Key, e *Entry) uint32 { return uint32(e.octets()) },
		OnAtomicDeletion: func(e otter.DeletionEvent[Key, *Entry]) {
			if e.WasEvicted() {
				c.evicted.Add(1)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	c.failures, err = otter.New(&otter.Options[Key, *failure]{MaximumSize: maxFailures, Executor: inline})
	if err != nil {
		return nil, fmt.Errorf("cache of failures: %w", err)
	}
	return c, nil
}

// inline runs otter's maintenance in the goroutine that reads or writes. It takes
// a few microseconds once in some dozens of reads or writes, and otter skips it if
// another goroutine is doing it. Waking a separate goroutine would take as long.
func inline(fn func()) { fn() }

// mix adds the other parts of a question to the hash of its name.
func mix(name uint64, qtype uint16, do, cd bool) Key {
	bits := uint64(qtype) << 8
	if do {
		bits |= 1
	}
	if cd {
		bits |= 2
	}
	return Key((name ^ bits) * 0x9E3779B97F4A7C15)
}

// KeyOf returns the key of q's question.
func (c *Cache) KeyOf(q *wire.Query) Key {
	return mix(maphash.Bytes(c.seed, q.Name()), q.Type, q.DO, q.Flags&wire.FlagCD != 0)
}

func (c *Cache) keyOf(q message.Question) Key {
	return mix(maphash.String(c.seed, q.Name), q.Type, q.DO, q.CD)
}

// Get returns the entry that answers q, or nil, and the key of q's question. The
// entry may be out of date. Get counts as a use of the entry, which keeps it in the
// cache.
func (c *Cache) Get(q *wire.Query) (*Entry, Key) {
	key := c.KeyOf(q)
	if e, ok := c.entries.GetIfPresent(key); ok && e.Is(q) {
		return e, key
	}
	return nil, key
}

// Peek is Get without a query and without counting as a use.
func (c *Cache) Peek(q message.Question) *Entry {
	if e, ok := c.entries.GetEntryQuietly(c.keyOf(q)); ok && e.Value.Question == q {
		return e.Value
	}
	return nil
}

// Put stores e and forgets any failure of its question.
func (c *Cache) Put(e *Entry) {
	key := c.keyOf(e.Question)
	c.entries.Set(key, e)
	c.failures.Invalidate(key)
}

// Flush removes every entry and failure for whose question match returns true,
// and returns the number of entries removed.
func (c *Cache) Flush(match func(q message.Question) bool) (n int) {
	for key, e := range c.entries.All() {
		if match(e.Question) {
			if _, ok := c.entries.Invalidate(key); ok {
				n++
			}
		}
	}
	for key, f := range c.failures.All() {
		if match(f.Question) {
			c.failures.Invalidate(key)
		}
	}
	return n
}

// Sweep removes the entries that are no longer usable: see Entry.Usable.
func (c *Cache) Sweep(now clock.Moment, staleFor time.Duration) {
	for key, e := range c.entries.All() {
		if !e.Usable(now, staleFor) {
			c.entries.Invalidate(key)
		}
	}
}

// Len returns the number of entries.
func (c *Cache) Len() int { return c.entries.EstimatedSize() }

// Octets returns about how much memory the entries take.
func (c *Cache) Octets() uint64 { return c.entries.WeightedSize() }

// Evicted returns how many entries were removed to make room since New.
func (c *Cache) Evicted() uint64 { return c.evicted.Load() }

// A failure is remembered for firstFailure, and each time it happens again for
// twice as long, up to longestFailure (RFC 9520, Section 3.2). A user who tries
// again by hand is not answered from memory the first time.
const (
	firstFailure   = 2 * time.Second
	longestFailure = 5 * time.Minute
)

// A failure records that a question could not be answered.
type failure struct {
	message.Question
	until  clock.Moment
	lasted time.Duration // until, minus the time of the failure
	ede    uint16
	era    uint64
}

// Fail remembers that q failed, for longer if it has failed before. ede is the
// extended error for clients. era is 0 if upstreams responded. Otherwise the
// failure ends as soon as Failed is called with another era.
func (c *Cache) Fail(q message.Question, now clock.Moment, ede uint16, era uint64) {
	key := c.keyOf(q)
	f := &failure{Question: q, lasted: firstFailure, ede: ede, era: era}
	if last, ok := c.failures.GetIfPresent(key); ok && last.Question == q && last.era == era && now < last.until.After(longestFailure) {
		f.lasted = min(2*last.lasted, longestFailure)
	}
	f.until = now.After(f.lasted)
	c.failures.Set(key, f)
}

// Failed reports whether q, whose question has this key, failed and must not be
// asked again yet, and returns the extended error for the client. era is the
// current one: see Fail.
func (c *Cache) Failed(q *wire.Query, key Key, now clock.Moment, era uint64) (ede uint16, failed bool) {
	f, ok := c.failures.GetIfPresent(key)
	if !ok || !f.holds(now, era) || !f.Is(q) {
		return 0, false
	}
	return f.ede, true
}

// FailedQuestion is Failed without a query.
func (c *Cache) FailedQuestion(q message.Question, now clock.Moment, era uint64) (ede uint16, failed bool) {
	f, ok := c.failures.GetIfPresent(c.keyOf(q))
	if !ok || !f.holds(now, era) || f.Question != q {
		return 0, false
	}
	return f.ede, true
}

// holds reports whether f's time has not passed and its era has not ended.
func (f *failure) holds(now clock.Moment, era uint64) bool {
	return now < f.until && (f.era == 0 || f.era == era)
}
