// Package dig asks a DNS server one question, as a stub resolver does, and may
// ask from an address that is not this machine's.
package dig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/internaldns/internaldns/resolver/socket"
	"github.com/miekg/dns"
)

const (
	// tries and patience are how often Ask sends a query over UDP, and how long
	// it waits for each response, as other stub resolvers do: 15 s in all.
	tries    = 3
	patience = 5 * time.Second

	// udpSize is the largest response over UDP, in octets, that a query asks
	// for: it fits every path unfragmented.
	udpSize = 1232
)

// A Query is a question and the server to ask.
type Query struct {
	Server string     // HOST:PORT
	From   netip.Addr // the address to ask from; zero for any of this machine
	Type   uint16
	Name   string
}

// A Response is a response, and how it came.
type Response struct {
	*dns.Msg
	Took   time.Duration // from the last query to the response
	Octets int           // size of the message
}

// Ask sends the query over network, "udp" or "tcp", and waits for the response.
// Over UDP it asks up to three times. The error says what the user may do.
func (q *Query) Ask(ctx context.Context, network string) (*Response, error) {
	left := 1
	if network == "udp" {
		left = tries
	}
	for {
		resp, err := q.exchange(ctx, network)
		left--
		if isTimeout(err) && left > 0 {
			continue
		}
		if err != nil {
			return nil, q.explain(network, err)
		}
		return resp, nil
	}
}

// exchange sends one query and waits for the response to it. Other messages are
// ignored: any host that guesses the port can send them (RFC 5452, Section 9.1).
func (q *Query) exchange(ctx context.Context, network string) (*Response, error) {
	msg := new(dns.Msg)
	msg.SetQuestion(dns.Fqdn(q.Name), q.Type)
	msg.SetEdns0(udpSize, false)

	conn, err := q.dialer(network).DialContext(ctx, network, q.Server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	start := time.Now()
	if err := conn.SetDeadline(start.Add(patience)); err != nil {
		return nil, err
	}
	co := &dns.Conn{Conn: conn, UDPSize: udpSize}
	if err := co.WriteMsg(msg); err != nil {
		return nil, err
	}
	for {
		raw, err := co.ReadMsgHeader(nil)
		if errors.Is(err, dns.ErrShortRead) && network == "udp" {
			continue
		}
		if err != nil {
			return nil, err
		}
		resp := &Response{Msg: new(dns.Msg), Took: time.Since(start), Octets: len(raw)}
		if err := resp.Unpack(raw); err == nil && resp.Response && resp.Id == msg.Id &&
			slices.Equal(resp.Question, msg.Question) {
			return resp, nil
		}
	}
}

// dialer returns a dialer from the address that q asks from.
func (q *Query) dialer(network string) *net.Dialer {
	d := &net.Dialer{Timeout: patience}
	if !q.From.IsValid() {
		return d
	}
	d.Control = socket.Freebind
	if network == "udp" {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(q.From, 0))
	} else {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(q.From, 0))
	}
	return d
}

// explain adds to err what the user may do about it.
func (q *Query) explain(network string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "; nothing answers there: is internaldns serve running?"
	case isTimeout(err):
		waited := patience
		if network == "udp" {
			waited *= tries
		}
		hint = fmt.Sprintf("; no response within %v", waited)
		if q.From.IsValid() {
			hint += fmt.Sprintf(", perhaps because responses to %v do not find the way here", q.From)
		}
	}
	return fmt.Errorf("ask %s over %s: %w%s", q.Server, strings.ToUpper(network), err, hint)
}

// isTimeout reports whether err is that of a dialer or a connection whose time is
// over. A dialer has two of them, and only one is os.ErrDeadlineExceeded.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
