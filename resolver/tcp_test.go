package resolver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// wantOpen fails unless the connection still answers queries.
func (s *stream) wantOpen() {
	s.t.Helper()
	if m := s.ask(question(s.t, 0xFFFE, dns.TypeAAAA, "web.internal")); m.Id != 0xFFFE || len(m.Answer) != 3 {
		s.t.Errorf("the next query on the connection is answered with %v", m)
	}
}

// Many queries in one segment are answered in order. Responses have all sizes.
func TestPipelinedQueriesAreAnsweredInOrder(t *testing.T) {
	r := start(t, Config{})
	names := []string{"web.internal", "nobody.internal", "most.internal", "some.internal", "example.com", "some.internal"}
	for _, addr := range r.Addrs() {
		s := dialTCP(t, addr)
		const n = 300
		go func() { // more than the buffers of both sides hold
			var all []byte
			for id := range uint16(n) {
				all = append(all, framed(question(t, id, dns.TypeAAAA, names[int(id)%len(names)]))...)
			}
			s.conn.Write(all)
		}()
		for id := range uint16(n) {
			m := unpack(t, s.receive())
			if name := names[int(id)%len(names)] + "."; m.Id != id || m.Question[0].Name != name {
				t.Fatalf("response %d is to query %d, for %v; want %s", id, m.Id, m.Question, name)
			}
		}
		s.wantOpen()
	}
}

func TestAQueryMayComeOctetByOctet(t *testing.T) {
	r := start(t, Config{})
	s := dialTCP(t, r.Addrs()[0])
	s.conn.SetNoDelay(true)
	two := append(framed(question(t, 1, dns.TypeAAAA, "web.internal")), framed(question(t, 2, dns.TypeTXT, "_apps.internal"))...)
	for i := range two {
		s.write(two[i : i+1])
	}
	for id := range uint16(2) {
		if m := unpack(t, s.receive()); m.Id != id+1 || m.Rcode != dns.RcodeSuccess {
			t.Errorf("response %d: %v", id, m)
		}
	}
}

// A query may be as long as a frame.
func TestALongQueryIsRead(t *testing.T) {
	r := start(t, Config{})
	for _, size := range []int{goroutineRead - 1, goroutineRead, goroutineRead + 1, 16 << 10, 16<<10 + 1, 40_000, 65535} {
		s := dialTCP(t, r.Addrs()[0])
		const head = 12 + len("\x03web\x08internal\x00") + 4 + 11 + 4
		long := question(t, 1, dns.TypeAAAA, "web.internal", edns(1232, &dns.EDNS0_LOCAL{Code: 65001, Data: make([]byte, size-head)}))
		if len(long) != size {
			t.Fatalf("the query has %d octets, want %d", len(long), size)
		}
		if m := s.ask(long); len(m.Answer) != 3 {
			t.Errorf("a query of %d octets is answered with %v", size, m)
		}
		s.wantOpen()
	}
}

// flyctl and other clients read a response from TCP with a single Read. So length and
// message must be in one segment.
func TestAClientThatReadsOnceGetsTheWholeResponse(t *testing.T) {
	r := start(t, Config{})
	for _, name := range []string{"web.internal", "many.internal", "nobody.internal"} {
		for range 20 {
			s := dialTCP(t, r.Addrs()[0])
			s.write(framed(question(t, 1, dns.TypeAAAA, name)))
			buf := make([]byte, 1<<16)
			n, err := s.conn.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			if want := 2 + int(binary.BigEndian.Uint16(buf)); n != want {
				t.Fatalf("%s: the first read gets %d octets of %d", name, n, want)
			}
			unpack(t, buf[2:n])
			s.conn.Close()
		}
	}
}

