package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/miekg/dns"
)

// Map holds the records of one zone by owner, in lower case, and answers from
// them. A name that exists only because of names below it has no records.
type Map struct {
	names map[string][]dns.RR
	soa   dns.RR
}

// ReadMap reads a zone from a master file.
func ReadMap(master io.Reader) (*Map, error) {
	z := &Map{names: make(map[string][]dns.RR)}
	parser := dns.NewZoneParser(master, "", "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		owner := strings.ToLower(rr.Header().Name)
		if rr.Header().Rrtype == dns.TypeSOA {
			z.soa = rr
		}
		z.names[owner] = append(z.names[owner], rr)
		for i, end := dns.NextLabel(owner, 0); !end; i, end = dns.NextLabel(owner, i) {
			if _, ok := z.names[owner[i:]]; ok {
				break // names above it have been added with it
			}
			z.names[owner[i:]] = nil
		}
	}
	if err := parser.Err(); err != nil {
		return nil, fmt.Errorf("read master file: %w", err)
	}
	if z.soa == nil {
		return nil, errors.New("read master file: no SOA record")
	}
	return z, nil
}

// ServeDNS answers one query.
func (z *Map) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg).SetReply(r)
	if opt := r.IsEdns0(); opt != nil {
		m.SetEdns0(1232, opt.Do())
	}
	qname := strings.ToLower(r.Question[0].Name)
	records, exists := z.names[qname]
	for _, rr := range records {
		if rr.Header().Rrtype == r.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	switch {
	case !dns.IsSubDomain(z.soa.Header().Name, qname):
		m.Rcode = dns.RcodeRefused
	case !exists:
		m.Rcode = dns.RcodeNameError
		fallthrough
	case len(m.Answer) == 0:
		m.Ns = []dns.RR{z.soa}
		fallthrough
	default:
		m.Authoritative = true
	}
	if w.LocalAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if opt := r.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
		m.Truncate(size)
	}
	w.WriteMsg(m)
}

// Serve answers over UDP and TCP at the address until ctx is done, or one of the
// two fails.
func (z *Map) Serve(ctx context.Context, addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	// UDP uses the port that TCP was given, if the address has port 0.
	packets, err := net.ListenPacket("udp", listener.Addr().String())
	if err != nil {
		listener.Close()
		return err
	}
	return z.serve(ctx, packets, listener)
}

func (z *Map) serve(ctx context.Context, packets net.PacketConn, listener net.Listener) error {
	failed := make(chan error, 2)
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: z}, {Listener: listener, Handler: z, MaxTCPQueries: -1}} {
		go func() { failed <- s.ActivateAndServe() }()
	}
	stop := context.AfterFunc(ctx, func() {
		packets.Close()
		listener.Close()
	})
	defer stop()
	err := <-failed
	packets.Close()
	listener.Close()
	<-failed
	if ctx.Err() != nil {
		return nil
	}
	return err
}
