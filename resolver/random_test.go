package resolver

import (
	"bytes"
	"encoding/binary"
	"flag"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"

	"github.com/internaldns/internaldns/resolver/socket"
)

// packets is how many random packets are sent over each transport. make soak sends
// more:
//
//	go test ./resolver -run Random -packets 50000000 -timeout 0
var packets = flag.Int("packets", defaultPackets, "random packets to send over each transport")

// A mutator makes packets that are almost queries, by changing queries.
type mutator struct {
	*rand.Rand
	seeds [][]byte
}

func newMutator(t testing.TB) *mutator {
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	m := &mutator{Rand: rand.New(rand.NewPCG(seed, 0))}
	for _, k := range kinds {
		m.seeds = append(m.seeds,
			k.query(t, 0),
			k.query(t, 0, edns(1232, keepalive(), &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"})))
	}
	files, err := filepath.Glob("../zone/wire/testdata/packets/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no hostile packets: %v", err)
	}
	for _, f := range files {
		msg, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m.seeds = append(m.seeds, msg)
	}
	return m
}

// packet returns the next packet, at most limit octets long.
func (m *mutator) packet(limit int) []byte {
	msg := slices.Clone(m.seeds[m.IntN(len(m.seeds))])
	switch m.IntN(10) {
	case 0:
		msg = make([]byte, m.IntN(100))
		m.fill(msg)
	case 1: // the head of one, the tail of another
		other := m.seeds[m.IntN(len(m.seeds))]
		msg = append(msg[:m.IntN(len(msg)+1)], other[m.IntN(len(other)+1):]...)
	case 2:
		msg = msg[:m.IntN(len(msg)+1)]
	case 3:
		tail := make([]byte, m.IntN(64))
		m.fill(tail)
		msg = append(msg, tail...)
	}
	for range m.IntN(5) {
		if len(msg) == 0 {
			break
		}
		i := m.IntN(len(msg))
		switch m.IntN(5) {
		case 0:
			msg[i] ^= 1 << m.IntN(8)
		case 1:
			msg[i] = byte(m.Uint32())
		case 2:
			msg[i] = []byte{0, 1, 0x3F, 0x40, 0xC0, 0xFF}[m.IntN(6)]
		case 3:
			msg = slices.Delete(msg, i, i+1)
		case 4:
			msg = slices.Insert(msg, i, byte(m.Uint32()))
		}
	}
	if m.IntN(500) == 0 {
		msg = append(msg, make([]byte, m.IntN(5000))...)
	}
	if len(msg) >= 2 {
		binary.BigEndian.PutUint16(msg, uint16(m.Uint32()))
	}
	return msg[:min(len(msg), limit)]
}

func (m *mutator) fill(b []byte) {
	for i := range b {
		b[i] = byte(m.Uint32())
	}
}

// mustAnswer reports whether a packet must get exactly one response. Too short ones
// have no ID to answer to, and if responses were answered, two servers could answer
// each other for ever.
func mustAnswer(msg []byte) bool { return len(msg) >= 12 && msg[2]&0x80 == 0 }

// checkRandom fails unless resp, the response to msg, equals want, which a new
// responder gives, and unless another DNS library can read it.
func checkRandom(t testing.TB, msg, resp, want []byte) {
	t.Helper()
	if !bytes.Equal(resp, want) {
		t.Fatalf("the response to %x is\n%x, and by itself\n%x", msg, resp, want)
	}
	var m dns.Msg
	if err := m.Unpack(resp); err != nil {
		t.Fatalf("the response to %x does not unpack: %v\n%x", msg, err, resp)
	}
	if !m.Response || resp[0] != msg[0] || resp[1] != msg[1] || m.Opcode != int(msg[2]>>3&0xF) || m.AuthenticatedData || m.Zero {
		t.Fatalf("the response to %x is %v", msg, m)
	}
}

// The server responds to every query and to nothing else, for random packets, and
// needs no more memory after. Several packets are sent at a time, so that batches
// have several. Responses come in the order of the queries.
func TestRandomPacketsOverUDP(t *testing.T) {
	const flight = 16
	r := start(t, Config{UDPWorkers: 1})
	m := newMutator(t)
	growth := newGrowth(t)
	for i, addr := range r.Addrs() {
		c := dialUDP(t, addr)
		c.conn.SetReadBuffer(4 << 20)
		src := c.conn.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Addr()
		buf := make([]byte, 1<<16)
		for n := 0; n < *packets/2; n += flight {
			var sent [flight][]byte
			for j := range sent {
				sent[j] = m.packet(socket.MaxDatagram + 100)
			}
			sent[flight-1] = question(t, uint16(n), dns.TypeAAAA, "web.internal")
			c.conn.SetDeadline(time.Now().Add(patience))
			c.send(sent[:]...)
			oracle, out := newTestResponder(t, acmePublisher(), false)
			for _, msg := range sent {
				if !mustAnswer(msg) || len(msg) > socket.MaxDatagram {
					continue
				}
				k, err := c.conn.Read(buf)
				if err != nil {
					t.Fatalf("%x is not responded to: %v", msg, err)
				}
				checkRandom(t, msg, buf[:k], oracle.respond(src, addr.Addr(), msg, out))
			}
			if n == 0 && i == 0 {
				growth.begin()
			}
		}
	}
	growth.end()
	r.stop()
}

func TestRandomPacketsOverTCP(t *testing.T) {
	const flight = 16
	r := start(t, Config{})
	m := newMutator(t)
	growth := newGrowth(t)
	addr := r.Addrs()[0]
	src := netip.MustParseAddr("127.0.0.1")
	for n := 0; n < *packets; {
		s := dialTCP(t, addr)
		for range 1 + m.IntN(500) {
			var sent [flight][]byte
			var all []byte
			for j := range sent {
				for sent[j] = nil; len(sent[j]) < wire.HeaderLen; sent[j] = m.packet(wire.MaxMessageLen) {
				}
				all = append(all, framed(sent[j])...)
			}
			s.conn.SetDeadline(time.Now().Add(patience))
			for len(all) > 0 { // in segments that do not end where frames end
				k := min(1+m.IntN(2000), len(all))
				s.write(all[:k])
				all = all[k:]
			}
			oracle, out := newTestResponder(t, acmePublisher(), true)
			for _, msg := range sent {
				if mustAnswer(msg) {
					checkRandom(t, msg, s.receive(), oracle.respond(src, src, msg, out))
				}
			}
			if n += flight; n == flight {
				growth.begin()
			}
		}
		bad := make([]byte, 2+m.IntN(1000)) // an impossible frame, or part of one
		m.fill(bad)
		bad[0], bad[1] = byte(m.IntN(2)*0xFF), byte(m.IntN(12))
		s.conn.Write(bad)
		s.conn.CloseWrite()
		if rest, err := io.ReadAll(s.conn); len(rest) > 0 || isTimeout(err) {
			t.Fatalf("at the end of a connection, after %x: %x, %v", bad, rest, err)
		}
		s.conn.Close()
	}
	growth.end()
	if got := r.counts()["tcp_connections_open"]; got != 0 {
		t.Errorf("%v connections are counted as open", got)
	}
}

// A growth compares the heap and the goroutines of the process at two times.
type growth struct {
	t          testing.TB
	heap       uint64
	goroutines int
}

func newGrowth(t testing.TB) *growth { return &growth{t: t} }

func (f *growth) begin() { f.heap, f.goroutines = heapOctets(), runtime.NumGoroutine() }

func (f *growth) end() {
	f.t.Helper()
	const slack = 1 << 20
	if got := heapOctets(); got > f.heap+slack {
		f.t.Errorf("the heap has grown from %d to %d octets", f.heap, got)
	}
	for end := time.Now().Add(patience); runtime.NumGoroutine() > f.goroutines; runtime.Gosched() { // connections may be closing
		if time.Now().After(end) {
			f.t.Errorf("there were %d goroutines, and are %d", f.goroutines, runtime.NumGoroutine())
			return
		}
	}
}

func heapOctets() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
