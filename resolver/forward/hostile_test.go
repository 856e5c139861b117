package forward

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/miekg/dns"
)

// A datagram that comes before the true response must not keep that from the client.
func TestFalseDatagramFirst(t *testing.T) {
	const after = 50 * time.Millisecond
	header := func(r *request) []byte { return pack(r.truth())[:12] }
	for _, tt := range []struct {
		name     string
		mismatch message.Mismatch
		false    func(r *request)
	}{
		{"a response with the wrong ID is not believed", message.MismatchID, func(r *request) {
			m := r.reply(r.msg.Question[0].Name + " 60 IN A 203.0.113.66")
			m.Id++
			r.sendMsg(m)
		}},
		{"many responses with wrong IDs are not believed", message.MismatchID, func(r *request) {
			m := r.reply(r.msg.Question[0].Name + " 60 IN A 203.0.113.66")
			for range 100 {
				m.Id++
				r.sendMsg(m)
			}
		}},
		{"a response to another question is not believed", message.MismatchQuestion, func(r *request) {
			m := r.reply("evil.example. 60 IN A 203.0.113.66")
			m.Question[0].Name = "evil.example."
			r.sendMsg(m)
		}},
		{"a response for another type is not believed", message.MismatchQuestion, func(r *request) {
			m := r.reply()
			m.Question[0].Qtype = dns.TypeTXT
			r.sendMsg(m)
		}},
		{"a response for another class is not believed", message.MismatchQuestion, func(r *request) {
			m := r.reply()
			m.Question[0].Qclass = dns.ClassCHAOS
			r.sendMsg(m)
		}},
		{"a response without a question is not believed", message.MismatchQuestion, func(r *request) {
			m := r.reply(r.msg.Question[0].Name + " 60 IN A 203.0.113.66")
			m.Question = nil
			r.sendMsg(m)
		}},
		{"a response with two questions is not believed", message.MismatchQuestion, func(r *request) {
			m := r.reply(r.msg.Question[0].Name + " 60 IN A 203.0.113.66")
			m.Question = append(m.Question, m.Question[0])
			r.sendMsg(m)
		}},
		{"five octets are no response", message.MismatchShort, func(r *request) { r.send(header(r)[:5]) }},
		{"an empty datagram is no response", message.MismatchShort, func(r *request) { r.send(nil) }},
		{"the query itself is no response", message.MismatchQuery, func(r *request) { r.send(r.raw) }},
		{"a response of another opcode is not believed", message.MismatchOpcode, func(r *request) {
			m := r.reply()
			m.Opcode = dns.OpcodeNotify
			r.sendMsg(m)
		}},
		{"a response with too few records is not believed", message.MismatchForm, func(r *request) {
			b := pack(r.reply(r.msg.Question[0].Name + " 60 IN A 203.0.113.66"))
			binary.BigEndian.PutUint16(b[6:], 5)
			r.send(b)
		}},
		{"a response with too many records is not believed", message.MismatchForm, func(r *request) {
			m := r.reply(r.msg.Question[0].Name+" 60 IN A 203.0.113.66", r.msg.Question[0].Name+" 60 IN A 203.0.113.67")
			b := pack(m)
			binary.BigEndian.PutUint16(b[6:], 1)
			r.send(b)
		}},
		{"a response with 65,535 records in 12 octets is not believed", message.MismatchForm, func(r *request) {
			m := r.reply()
			m.Extra = nil
			b := pack(m)
			binary.BigEndian.PutUint16(b[6:], 0xFFFF)
			binary.BigEndian.PutUint16(b[8:], 0xFFFF)
			binary.BigEndian.PutUint16(b[10:], 0xFFFF)
			r.send(b)
		}},
		{"a response with a pointer loop is not believed", message.MismatchForm, func(r *request) {
			m := r.reply()
			m.Extra = nil
			b := pack(m)
			at := len(b)
			b = append(b, 0xC0|byte(at>>8), byte(at), 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 66)
			binary.BigEndian.PutUint16(b[6:], 1)
			r.send(b)
		}},
		{"a response whose pointer leads into the header is not believed", message.MismatchForm, func(r *request) {
			m := r.reply()
			m.Extra = nil
			b := append(pack(m), 0xC0, 4, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 66)
			binary.BigEndian.PutUint16(b[6:], 1)
			r.send(b)
		}},
		{"a response with an address of three octets is not believed", message.MismatchForm, func(r *request) {
			m := r.reply()
			m.Extra = nil
			b := append(pack(m), 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 3, 203, 0, 113)
			binary.BigEndian.PutUint16(b[6:], 1)
			r.send(b)
		}},
		{"a response with two OPT records is not believed", message.MismatchForm, func(r *request) {
			m := r.reply(r.msg.Question[0].Name + " 60 IN A 203.0.113.66")
			m.Extra = append(m.Extra, m.Extra[0])
			r.sendMsg(m)
		}},
		{"a response from another address is not heard", 0, func(r *request) { sendFrom(r, "127.0.0.2:0") }},
		{"a response from another port is not heard", 0, func(r *request) { sendFrom(r, "127.0.0.1:0") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inTime(t, after, 400*time.Millisecond, func(t testing.TB) time.Duration {
				up := newFake(t, func(r *request) {
					switch {
					case r.tcp || r.msg.Question[0].Name == ".":
						if !r.tcp { // over TCP there is no answer
							truth(r)
						}
					case r.n == 0:
						tt.false(r)
						time.AfterFunc(after, func() { truth(r) })
					}
				})
				f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
				m, took := stub.ask(t, f, "A www.example.com.")
				if got, want := show(m), isTruth("www.example.com."); got != want {
					t.Errorf("the client got %s, want %s", got, want)
				}
				for kind, name := range message.Mismatches {
					n := f.upstreams()[0].Stats.Mismatches(kind)
					if (n > 0) != (tt.mismatch != 0 && message.Mismatch(kind) == tt.mismatch) {
						t.Errorf("%d mismatches %q were counted, want only %q", n, name, message.Mismatches[tt.mismatch])
					}
				}
				return took
			})
		})
	}
}

