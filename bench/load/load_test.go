package load

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/internaldns/internaldns/bench/dataset"
)

// A behaviour returns the messages with which a test server answers query number n.
type behaviour func(n int, query []byte) [][]byte

// answer returns the response to the query, with the addresses 2001:db8::1, ::2 and
// so on.
func answer(query []byte, answers int) []byte {
	msg := bytes.Clone(query)
	msg[2] |= 0x80
	msg[11] = 0 // no OPT
	at := 12
	for msg[at] != 0 {
		at += 1 + int(msg[at])
	}
	msg = msg[:at+5]
	binary.BigEndian.PutUint16(msg[6:], uint16(answers))
	for i := range answers {
		msg = append(msg, 0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 5, 0, 16)
		msg = append(msg, address(i)...)
	}
	return msg
}

func address(i int) []byte {
	a := netip.MustParseAddr("2001:db8::").As16()
	a[15] = byte(i + 1)
	return a[:]
}

// queries returns n queries that want three addresses each.
func queries(t testing.TB, n int) []dataset.Query {
	t.Helper()
	var all []dataset.Query
	for i := range n {
		q, err := dataset.NewQuery("app-"+string(rune('a'+i%26))+".internal.", dataset.TypeAAAA, 1232)
		if err != nil {
			t.Fatal(err)
		}
		q.Want = dataset.Want{Known: true, Answers: 3}
		for k := range 3 {
			q.Want.Digest += dataset.RecordDigest(dataset.TypeAAAA, address(k))
		}
		all = append(all, q)
	}
	return all
}

func right(_ int, query []byte) [][]byte { return [][]byte{answer(query, 3)} }