// A client may close its half as soon as it has sent its queries.
func TestAHalfClosedConnectionIsAnsweredFirst(t *testing.T) {
	r := start(t, Config{})
	s := dialTCP(t, r.Addrs()[0])
	for id := range uint16(3) {
		s.write(framed(question(t, id, dns.TypeAAAA, "many.internal")))
	}
	s.conn.CloseWrite()
	for id := range uint16(3) {
		if m := unpack(t, s.receive()); m.Id != id || len(m.Answer) != bigApps["many"] {
			t.Errorf("query %d is answered with ID %d and %d addresses", id, m.Id, len(m.Answer))
		}
	}
	s.closed()

	half := dialTCP(t, r.Addrs()[0]) // half a query gets no response
	half.write(framed(question(t, 7, dns.TypeAAAA, "web.internal"))[:20])
	half.conn.CloseWrite()
	half.closed()
	wantCounts(t, r.counts(), map[string]float64{
		"tcp_connections_closed_total client": 1,
		"tcp_connections_closed_total frame":  1,
	})
}

func TestAnUndecodableFrameClosesTheConnection(t *testing.T) {
	r := start(t, Config{})
	good := framed(question(t, 1, dns.TypeAAAA, "web.internal"))
	for _, bad := range [][]byte{
		{0, 0},
		{0, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
		[]byte("\x00\x05GET / HTTP/1.1\r\n\r\n"),
	} {
		s := dialTCP(t, r.Addrs()[0])
		s.write(good, bad, good)
		if m := unpack(t, s.receive()); len(m.Answer) != 3 {
			t.Errorf("the query before it is answered with %v", m)
		}
		rest, err := io.ReadAll(s.conn) // the end, or a reset because octets were not read
		if len(rest) > 0 || isTimeout(err) {
			t.Errorf("after the frame %x, the server wrote %x; %v", bad, rest, err)
		}
	}
	wantCounts(t, r.counts(), map[string]float64{
		"tcp_connections_closed_total frame": 3,
		"dns_dropped_total tcp short":        3,
		"dns_responses_total NOERROR":        3,
	})
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestAnErrorLeavesTheConnectionOpen(t *testing.T) {
	r := start(t, Config{})
	s := dialTCP(t, r.Addrs()[0])
	for _, tt := range []struct {
		does  string
		msg   []byte
		rcode int
	}{
		{"a header alone", make([]byte, 12), dns.RcodeFormatError},
		{"octets after the last record", append(question(t, 0, dns.TypeAAAA, "web.internal"), 0), dns.RcodeFormatError},
		{"another opcode", question(t, 0, dns.TypeSOA, "internal", func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), dns.RcodeNotImplemented},
		{"a zone transfer", question(t, 0, dns.TypeAXFR, "internal"), dns.RcodeRefused},
		{"a forwarded name", question(t, 0, dns.TypeAAAA, "example.com"), dns.RcodeRefused},
		{"a broken keepalive", brokenKeepalive(t), dns.RcodeFormatError},
	} {
		if m := s.ask(tt.msg); m.Rcode != tt.rcode {
			t.Errorf("%s is answered with %v", tt.does, m)
		}
		s.wantOpen()
	}
}

func TestNoResponseToAResponseOverTCP(t *testing.T) {
	r := start(t, Config{})
	s := dialTCP(t, r.Addrs()[0])
	response := question(t, 1, dns.TypeAAAA, "web.internal", func(m *dns.Msg) { m.Response = true })
	for range 3 {
		s.write(framed(response), framed(response))
		s.wantOpen()
	}
	wantCounts(t, r.counts(), map[string]float64{"dns_dropped_total tcp response": 6, "dns_responses_total NOERROR": 3})
}

// brokenKeepalive returns a query whose keepalive option has a timeout. Only servers
// may send one.
func brokenKeepalive(t testing.TB) []byte {
	return question(t, 0, dns.TypeAAAA, "web.internal", edns(1232, &dns.EDNS0_LOCAL{Code: dns.EDNS0TCPKEEPALIVE, Data: []byte{0, 100}}))
}

// Over TCP, a response to a query with the keepalive option has the idle timeout (RFC
// 7828). Over UDP the option is ignored.
func TestKeepaliveIsAnsweredOverTCP(t *testing.T) {
	r := start(t, Config{TCPIdle: 7500 * time.Millisecond})
	s, c := dialTCP(t, r.Addrs()[0]), dialUDP(t, r.Addrs()[0])
	timeouts := func(m *dns.Msg) (units []uint16) {
		opt := m.IsEdns0()
		if opt == nil {
			t.Fatalf("the response has no OPT: %v", m)
		}
		for _, o := range opt.Option {
			if o, ok := o.(*dns.EDNS0_TCP_KEEPALIVE); ok {
				units = append(units, o.Timeout)
			}
		}
		return units
	}
	for _, name := range []string{"web.internal", "nobody.internal", "example.com"} {
		ask := question(t, 1, dns.TypeAAAA, name, edns(1232, keepalive()))
		if got := timeouts(s.ask(ask)); !slices.Equal(got, []uint16{75}) {
			t.Errorf("%s over TCP: the timeout is %v × 100 ms, want 75", name, got)
		}
		if got := timeouts(c.ask(ask)); len(got) != 0 {
			t.Errorf("%s over UDP: the timeout is %v", name, got)
		}
	}
	plain := question(t, 1, dns.TypeAAAA, "web.internal", edns(1232))
	if got := timeouts(s.ask(plain)); len(got) != 0 {
		t.Errorf("without the option, the timeout is %v", got)
	}
	if m := c.ask(brokenKeepalive(t)); m.Rcode != dns.RcodeSuccess || len(timeouts(m)) != 0 {
		t.Errorf("a broken keepalive over UDP is answered with %v", m)
	}
}

// Connections use the buffers of closed ones. Octets of one client must not reach the
// next, neither in a response nor as part of a query.
func TestAConnectionLeavesNothingToTheNext(t *testing.T) {
	r := listen(t, Config{TCPWorkers: 1})
	msg := question(t, 1, dns.TypeTXT, "vms.web.internal", edns(1232))
	lone := framed(msg)
	reusable := func() { // waits until the connection is closed and can be used again
		t.Helper()
		for end := time.Now().Add(patience); r.stocked() != 1; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("%d connections can be used again, want 1", r.stocked())
			}
		}
	}
	for n := range lone {
		// The first client sends a query and part of another.
		client, serve := r.connect(t)
		client.write(lone, lone[:n])
		client.conn.CloseWrite()
		serve()
		first := client.receive()

		// The second client sends a query of its own.
		reusable()
		client, serve = r.connect(t)
		short := question(t, 2, dns.TypeAAAA, "nobody.internal")
		client.write(framed(short))
		client.conn.CloseWrite()
		serve()
		all, err := io.ReadAll(client.conn)
		if err != nil {
			t.Fatal(err)
		}
		if m := unpack(t, all[2:]); m.Id != 2 || m.Rcode != dns.RcodeNameError || len(m.Extra) != 0 || len(all) != 2+int(binary.BigEndian.Uint16(all)) {
			t.Fatalf("after %d octets of another client's query, the response is %v", n, m)
		}
		if bytes.Contains(all, []byte("148e21dad76789")) || !bytes.Contains(first, []byte("148e21dad76789")) {
			t.Fatalf("the second client gets octets of the first one's response: %q", all)
		}

		// The third client sends part of a query. The rest must not come from
		// the first client.
		reusable()
		client, serve = r.connect(t)
		client.write(lone[:n])
		client.conn.CloseWrite()
		serve()
		client.closed()
		reusable()
	}
}

// On Linux, the tests of this package also run with a goroutine for each
// connection, in another process that differs by a flag alone. Those without a TCP
// server are skipped.
func TestAllWithoutEpoll(t *testing.T) {
	if *goroutines || runtime.GOOS != "linux" {
		t.Skip("this is the other process, or epoll does not exist")
	}
	out, err := exec.Command(os.Args[0], "-test.skip", "UDP|Datagram|Batch|Respond|RCode|ExpectTSV|SERVFAIL|MessagesThatAreNoQueries|Upstream", "-packets", "10000", "-resolver.goroutines").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("PASS")) {
		t.Errorf("%v:\n%s", err, out)
	}
}