// inTime checks that try returns a time between two others. It may be late because
// the machine is busy, but not ten times in a row.
func inTime(t *testing.T, from, to time.Duration, try func(t testing.TB) time.Duration) {
	t.Helper()
	var took time.Duration
	for range 10 {
		if took = try(t); took >= from && took <= to || t.Failed() {
			return
		}
	}
	t.Errorf("the client waited %v, want %v to %v", took, from, to)
}

// sendFrom sends a lie in response to r from another socket.
func sendFrom(r *request, addr string) {
	conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(addrPort(addr)), net.UDPAddrFromAddrPort(r.from))
	if err != nil {
		r.fake.t.Error(err)
		return
	}
	defer conn.Close()
	conn.Write(pack(r.reply(r.msg.Question[0].Name + " 60 IN A 203.0.113.66")))
}

// Of a response that matches, only what answers the question is believed.
func TestHostileContent(t *testing.T) {
	validating := stub
	validating.ad = true
	for _, tt := range []struct {
		name, question, want string
		c                    client // default: stub
		handle               func(r *request)
		then                 map[string]string // what must still be asked, and is
	}{
		{
			name: "an answer for another owner is no answer", question: "A www.example.com.", want: "SERVFAIL",
			handle: func(r *request) { r.sendMsg(r.reply("victim.example. 60 IN A 203.0.113.66")) },
		},
		{
			name: "records about other names are dropped", question: "A www.example.com.", want: isTruth("www.example.com."),
			handle: func(r *request) {
				m := r.truth()
				if strings.EqualFold(r.msg.Question[0].Name, "www.example.com.") {
					m.Answer = append(m.Answer, records("victim.example. 60 IN A 203.0.113.66", "web.internal. 60 IN AAAA fdaa::66")...)
					m.Ns = records("example.com. 60 IN NS victim.example.", "internal. 60 IN NS victim.example.", "internal. 60 IN SOA a. b. 1 2 3 4 60")
					m.Extra = append(m.Extra, records("victim.example. 60 IN A 203.0.113.66", "web.internal. 60 IN AAAA fdaa::66")...)
				}
				r.sendMsg(m)
			},
			then: map[string]string{"A victim.example.": isTruth("victim.example.")},
		},
		{
			name: "an alias to a local name comes without the name's data", question: "AAAA alias.example.com.",
			want: "NOERROR [alias.example.com. 60 CNAME web.internal.]",
			handle: func(r *request) {
				r.sendMsg(r.reply("alias.example.com. 60 IN CNAME web.internal.", "web.internal. 60 IN AAAA fdaa::66"))
			},
		},
		{
			name: "the rest of an alias to a local name was not validated", question: "AAAA alias.example.com.",
			want: "NOERROR [alias.example.com. 60 CNAME web.internal.]",
			c:    validating,
			handle: func(r *request) {
				m := r.reply("alias.example.com. 60 IN CNAME web.internal.")
				m.Rcode, m.AuthenticatedData = dns.RcodeNameError, true
				m.Ns = records(". 60 IN SOA a. b. 1 2 3 4 60")
				r.sendMsg(m)
			},
		},
		{
			name: "a chain of aliases is kept, in any order", question: "A a.example.com.",
			want: "NOERROR [a.example.com. 60 CNAME b.example.com.] [b.example.com. 50 CNAME c.example.net.] [c.example.net. 40 A 192.0.2.7]",
			handle: func(r *request) {
				r.sendMsg(r.reply("c.example.net. 40 IN A 192.0.2.7", "b.example.com. 50 IN CNAME c.example.net.", "a.example.com. 60 IN CNAME b.example.com."))
			},
		},
		{
			name: "a loop of aliases is no answer", question: "A a.example.com.", want: "SERVFAIL",
			handle: func(r *request) {
				r.sendMsg(r.reply("a.example.com. 60 IN CNAME b.example.com.", "b.example.com. 60 IN CNAME a.example.com."))
			},
		},
		{
			name: "NXDOMAIN with data is no answer", question: "A a.example.com.", want: "SERVFAIL",
			handle: func(r *request) {
				m := r.truth()
				m.Rcode = dns.RcodeNameError
				r.sendMsg(m)
			},
		},
		{
			name: "a referral is no answer", question: "A a.example.com.", want: "SERVFAIL",
			handle: func(r *request) {
				m := r.reply()
				m.Ns = records("com. 60 IN NS a.gtld-servers.net.")
				r.sendMsg(m)
			},
		},
		{
			name: "a negative response keeps the SOA of its zone only", question: "A no.example.com.",
			want: "NXDOMAIN authority [example.com. 30 SOA]",
			handle: func(r *request) {
				m := r.reply()
				m.Rcode = dns.RcodeNameError
				m.Ns = records("other.example. 60 IN SOA a. b. 1 2 3 4 5", "example.com. 60 IN SOA a. b. 1 2 3 4 30", "example.com. 60 IN NS ns.example.com.")
				r.sendMsg(m)
			},
		},
		{
			name: "a cut response is asked for over TCP", question: "TXT long.example.com.",
			want: "NOERROR [long.example.com. 60 TXT \"over TCP\"]",
			handle: func(r *request) {
				m := r.reply("long.example.com. 60 IN TXT \"over TCP\"")
				if !r.tcp {
					m.Answer, m.Truncated = nil, true
				}
				r.sendMsg(m)
			},
		},
		{
			name: "a response that is cut over TCP as well is no answer", question: "A long.example.com.", want: "SERVFAIL",
			handle: func(r *request) {
				m := r.reply("long.example.com. 60 IN A 192.0.2.1")
				m.Truncated = true
				r.sendMsg(m)
			},
		},
		{
			name: "nor is one that is empty", question: "A empty.example.com.", want: "SERVFAIL",
			handle: func(r *request) {
				m := r.reply()
				m.Truncated = true
				r.sendMsg(m)
			},
		},
		{
			name: "FORMERR to EDNS is asked again without", question: "A old.example.com.", want: isTruth("old.example.com."),
			handle: func(r *request) {
				if r.msg.IsEdns0() == nil {
					truth(r)
					return
				}
				m := r.reply()
				m.Rcode, m.Extra = dns.RcodeFormatError, nil
				r.sendMsg(m)
			},
		},
		{
			name: "a bare FORMERR to EDNS is asked again without", question: "A older.example.com.", want: isTruth("older.example.com."),
			handle: func(r *request) {
				if r.msg.IsEdns0() == nil {
					truth(r)
					return
				}
				m := r.reply()
				m.Rcode, m.Extra, m.Question = dns.RcodeFormatError, nil, nil
				r.sendMsg(m)
			},
		},
		{
			name: "BADVERS to EDNS is asked again without", question: "A odd.example.com.", want: isTruth("odd.example.com."),
			handle: func(r *request) {
				if r.msg.IsEdns0() == nil {
					truth(r)
					return
				}
				m := r.reply()
				m.Rcode = dns.RcodeBadVers
				r.sendMsg(m)
			},
		},
		{
			name: "an upstream that changes letter case is asked over TCP", question: "A case.example.com.", want: isTruth("case.example.com."),
			handle: func(r *request) {
				m := r.truth()
				m.Question[0].Name = strings.ToLower(m.Question[0].Name)
				r.sendMsg(m)
			},
		},
		{
			name: "an upstream that changes letter case and lacks TCP is asked in lower case", question: "A worse.example.com.", want: isTruth("worse.example.com."),
			handle: func(r *request) {
				m := r.truth()
				m.Question[0].Name = strings.ToLower(m.Question[0].Name)
				if r.tcp {
					r.send([]byte("no message"))
					return
				}
				r.sendMsg(m)
			},
		},
		{
			name: "an upstream that changes letter case may fail like any other", question: "A fails.example.com.", want: "SERVFAIL",
			handle: func(r *request) {
				m := r.reply()
				m.Rcode = dns.RcodeServerFailure
				m.Question[0].Name = strings.ToLower(m.Question[0].Name)
				r.sendMsg(m)
			},
		},
		{
			name: "a response longer than we asked for is asked for over TCP", question: "TXT huge.example.com.",
			want: "NOERROR [huge.example.com. 60 TXT \"over TCP\"]",
			handle: func(r *request) {
				m := r.reply("huge.example.com. 60 IN TXT \"over TCP\"")
				if !r.tcp {
					for range 100 {
						m.Answer = append(m.Answer, records("huge.example.com. 60 IN TXT \"a string to make it long\"")...)
					}
				}
				r.sendMsg(m)
			},
		},
		{
			name: "a record of an unknown type passes", question: "TYPE65400 new.example.com.",
			want:   `NOERROR [new.example.com. 60 TYPE65400 \# 6 c00cc00cff00]`,
			handle: func(r *request) { r.sendMsg(r.reply(`new.example.com. 60 IN TYPE65400 \# 6 c00cc00cff00`)) },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inTime(t, 0, 700*time.Millisecond, func(t testing.TB) time.Duration {
				up := newFake(t, func(r *request) {
					if _, also := tt.then[dns.TypeToString[r.msg.Question[0].Qtype]+" "+strings.ToLower(r.msg.Question[0].Name)]; also || r.msg.Question[0].Name == "." {
						truth(r)
						return
					}
					tt.handle(r)
				})
				f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
				c := tt.c
				if !c.rd {
					c = stub
				}
				m, took := c.ask(t, f, tt.question)
				if got := show(m); got != tt.want {
					t.Errorf("%s: the client got\n     %s\nwant %s", tt.question, got, tt.want)
				}
				for question, want := range tt.then {
					if m := stub.cached(t, f, question); m != nil {
						t.Errorf("%s: answered %s from the cache, though no client asked", question, show(m))
					}
					if m, _ := stub.ask(t, f, question); show(m) != want {
						t.Errorf("%s: %s, want %s", question, show(m), want)
					}
				}
				return took
			})
		})
	}
}