// serveUDP runs a server on loopback until the test ends.
func serveUDP(t testing.TB, network string, do behaviour) netip.AddrPort {
	t.Helper()
	host := "127.0.0.1:0"
	if network == "udp6" {
		host = "[::1]:0"
	}
	conn, err := net.ListenPacket(network, host)
	if err != nil {
		t.Fatal(err)
	}
	conn.(*net.UDPConn).SetReadBuffer(4 << 20)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for n := 0; ; n++ {
			k, from, err := conn.(*net.UDPConn).ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			for _, msg := range do(n, buf[:k]) {
				conn.(*net.UDPConn).WriteToUDPAddrPort(msg, from)
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// serveTCP runs a server on loopback until the test ends. A behaviour that
// returns nil ends the connection.
func serveTCP(t testing.TB, do behaviour) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for n := 0; ; n++ {
					var length uint16
					if binary.Read(conn, binary.BigEndian, &length) != nil {
						return
					}
					msg := make([]byte, length)
					if _, err := io.ReadFull(conn, msg); err != nil {
						return
					}
					back := do(n, msg)
					if back == nil {
						return
					}
					for _, m := range back {
						conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
					}
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// run runs with options that make a test short.
func run(t testing.TB, o Options) Result {
	t.Helper()
	if o.Queries == nil {
		o.Queries = queries(t, 50)
	}
	o.Duration = cmp.Or(o.Duration, 100*time.Millisecond)
	o.Timeout = cmp.Or(o.Timeout, time.Minute) // no query is lost, however busy the machine is
	o.Sockets = cmp.Or(o.Sockets, 4)
	o.Window = cmp.Or(o.Window, 16)
	o.Sample = cmp.Or(o.Sample, 1)
	r, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Answered+r.Lost != r.Sent {
		t.Errorf("%d answered and %d lost are not %d sent", r.Answered, r.Lost, r.Sent)
	}
	return r
}

func TestRightAnswersAreCountedAndCompared(t *testing.T) {
	for _, tt := range []struct {
		name      string
		transport Transport
		server    netip.AddrPort
		rate      float64
	}{
		{"IPv4", UDP, serveUDP(t, "udp4", right), 0},
		{"IPv6", UDP, serveUDP(t, "udp6", right), 0},
		{"IPv4, open loop", UDP, serveUDP(t, "udp4", right), 2000},
		{"TCP pipelined", TCP, serveTCP(t, right), 0},
		{"TCP pipelined, open loop", TCP, serveTCP(t, right), 2000},
		{"TCP with a connection for each query", TCPOnce, serveTCP(t, right), 0},
		{"TCP with a connection for each query, open loop", TCPOnce, serveTCP(t, right), 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			began, ended := 0, 0
			r := run(t, Options{
				Server: tt.server, Transport: tt.transport, Rate: tt.rate, Warmup: 10 * time.Millisecond,
				Begin: func() { began++ }, End: func() { ended++ },
			})
			if r.Answered == 0 || r.Lost > 0 || r.Wrong > 0 || r.Compared < r.Answered || r.RCodes["NOERROR"] != r.Answered {
				t.Errorf("%+v", r)
			}
			if r.Within > r.Answered || r.Received == 0 || r.Latency.P50 <= 0 || r.Latency.Max < r.Latency.P50 {
				t.Errorf("%+v", r)
			}
			if began != 1 || ended != 1 {
				t.Errorf("Begin was called %d times, End %d times", began, ended)
			}
		})
	}
}

func TestUnansweredQueriesAreLost(t *testing.T) {
	var dropped atomic.Uint64
	server := serveUDP(t, "udp4", func(n int, query []byte) [][]byte {
		if n%10 == 0 {
			dropped.Add(1)
			return nil
		}
		return right(n, query)
	})
	r := run(t, Options{Server: server, Rate: 2000, Duration: 200 * time.Millisecond, Timeout: time.Second})
	// A machine that stands still for a second makes it lose others, which are late.
	if want := dropped.Load(); r.Answered == 0 || r.Lost < want || r.Lost > want+r.Late {
		t.Errorf("lost %d of %d, %d late, want %d", r.Lost, r.Sent, r.Late, want)
	}
}

func TestResponsesToOtherQueriesAreCountedByTheirFault(t *testing.T) {
	other := queries(t, 26)
	for _, tt := range []struct {
		name  string
		forge func(query []byte) []byte
		count func(*Result) uint64
	}{
		{"another ID", func(q []byte) []byte {
			m := answer(q, 3)
			m[1] ^= 1
			return m
		}, func(r *Result) uint64 { return r.Stray }},
		{"another question", func(q []byte) []byte {
			m := answer(q, 3)
			m[13]++
			return m
		}, func(r *Result) uint64 { return r.WrongQuestion }},
		{"another letter case", func(q []byte) []byte {
			m := answer(q, 3)
			m[13] ^= 0x20
			return m
		}, func(r *Result) uint64 { return r.WrongQuestion }},
		{"no question", func(q []byte) []byte {
			m := answer(q, 0)
			m[5] = 0
			return m[:12]
		}, func(r *Result) uint64 { return r.WrongQuestion }},
		{"the query itself", func(q []byte) []byte { return bytes.Clone(q) }, func(r *Result) uint64 { return r.NotResponse }},
		{"half a header", func(q []byte) []byte { return q[:6] }, func(r *Result) uint64 { return r.Malformed }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // each takes the timeout, which is long for a busy machine
			server := serveUDP(t, "udp4", func(_ int, query []byte) [][]byte { return [][]byte{tt.forge(query)} })
			r := run(t, Options{Server: server, Queries: other, Rate: 1000, Timeout: 2 * time.Second})
			if r.Answered != 0 || r.Lost != r.Sent || r.Sent == 0 {
				t.Errorf("%d of %d were accepted", r.Answered, r.Sent)
			}
			if tt.count(&r) == 0 {
				t.Errorf("it is not counted by its fault: %+v", r.Counts)
			}
		})
	}
}

func TestARightResponseAfterAWrongOneIsTaken(t *testing.T) {
	server := serveUDP(t, "udp4", func(_ int, query []byte) [][]byte {
		forged := answer(query, 3)
		forged[13]++
		return [][]byte{forged, answer(query, 3), answer(query, 3)}
	})
	r := run(t, Options{Server: server})
	if r.Answered == 0 || r.Lost > 0 || r.WrongQuestion == 0 || r.Twice == 0 {
		t.Errorf("%+v", r.Counts)
	}
}

func TestWrongAnswersAreDetected(t *testing.T) {
	for _, tt := range []struct {
		name string
		msg  func(query []byte) []byte
	}{
		{"one record too few", func(q []byte) []byte { return answer(q, 2) }},
		{"one record too many", func(q []byte) []byte { return answer(q, 4) }},
		{"another address", func(q []byte) []byte {
			m := answer(q, 3)
			m[len(m)-1]++
			return m
		}},
		{"another RCODE", func(q []byte) []byte {
			m := answer(q, 3)
			m[3] |= 3
			return m
		}},
		{"a record that overruns", func(q []byte) []byte {
			m := answer(q, 3)
			return m[:len(m)-1]
		}},
		{"a name without end", func(q []byte) []byte { return append(answer(q, 0)[:6], append([]byte{0, 1}, answer(q, 0)[8:]...)...) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := serveUDP(t, "udp4", func(_ int, query []byte) [][]byte { return [][]byte{tt.msg(query)} })
			r := run(t, Options{Server: server})
			if r.Answered == 0 || r.Wrong != r.Answered || r.Within != 0 {
				t.Errorf("%d of %d answers counted as wrong", r.Wrong, r.Answered)
			}
			if len(r.Wrongs) == 0 || !strings.Contains(r.Wrongs[0], ".internal.") {
				t.Errorf("examples: %q", r.Wrongs)
			}
		})
	}
}

// RCODEs from 12 to 15 have no name.
func TestRCodesWithoutANameAreCountedByTheirNumber(t *testing.T) {
	server := serveUDP(t, "udp4", func(n int, query []byte) [][]byte {
		m := answer(query, 0)
		m[3] |= byte(12 + n%2)
		return [][]byte{m}
	})
	r := run(t, Options{Server: server, Duration: 300 * time.Millisecond})
	if r.RCodes["RCODE12"] == 0 || r.RCodes["RCODE12"]+r.RCodes["RCODE13"] != r.Answered {
		t.Errorf("%d answered: %v", r.Answered, r.RCodes)
	}
	if len(r.Wrongs) == 0 || !strings.Contains(r.Wrongs[0], "got RCODE1") {
		t.Errorf("examples: %q", r.Wrongs)
	}
}

func TestAnswersInAnotherOrderAreRight(t *testing.T) {
	server := serveUDP(t, "udp4", func(_ int, query []byte) [][]byte {
		m := answer(query, 3)
		first, last := m[len(m)-28*3:][:28], m[len(m)-28:]
		first[27], last[27] = last[27], first[27]
		return [][]byte{m}
	})
	if r := run(t, Options{Server: server}); r.Answered == 0 || r.Wrong > 0 {
		t.Errorf("%d of %d wrong", r.Wrong, r.Answered)
	}
}

func TestAnEchoIsAcceptedOnlyWhenAskedFor(t *testing.T) {
	server := serveUDP(t, "udp4", func(_ int, query []byte) [][]byte { return [][]byte{query} })
	if r := run(t, Options{Server: server, Echo: true}); r.Answered == 0 || r.Lost > 0 {
		t.Errorf("echo: %+v", r.Counts)
	}
}

// The server holds its answers back until 300 queries have come, which takes 300 ms
// at 1,000 a second. The latency of the queries of that time shows it, though each
// was sent on time and answered as soon as the stall ended. On a busy machine, more
// queries take longer.
func TestLatencyOfTheOpenLoopIncludesAStall(t *testing.T) {
	var held [][]byte
	server := serveUDP(t, "udp4", func(n int, query []byte) [][]byte {
		switch {
		case n < 100 || n > 400:
			return right(n, query)
		case n < 400:
			held = append(held, answer(query, 3))
			return nil
		}
		return append(held, answer(query, 3))
	})
	r := run(t, Options{Server: server, Sockets: 1, Rate: 1000, Duration: time.Second})
	if r.Answered < 400 {
		t.Fatalf("%d answered: the stall did not end", r.Answered)
	}
	if r.Latency.Max < 280*time.Millisecond {
		t.Errorf("the longest latency is %v, the stall was 300ms", r.Latency.Max)
	}
	// 200 queries waited for longer than the deadline of 100 ms.
	if late := r.Answered - r.Within; late < 150 {
		t.Errorf("%d of %d answers missed the deadline, want about 200", late, r.Answered)
	}
}

func TestTheOpenLoopKeepsItsRate(t *testing.T) {
	server := serveUDP(t, "udp4", right)
	for _, rate := range []float64{200, 5000} {
		r := run(t, Options{Server: server, Rate: rate, Duration: 300 * time.Millisecond, Timeout: 10 * time.Second})
		due := rate * 0.3
		if got := float64(r.Sent + r.Unsent); got < due-1 || got > due+1 {
			t.Errorf("at %v a second for 300ms, %v queries were due, want %v", rate, got, due)
		}
	}
}

func TestAFloodCountsWhatItSends(t *testing.T) {
	server := serveUDP(t, "udp4", right)
	r := run(t, Options{Server: server, Flood: true, Duration: 50 * time.Millisecond, Timeout: 200 * time.Millisecond})
	if r.Loop != "flood" || r.Sent == 0 || r.SentQPS() < r.QPS() {
		t.Errorf("sent %.0f/s, answered %.0f/s", r.SentQPS(), r.QPS())
	}
}

func TestEveryPortIsUsed(t *testing.T) {
	ports := map[string]bool{}
	l, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := l.ReadFrom(buf)
			if err != nil {
				return
			}
			ports[from.String()] = true
			l.WriteTo(answer(buf[:n], 3), from)
		}
	}()
	run(t, Options{Server: l.LocalAddr().(*net.UDPAddr).AddrPort(), Sockets: 8, Duration: 300 * time.Millisecond})
	l.Close()
	<-done
	if len(ports) != 8 {
		t.Errorf("queries came from %d ports, want 8", len(ports))
	}
}

