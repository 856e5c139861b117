package load

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/internaldns/internaldns/bench/internal/mmsg"
)

func TestIDsOfNeighboursAreFarApartAndNoneComesTwice(t *testing.T) {
	f := newPending(maxPending)
	seen := map[uint16]bool{}
	var last uint16
	for i := range maxPending {
		id := f.add(uint32(i), int64(i))
		if seen[id] {
			t.Fatalf("ID %d came twice within %d queries", id, i)
		}
		seen[id] = true
		if d := int(id) - int(last); i > 0 && d < 100 && d > -100 {
			t.Fatalf("IDs %d and %d follow each other", last, id)
		}
		last = id
		if q := f.find(id); q == nil || q.query != uint32(i) {
			t.Fatalf("query %d is not found by its ID", i)
		}
	}
	if !f.full() {
		t.Error("a table with every ID in use is not full")
	}
}

// A model that holds pending queries in a map agrees with the table over any order
// of sending, answering and giving up.
func TestPendingQueriesAgreeWithAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	f := newPending(64)
	model := map[uint16]int64{}
	now := int64(0)
	for range 100_000 {
		now++
		switch r.IntN(3) {
		case 0, 1:
			for f.full() {
				if q, _ := f.loseOldest(now + 1); q != nil {
					delete(model, q.id)
				}
			}
			model[f.add(0, now)] = now
		case 2:
			id := uint16(r.IntN(1 << 16))
			if r.IntN(2) == 0 {
				for id = range model {
					break
				}
			}
			due, waits := model[id]
			q := f.find(id)
			if got := q != nil && q.state == waiting; got != waits || got && q.due != due {
				t.Fatalf("ID %d: the table has %v, in the map it waits: %v", id, q, waits)
			}
			if waits {
				f.answer(q)
				delete(model, id)
			}
		}
		if f.count != len(model) {
			t.Fatalf("%d queries wait, the map has %d", f.count, len(model))
		}
	}
}

func TestQueriesAreDueByTheClock(t *testing.T) {
	p := pace{rate: 1000}
	if n := p.due(0, 0, 64); n != 1 {
		t.Errorf("%d due at once, want 1", n)
	}
	p.sent = 1
	if n := p.due(999_999, 0, 64); n != 0 {
		t.Errorf("%d due before the second's time", n)
	}
	if w := p.wait(400_000); w != 600_000 {
		t.Errorf("wait %d ns, want 600000", w)
	}
	if n := p.due(10_000_000, 0, 64); n != 10 {
		t.Errorf("%d due after 10ms, want 10", n)
	}
	if at := p.when(4, 10_000_000); at != 5_000_000 {
		t.Errorf("the fifth of them was due at %d, want 5000000", at)
	}
	closed := pace{window: 10}
	if n := closed.due(0, 7, 64); n != 3 {
		t.Errorf("window of 10 with 7 outstanding lets %d go", n)
	}
}

// steps returns a generator, and a function that makes one turn of its loop and
// answers every query, from preallocated memory.
func steps(t testing.TB, open bool) (*generator, func()) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Server: conn.LocalAddr().(*net.UDPAddr).AddrPort(), Queries: queries(t, 100), Sockets: 4, Sample: 1, Duration: time.Hour, Timeout: time.Minute}
	if open {
		o.Rate = 5e6
	}
	g, err := newGenerator(o.WithDefaults())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.carrier.close)
	in := mmsg.New(batch, 512, true)
	reply := answer(g.Queries[0].Message, 3)
	serve := func(fd uintptr) {
		n, _ := in.Recv(int(fd), batch, false)
		for i := range n {
			question := len(g.Queries[0].Message) - 11
			buf := in.Buffer(i)
			binary.BigEndian.PutUint16(buf[10:], 0)
			buf[2], buf[7] = 0x81, 3
			copy(buf[question:], reply[question:])
			in.SetLen(i, len(reply))
		}
		if n > 0 {
			in.Send(int(fd), 0, n)
		}
	}
	return g, func() {
		g.tick()
		if _, err := g.turn(true); err != nil {
			t.Fatal(err)
		}
		raw.Control(serve)
	}
}

// Sending, receiving, checking, comparing and timing a query allocates nothing: a
// collection would stall the generator, and the latency of the server would grow.
func TestSteadyLoopAllocs(t *testing.T) {
	for _, tt := range []struct {
		name string
		open bool
	}{{"closed", false}, {"open", true}} {
		t.Run(tt.name, func(t *testing.T) {
			g, step := steps(t, tt.open)
			step() // allocates what all turns use
			if got := testing.AllocsPerRun(1000, step); got != 0 {
				t.Errorf("%v allocations a turn, want 0", got)
			}
			if g.Answered < 1000 || g.Wrong > 0 || g.Lost > 0 {
				t.Errorf("the turns did not answer: %+v", g.Counts)
			}
		})
	}
}

func TestSteadyTCPLoopAllocs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := Options{Server: l.Addr().(*net.TCPAddr).AddrPort(), Transport: TCP, Queries: queries(t, 1), Sockets: 1, Window: 8, Sample: 1, Duration: time.Hour, Timeout: time.Minute}
	g, err := newGenerator(o.WithDefaults())
	if err != nil {
		t.Fatal(err)
	}
	defer g.carrier.close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	query := g.Queries[0].Message
	in := make([]byte, 8*(2+len(query)))
	reply := answer(query, 3)
	var out bytes.Buffer
	got := testing.AllocsPerRun(200, func() {
		g.tick()
		if _, err := g.turn(true); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, in); err != nil {
			t.Fatal(err)
		}
		out.Reset()
		for i := range 8 {
			reply[0], reply[1] = in[i*(2+len(query))+2], in[i*(2+len(query))+3]
			out.WriteByte(byte(len(reply) >> 8))
			out.WriteByte(byte(len(reply)))
			out.Write(reply)
		}
		if _, err := conn.Write(out.Bytes()); err != nil {
			t.Fatal(err)
		}
		poll(g.carrier.(*tcpCarrier).polls, time.Second)
	})
	if got != 0 {
		t.Errorf("%v allocations a turn of 8 queries, want 0", got)
	}
	if g.Answered < 1000 || g.Wrong > 0 {
		t.Errorf("the turns did not answer: %+v", g.Counts)
	}
}

func TestNamesWithoutEndAreMalformed(t *testing.T) {
	for _, msg := range [][]byte{{}, {3, 'a'}, {63}, {1, 'a', 1, 'b'}} {
		if at := skipName(msg, 0); at >= 0 {
			t.Errorf("%v: ended at %d", msg, at)
		}
	}
}

func BenchmarkTurn(b *testing.B) {
	g, step := steps(b, false)
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
	if n := g.Answered; n > 0 {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/query")
	}
}

// Sending, the kernel's work in both directions, the answers of this test, and
// checking, all on one thread:
//
//	BenchmarkTurn-2   5100   371081 ns/op   5799 ns/query   0 B/op   0 allocs/op
//
// Intel Xeon, 2 CPUs, Linux 6.18, go1.26.8, other work on the machine.
