package main

import (
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"
)

// An upstream is a server of the records that a script has written.
type upstream struct {
	records []dns.RR

	mu    sync.Mutex
	asked []string // guarded by mu; "TYPE name." of each query, in lower case
}

// upstreams are the running upstreams, by script and name.
var upstreams sync.Map

type upstreamKey struct {
	script *testscript.TestScript
	name   string
}

// scriptUpstream starts an upstream, at a free port of loopback or at the given address.
func scriptUpstream(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: upstream NAME FILE [HOST:PORT]")
	}
	addr := "127.0.0.1:0"
	if len(args) == 3 {
		addr = args[2]
	}
	u := new(upstream)
	for zone := dns.NewZoneParser(strings.NewReader(ts.ReadFile(args[1])), ".", args[1]); ; {
		rr, ok := zone.Next()
		if !ok {
			ts.Check(zone.Err())
			break
		}
		u.records = append(u.records, rr)
	}
	var tcp net.Listener
	var udp net.PacketConn
	for try := 0; udp == nil; try++ { // until the port that TCP got is free for UDP
		var err error
		tcp, err = net.Listen("tcp", addr)
		ts.Check(err)
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err != nil {
			tcp.Close()
			if try == 20 {
				ts.Check(err)
			}
		}
	}
	for _, server := range []*dns.Server{{Listener: tcp, Handler: u}, {PacketConn: udp, Handler: u}} {
		started, ended := make(chan struct{}), make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(ended)
			server.ActivateAndServe()
		}()
		<-started
		ts.Defer(func() {
			server.Shutdown()
			<-ended
		})
	}
	upstreams.Store(upstreamKey{ts, args[0]}, u)
	ts.Setenv(args[0], tcp.Addr().String())
}

// ServeDNS answers from the records of u, and sets RA.
func (u *upstream) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	m.Rcode = dns.RcodeNameError
	name, qtype := strings.ToLower(q.Question[0].Name), q.Question[0].Qtype
	u.mu.Lock()
	u.asked = append(u.asked, dns.TypeToString[qtype]+" "+name)
	u.mu.Unlock()
	for i := 0; i < len(u.records); i++ {
		switch h := u.records[i].Header(); {
		case h.Rrtype == dns.TypeSOA && dns.IsSubDomain(h.Name, name) && len(m.Answer) == 0 && len(m.Ns) == 0:
			m.Ns = append(m.Ns, u.records[i])
		case h.Name != name:
		case h.Rrtype == dns.TypeCNAME && qtype != h.Rrtype:
			m.Answer = append(m.Answer, u.records[i])
			name, i = u.records[i].(*dns.CNAME).Target, -1 // from the start, with the target
		default:
			m.Rcode = dns.RcodeSuccess
			if h.Rrtype == qtype {
				m.Answer = append(m.Answer, u.records[i])
			}
		}
	}
	if len(m.Answer) > 0 {
		m.Ns = nil
	}
	if w.LocalAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
			m.SetEdns0(1232, false)
		}
		m.Truncate(size)
	}
	for i := range m.Question {
		m.Question[i] = q.Question[i] // in the letter case it came in
	}
	w.WriteMsg(m)
}

// scriptHeard fails unless an upstream was asked a question that matches; if negated, unless it
// was not.
func scriptHeard(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] heard NAME PATTERN")
	}
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	v, ok := upstreams.Load(upstreamKey{ts, args[0]})
	if !ok {
		ts.Fatalf("there is no upstream %s", args[0])
	}
	u := v.(*upstream)
	u.mu.Lock()
	defer u.mu.Unlock()
	if slices.ContainsFunc(u.asked, re.MatchString) == neg {
		ts.Fatalf("%s was asked\n%s", args[0], strings.Join(u.asked, "\n"))
	}
}