func TestALostConnectionIsOpenedAgain(t *testing.T) {
	server := serveTCP(t, func(n int, query []byte) [][]byte {
		if n == 20 {
			return nil
		}
		return right(n, query)
	})
	r := run(t, Options{Server: server, Transport: TCP, Sockets: 2, Window: 4, Duration: 300 * time.Millisecond})
	if r.Reconnects == 0 || r.Answered == 0 {
		t.Errorf("%+v", r.Counts)
	}
}

func TestAServerThatIsNotThereIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	for _, transport := range []Transport{UDP, TCP} {
		_, err := Run(context.Background(), Options{Server: addr, Transport: transport, Queries: queries(t, 1), Duration: 100 * time.Millisecond})
		if err == nil {
			t.Errorf("%s to a closed port: no error", transport)
		}
	}
	hangUp := serveTCP(t, func(int, []byte) [][]byte { return nil })
	if _, err := Run(context.Background(), Options{Server: hangUp, Transport: TCP, Queries: queries(t, 1)}); !errors.Is(err, errHungUp) {
		t.Errorf("a server that only hangs up: %v", err)
	}
}

func TestACancelledRunEndsWithWhatItHas(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	server := serveUDP(t, "udp4", func(n int, query []byte) [][]byte {
		if n == 500 { // more than the window: some were answered
			cancel()
		}
		return right(n, query)
	})
	r, err := Run(ctx, Options{Server: server, Queries: queries(t, 5), Duration: time.Hour})
	if !errors.Is(err, context.Canceled) || r.Answered == 0 || r.Elapsed > time.Minute {
		t.Errorf("%v: %+v", err, r)
	}
}