// If someone guesses, the question is asked over TCP, where guessing does not help.
func TestGuessedAtGoesOverTCP(t *testing.T) {
	up := newFake(t, func(r *request) {
		if r.tcp || r.msg.Question[0].Name == "." {
			truth(r)
			return
		}
		m := r.reply(r.msg.Question[0].Name + " 60 IN A 203.0.113.66")
		for range 50 {
			m.Id++
			r.sendMsg(m)
		}
	})
	f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
	if m, _ := stub.ask(t, f, "A www.example.com."); show(m) != isTruth("www.example.com.") {
		t.Errorf("got %s", show(m))
	}
	tcp := 0
	for _, r := range up.received("www.example.com.") {
		if r.tcp {
			tcp++
		}
	}
	if tcp != 1 {
		t.Errorf("asked %d times over TCP, want once", tcp)
	}
}

// What the first responses show about an upstream is remembered.
func TestUpstreamsHabitsAreLearned(t *testing.T) {
	up := newFake(t, func(r *request) {
		m := r.truth()
		m.Question[0].Name = strings.ToLower(m.Question[0].Name)
		if r.msg.IsEdns0() != nil {
			m.Rcode, m.Answer, m.Extra = dns.RcodeFormatError, nil, nil
		}
		r.sendMsg(m)
	})
	f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
	for i := range 4 {
		name := fmt.Sprintf("n%d.example.com.", i)
		if m, _ := stub.ask(t, f, "A "+name); show(m) != isTruth(name) {
			t.Fatalf("%s: %s", name, show(m))
		}
	}
	if list := up.received("n3.example.com."); len(list) != 1 || list[0].msg.IsEdns0() != nil || list[0].msg.Question[0].Name != "n3.example.com." {
		t.Errorf("the fourth question was asked %d times, want once, without EDNS and in lower case", len(list))
	}
	if s := f.Status().Upstreams[0]; !s.WithoutEDNS || !s.ChangesCase || s.State != "healthy" {
		t.Errorf("status is %+v, want without EDNS, changing case and healthy", s)
	}
}

