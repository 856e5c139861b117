package wire

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// Random messages are made of parts that fit together, and of parts that almost fit. They
// are closer to the rules than what a fuzzer finds by itself. Each must pass the checks of
// FuzzParse.
func TestParseOfRandomMessages(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0))}
	verdicts := map[Verdict]int{}
	before := g.message()
	for range 10_000 {
		msg := g.message()
		var q Query
		verdicts[q.Parse(msg)]++
		testParse(t, msg, before)
		if t.Failed() {
			t.Fatalf("the message was %x, after %x", msg, before)
		}
		before = msg
	}
	for v, name := range verdictNames {
		if verdicts[v] < 50 {
			t.Errorf("only %d messages were %s: %v", verdicts[v], name, verdicts)
		}
	}
}

// A generator makes messages.
type generator struct {
	*rand.Rand
	targets []int // where names and pointers began in the message being made
}

// rarely returns true once in n times.
func (g *generator) rarely(n int) bool { return g.IntN(n) == 0 }

// pick returns usual half of the time, else one of all.
func pick[T any](g *generator, usual T, others ...T) T {
	if len(others) == 0 || g.rarely(2) {
		return usual
	}
	return others[g.IntN(len(others))]
}

func (g *generator) message() []byte {
	flags := pick(g, FlagRD, 0, FlagRD|FlagCD, 0x077f)
	if g.rarely(20) {
		flags = g.IntN(1 << 16)
	}
	g.targets = g.targets[:0]
	msg := binary.BigEndian.AppendUint16(nil, uint16(g.Uint32()))
	msg = binary.BigEndian.AppendUint16(msg, uint16(flags))
	msg = append(msg, 0, 1, 0, 0, 0, 0, 0, 0)
	if g.rarely(50) {
		msg[4+g.IntN(8)] = byte(pick(g, 1, 0, 2, 255))
	}

	msg = g.name(msg, 100)
	msg = binary.BigEndian.AppendUint16(msg, uint16(pick(g, TypeAAAA, TypeTXT, TypeANY, 0, TypeOPT, TypeAXFR, TypeIXFR, TypeMAILA, TypeSIG)))
	msg = binary.BigEndian.AppendUint16(msg, uint16(pick(g, ClassIN, ClassIN, ClassIN, ClassIN, 3, 255)))
	for range pick(g, 1, 0, 0, 2, 3, 8) {
		msg = g.record(msg)
		msg[11]++
	}

	for g.rarely(8) {
		msg[g.IntN(len(msg))] ^= 1 << g.IntN(8)
	}
	switch {
	case g.rarely(30):
		msg = append(msg, byte(g.IntN(256)))
	case g.rarely(30):
		msg = msg[:g.IntN(len(msg))]
	}
	return msg
}

// name appends a name; one in pointers ends with a compression pointer.
func (g *generator) name(msg []byte, pointers int) []byte {
	g.targets = append(g.targets, len(msg))
	for range pick(g, 2, 0, 1, 3, 4, 120, 127, 128) {
		n := pick(g, 1, 1, 1, 3, 8, 1+g.IntN(63))
		msg = append(msg, byte(n))
		for range n {
			msg = append(msg, pick(g, byte('A'+g.IntN(26)), byte('a'+g.IntN(26)), byte(g.IntN(256))))
		}
		if g.rarely(8) {
			break
		}
	}
	if g.rarely(pointers) {
		return g.pointer(msg)
	}
	return append(msg, 0)
}

// pointer appends a compression pointer, mostly to a name or pointer begun
// before, or a little behind its begin.
func (g *generator) pointer(msg []byte) []byte {
	to := g.targets[g.IntN(len(g.targets))] + pick(g, 0, 0, 2, g.IntN(8))
	g.targets = append(g.targets, len(msg))
	kind := pick(g, 0xC000, 0xC000, 0xC000, 0xC000, 0xC000, 0x8000)
	return binary.BigEndian.AppendUint16(msg, uint16(kind|to&0x3FFF))
}

func (g *generator) record(msg []byte) []byte {
	rtype := pick(g, TypeOPT, TypeA, TypePTR, TypeSIG, TypeTSIG, 65280)
	switch {
	case rtype == TypeOPT && !g.rarely(20):
		msg = append(msg, 0)
	case g.rarely(2):
		msg = g.pointer(msg)
	default:
		msg = g.name(msg, 2)
	}
	msg = binary.BigEndian.AppendUint16(msg, uint16(rtype))
	msg = binary.BigEndian.AppendUint16(msg, uint16(pick(g, 1232, 0, 511, 512, 513, 4096, 65535)))
	msg = append(msg, 0, byte(pick(g, 0, 0, 0, 0, 0, 1, 255)), byte(pick(g, 0, 0x80, 0x7F)), 0, 0, 0)
	rdata := len(msg)
	switch rtype {
	case TypeOPT:
		for range pick(g, 0, 1, 2, 5) {
			msg = g.option(msg)
		}
	case TypePTR:
		for range pick(g, 1, 2, 3) {
			msg = g.name(msg, 2)
		}
	case TypeSIG:
		msg = append(msg, 0, byte(pick(g, 0, 28)))
	default:
		msg = append(msg, make([]byte, g.IntN(20))...)
	}
	rdlen := len(msg) - rdata
	if g.rarely(50) {
		rdlen += g.IntN(5) - 2
	}
	binary.BigEndian.PutUint16(msg[rdata-2:], uint16(rdlen))
	return msg
}

func (g *generator) option(msg []byte) []byte {
	n := pick(g, 0, 0, 2, 8, 8, 8, 24, 40, g.IntN(50))
	code := pick(g, optionKeepalive, 3, 8, 65001)
	if n >= 8 {
		code = optionCookie
	}
	msg = binary.BigEndian.AppendUint16(msg, uint16(code))
	said := n
	if g.rarely(30) {
		said += 1 + g.IntN(4)
	}
	msg = binary.BigEndian.AppendUint16(msg, uint16(said))
	return append(msg, make([]byte, n)...)
}