func TestOptionFaultsAreAllNamed(t *testing.T) {
	_, err := Run(context.Background(), Options{
		Transport: "smoke", Sockets: -1, Window: -1, Rate: -1, Duration: -1, Timeout: -1, Deadline: -1, Warmup: -1, Sample: -1,
	})
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, field := range []string{"server:", "transport:", "queries:", "sockets:", "window:", "rate:", "duration:", "timeout:", "deadline:", "warmup:", "sample:"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("faults do not name %s\n%v", field, err)
		}
	}
}

func TestResultsAreWrittenForPeopleProgramsAndBenchstat(t *testing.T) {
	r := Result{
		Server: "127.0.0.1:53", Transport: UDP, Loop: "closed", Sockets: 16, Window: 128, Elapsed: 2 * time.Second, Deadline: 100 * time.Millisecond,
		Counts: Counts{Sent: 2010, Answered: 2000, Lost: 10, Received: 2000, Within: 1900, Stray: 3},
		RCodes: map[string]uint64{"NOERROR": 2000}, Latency: Latency{P50: 1500, P99: 9000},
	}
	var text, line bytes.Buffer
	if err := errors.Join(r.WriteText(&text), r.WriteBenchmark(&line, "a server")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1000/s", "950/s right within 100ms", "p99 9µs", "stray 3", "0.498 %"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("text lacks %q:\n%s", want, text.String())
		}
	}
	if want := "Benchmarka_server/transport=udp/loop=closed \t2000\t1000000.0 ns/op\t1000 qps\t950 goodput/s\t1500 p50-ns\t9000 p99-ns\t0.00498 lost\n"; line.String() != want {
		t.Errorf("got  %q\nwant %q", line.String(), want)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(b, &back); err != nil || back.Counts != r.Counts || back.Latency != r.Latency {
		t.Errorf("JSON does not come back: %v %s", err, b)
	}
}