// Equal questions at the same time are one query to the upstream. If it fails, the
// next ones are not sent at all.
func TestEqualQuestions(t *testing.T) {
	up := newFake(t, func(r *request) {
		switch {
		case strings.EqualFold(r.msg.Question[0].Name, "broken.example.com."):
			m := r.reply()
			m.Rcode = dns.RcodeServerFailure
			r.sendMsg(m)
		case strings.EqualFold(r.msg.Question[0].Name, "slow.example.com."):
			time.AfterFunc(20*time.Millisecond, func() { truth(r) })
		default:
			truth(r)
		}
	})
	f := start(t, Config{Upstreams: []Upstream{up.upstream()}})

	t.Run("SERVFAIL is asked for once", func(t *testing.T) {
		for range 10 {
			if m, _ := stub.ask(t, f, "A broken.example.com."); show(m) != "SERVFAIL" {
				t.Errorf("got %s, want SERVFAIL", show(m))
			}
		}
		if n := len(up.received("broken.example.com.")); n != 1 {
			t.Errorf("upstream was asked %d times, want once", n)
		}
	})
	t.Run("fifty at once are asked once, and each has its own response", func(t *testing.T) {
		var came []<-chan *dns.Msg
		for i := range 50 {
			c := stub
			c.opt = i%2 == 0
			name := []byte("slow.example.com.")
			for j := range name { // each in another letter case
				if i>>(j%6)&1 != 0 && 'a' <= name[j] && name[j] <= 'z' {
					name[j] -= 'a' - 'A'
				}
			}
			came = append(came, c.send(t, f, "A "+string(name)))
		}
		for _, c := range came {
			if m := <-c; show(m) != isTruth("slow.example.com.") {
				t.Errorf("got %s", show(m))
			}
		}
		if n := len(up.received("slow.example.com.")); n != 1 {
			t.Errorf("upstream was asked %d times, want once", n)
		}
	})
}

