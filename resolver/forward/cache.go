package forward

import (
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/internaldns/internaldns/zone/wire"
	"github.com/maypok86/otter/v2"
)

// A cache holds entries up to a number of octets, and what failed of late. What
// is asked for often stays, however many other names pass through (W-TinyLFU).
// Reading takes no lock.
//
// Keys are hashes with a seed of their own, so nobody can make names collide; if
// two do all the same, they displace each other.
type cache struct {
	seed     maphash.Seed
	entries  *otter.Cache[uint64, *entry]
	failures *otter.Cache[uint64, *failure]
	evicted  atomic.Uint64
}

// maxFailures is the number of failures remembered. An entry each: 2 MB in all.
// More failing names than this in their time are asked for again.
const maxFailures = 10_000

func newCache(octets int) (*cache, error) {
	c := &cache{seed: maphash.MakeSeed()}
	var err error
	c.entries, err = otter.New(&otter.Options[uint64, *entry]{
		MaximumWeight: uint64(octets),
		Executor:      inline,
		Weigher:       func(_ uint64, e *entry) uint32 { return uint32(e.octets()) },
		OnAtomicDeletion: func(e otter.DeletionEvent[uint64, *entry]) {
			if e.WasEvicted() {
				c.evicted.Add(1)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	c.failures, err = otter.New(&otter.Options[uint64, *failure]{MaximumSize: maxFailures, Executor: inline})
	if err != nil {
		return nil, fmt.Errorf("cache of failures: %w", err)
	}
	return c, nil
}

// inline runs what otter does beside reading and writing, once for some dozens of
// either, in the goroutine that reads or writes. That takes a few microseconds,
// and is skipped if another goroutine does it already; to wake a goroutine of its
// own for it would take as long, and leave less to those who ask.
func inline(fn func()) { fn() }

func (c *cache) key(name []byte, qtype uint16, bits questionBits) uint64 {
	return mix(maphash.Bytes(c.seed, name), qtype, bits)
}

func (c *cache) keyOf(q question) uint64 {
	return mix(maphash.String(c.seed, q.name), q.qtype, q.bits)
}

// mix adds what else tells questions apart to the hash of a name.
func mix(h uint64, qtype uint16, bits questionBits) uint64 {
	return (h ^ (uint64(qtype)<<8 | uint64(bits))) * 0x9E3779B97F4A7C15
}

// get returns the entry that answers q, which may be out of date, or nil, and the
// key of both q's entry and failure. It counts as a use of the entry.
func (c *cache) get(q *wire.Query) (*entry, uint64) {
	key := c.key(q.Name(), q.Type, bitsOf(q))
	if e, ok := c.entries.GetIfPresent(key); ok && e.answers(q) {
		return e, key
	}
	return nil, key
}

// peek returns the entry that answers q, which may be out of date, or nil. It
// does not count as a use.
func (c *cache) peek(q question) *entry {
	if e, ok := c.entries.GetEntryQuietly(c.keyOf(q)); ok && e.Value.question == q {
		return e.Value
	}
	return nil
}

// put stores e, and forgets that its question ever failed.
func (c *cache) put(e *entry) {
	key := c.keyOf(e.question)
	c.entries.Set(key, e)
	c.failures.Invalidate(key)
}

// flush drops every entry and failure for whose question match is true, and
// returns the number of entries.
func (c *cache) flush(match func(q question) bool) (n int) {
	for key, e := range c.entries.All() {
		if match(e.question) {
			if _, ok := c.entries.Invalidate(key); ok {
				n++
			}
		}
	}
	for key, f := range c.failures.All() {
		if match(f.question) {
			c.failures.Invalidate(key)
		}
	}
	return n
}

// sweep drops the entries that have been out of date for longer than age.
func (c *cache) sweep(now moment, age time.Duration) {
	for key, e := range c.entries.All() {
		if now >= e.expires.after(age) {
			c.entries.Invalidate(key)
		}
	}
}

// len and octets say how much the cache holds.
func (c *cache) len() int       { return c.entries.EstimatedSize() }
func (c *cache) octets() uint64 { return c.entries.WeightedSize() }

// How long a failure is believed (RFC 9520, Section 3.2): at first not longer than
// anyone waits who tries again by hand, and doubled each time, since what
// has failed for minutes will hardly work now.
const (
	firstFailure   = 2 * time.Second
	longestFailure = 5 * time.Minute
)

// A failure is the memory that a question could not be answered.
type failure struct {
	question
	until  moment
	lasted time.Duration // from then to until
	ede    uint16
	// era is that of the upstreams when none of them could be reached; 0: they
	// could. Such a failure ends when one of them comes back.
	era uint64
}

// failed returns the failure that holds for q, whose key is key, or nil.
func (c *cache) failed(key uint64, now moment, q *wire.Query) *failure {
	f, ok := c.failures.GetIfPresent(key)
	if !ok || now >= f.until || f.name != string(q.Name()) || f.qtype != q.Type || f.bits != bitsOf(q) {
		return nil
	}
	return f
}

// failedQuestion is failed for a question that is not in a query.
func (c *cache) failedQuestion(q question, now moment) *failure {
	if f, ok := c.failures.GetIfPresent(c.keyOf(q)); ok && now < f.until && f.question == q {
		return f
	}
	return nil
}

// fail remembers that q failed, for longer if it did so before.
func (c *cache) fail(q question, now moment, ede uint16, era uint64) {
	key := c.keyOf(q)
	f := &failure{question: q, lasted: firstFailure, ede: ede, era: era}
	if last, ok := c.failures.GetIfPresent(key); ok && last.question == q && last.era == era && now < last.until.after(longestFailure) {
		f.lasted = min(2*last.lasted, longestFailure)
	}
	f.until = now.after(f.lasted)
	c.failures.Set(key, f)
}
