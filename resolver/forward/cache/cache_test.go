package cache

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
)

// underRace is set if the race detector is on: then everything takes ten times as
// long.
var underRace bool

// A million random names of one client must not push out what all others ask for.
func TestRandomNamesDoNotEvictNamesInUse(t *testing.T) {
	hot, random, octets := 10_000, 1_000_000, 16<<20 // a quarter of the default, so that nearly everything must go
	if underRace {
		hot, random, octets = hot/50, random/50, octets/50 // a race would show as well
	}
	c, err := New(octets)
	if err != nil {
		t.Fatal(err)
	}
	r := &message.Response{Records: make([]byte, 64), TTLs: make([]uint16, 4), TTL: 86400}
	name := []byte("\x08\x00\x00\x00\x00\x00\x00\x00\x00\x07example\x03com\x00")
	at := func(n uint64) message.Question {
		binary.BigEndian.PutUint64(name[1:], n)
		return message.Question{Name: string(name), Type: wire.TypeA}
	}
	use := func(q message.Question) bool {
		e, ok := c.entries.GetIfPresent(c.keyOf(q))
		if ok && e.Question == q {
			return true
		}
		c.Put(NewEntry(q, r, 0))
		return false
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	hits, asked := 0, 0
	for i := range uint64(hot) {
		use(at(i))
	}
	for i := range uint64(random) {
		use(at(1<<32 + i))
		if asked++; use(at(rnd.Uint64N(uint64(hot)))) {
			hits++
		}
	}
	t.Logf("%.2f %% hits, %d entries, %d octets", 100*float64(hits)/float64(asked), c.Len(), c.Octets())
	if 100*hits < 99*asked {
		t.Errorf("%d of %d were hits, want 99 of 100", hits, asked)
	}
	if c.Octets() > uint64(octets) {
		t.Errorf("the cache holds %d octets, more than %d", c.Octets(), octets)
	}
}

// queryOf returns the parsed query for A of a name in wire format.
func queryOf(t *testing.T, name string) *wire.Query {
	t.Helper()
	q, sent := new(wire.Query), message.NewQuery(message.Question{Name: name, Type: wire.TypeA}, false, false)
	if v := q.Parse(sent.Octets); v != wire.Answer {
		t.Fatalf("%q: verdict %v", name, v)
	}
	return q
}

func TestAnEntryAnswersOnlyItsOwnQuestionIfHashesCollide(t *testing.T) {
	c, err := New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	a, b := queryOf(t, "\x01a\x07example\x00"), queryOf(t, "\x01b\x07example\x00")
	e := NewEntry(message.QuestionOf(a), &message.Response{TTL: 60}, 0)
	c.Put(e)
	c.entries.Set(c.KeyOf(b), e)
	if got, _ := c.Get(a); got != e {
		t.Error("a.example. has no entry")
	}
	if got, _ := c.Get(b); got != nil {
		t.Error("the entry of a.example. answers b.example.")
	}
	if c.Peek(message.QuestionOf(b)) != nil {
		t.Error("Peek returns the entry of a.example. for b.example.")
	}
	c.Fail(message.QuestionOf(a), 0, 0, 0)
	c.failures.Set(c.KeyOf(b), &failure{Question: message.QuestionOf(a), until: 1})
	if _, failed := c.Failed(a, c.KeyOf(a), 0, 0); !failed {
		t.Error("the failure of a.example. is forgotten")
	}
	if _, failed := c.Failed(b, c.KeyOf(b), 0, 0); failed {
		t.Error("the failure of a.example. is taken for one of b.example.")
	}
	if _, failed := c.FailedQuestion(message.QuestionOf(b), 0, 0); failed {
		t.Error("the failure of a.example. is taken for one of the question b.example.")
	}
}
