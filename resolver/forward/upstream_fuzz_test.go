package forward

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/miekg/dns"
)

// mutate spoils a response that matches its query.
func mutate(r *rand.Rand, msg []byte) []byte {
	for range 1 + r.IntN(4) {
		switch at := 12 + r.IntN(len(msg)-12); r.IntN(6) {
		case 0:
			msg[at] ^= 1 << r.IntN(8)
		case 1:
			msg[at] = byte(r.Uint32())
		case 2:
			msg = msg[:at+1]
		case 3:
			msg = append(msg, msg[at:]...)
		case 4:
			msg[4+r.IntN(8)] = byte(r.IntN(4)) // a count
		case 5:
			msg[at] = 0xC0 | msg[at]&3
		}
		if len(msg) < 14 {
			break
		}
	}
	return msg
}

// Whatever comes over the socket, the client gets an answer to its question or
// SERVFAIL, and the cache holds only what was asked for.
func TestSpoiledResponses(t *testing.T) {
	const seed = 20
	spoil := func(r *request) {
		name := r.msg.Question[0].Name
		if name == "." || r.tcp {
			truth(r)
			return
		}
		var n uint64
		fmt.Sscanf(strings.ToLower(name), "n%d.", &n)
		m := r.reply(name+" 60 IN CNAME a.example.net.", "a.example.net. 60 IN A 192.0.2.1", "victim.example. 60 IN A 203.0.113.66")
		m.Ns = records("example. 60 IN SOA a. b. 1 2 3 4 5", "internal. 60 IN NS evil.example.")
		r.send(mutate(rand.New(rand.NewPCG(seed, n)), pack(m)))
		r.sendMsg(r.reply(name + " 60 IN A 192.0.2.1"))
	}
	f := start(t, Config{Upstreams: []Upstream{newFake(t, spoil).upstream()}})
	asked := make(map[string]bool)
	var came []<-chan *dns.Msg
	var names []string
	for i := range 600 {
		name := fmt.Sprintf("n%d.example.", i)
		asked[name] = true
		names = append(names, name)
		came = append(came, stub.send(t, f, "A "+name))
	}
	believed := 0
	for i, c := range came {
		m := <-c
		switch m.Rcode {
		case dns.RcodeSuccess, dns.RcodeNameError:
		case dns.RcodeServerFailure:
			if len(m.Answer)+len(m.Ns) > 0 {
				t.Errorf("%s: %s", names[i], show(m))
			}
			continue
		default:
			t.Errorf("%s: %s", names[i], show(m))
		}
		at := names[i]
		for _, rr := range m.Answer {
			if !strings.EqualFold(rr.Header().Name, at) {
				t.Errorf("%s: %v is not on the chain", at, rr)
			}
			if c, ok := rr.(*dns.CNAME); ok {
				at = c.Target
			}
		}
		if show(m) == isTruth(names[i]) {
			believed++
		}
	}
	f.cache.Flush(func(q message.Question) bool {
		name, _, _ := dns.UnpackDomainName([]byte(q.Name), 0)
		if !asked[name] || q.Type != dns.TypeA {
			t.Errorf("the cache holds %s, type %d", name, q.Type)
		}
		return false
	})
	if believed < 200 {
		t.Errorf("%d of 600 clients got the true answer that followed, want most", believed)
	}
	t.Logf("%d of 600 spoiled responses were not believed", believed)
}