// Ports and IDs must be hard to guess (RFC 5452, Section 9).
func TestQueriesCannotBeGuessed(t *testing.T) {
	up := newFake(t, truth)
	f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
	const n = 1000
	var wg sync.WaitGroup
	for part := range 10 {
		wg.Go(func() {
			for i := range n / 10 {
				stub.ask(t, f, fmt.Sprintf("A host-%d-%d.an-example-with-many-letters.example.", part, i))
			}
		})
	}
	wg.Wait()
	ports, steps, ids := map[uint16]bool{}, map[uint16]int{}, map[uint16]bool{}
	upper, letters := 0, 0
	var ones [16]int
	last := uint16(0)
	for _, r := range up.received("") {
		ports[r.from.Port()] = true
		ids[r.msg.Id] = true
		steps[r.msg.Id-last]++
		last = r.msg.Id
		for bit := range ones {
			ones[bit] += int(r.msg.Id >> bit & 1)
		}
		for _, c := range r.msg.Question[0].Name {
			if 'A' <= c && c <= 'Z' {
				upper++
			}
			if 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' {
				letters++
			}
		}
	}
	if len(ports) < 950 {
		t.Errorf("%d questions came from %d ports, want 950 at least", n, len(ports))
	}
	if len(ids) < 970 { // 992 on average
		t.Errorf("%d questions had %d IDs", n, len(ids))
	}
	for step, times := range steps {
		if times > 5 {
			t.Errorf("%d times an ID was the one before and %d", times, step)
		}
	}
	for bit, times := range ones {
		if times < 400 || times > 600 { // six standard deviations
			t.Errorf("bit %d of the ID was set %d times of %d", bit, times, n)
		}
	}
	if part := float64(upper) / float64(letters); part < 0.45 || part > 0.55 {
		t.Errorf("%.2f of all letters were upper case, want half", part)
	}
}

// An upstream gets nothing of a client's query but the question.
func TestQueryIsMadeAfresh(t *testing.T) {
	up := newFake(t, truth)
	f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
	c := stub
	c.do, c.udpSize = true, 4000
	c.ask(t, f, "A www.example.com.")
	r := up.received("")[0].msg
	o := r.IsEdns0()
	if o == nil || o.UDPSize() != 1232 || len(o.Option) != 0 || !o.Do() || !r.RecursionDesired || !r.AuthenticatedData || r.CheckingDisabled || len(r.Extra) != 1 {
		t.Errorf("upstream was sent\n%v", r)
	}
}
