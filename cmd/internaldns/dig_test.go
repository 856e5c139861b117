package main

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// Any host that guesses a port can send messages; dig accepts only a response to its
// own question (RFC 5452, Section 9.1).
func TestDigPassesOverWhatDoesNotAnswerItsQuestion(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		n, client, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		query := new(dns.Msg)
		if err := query.Unpack(buf[:n]); err != nil {
			t.Errorf("dig sent what is no message: %v", err)
			return
		}
		reply := func(change func(*dns.Msg), address string) {
			resp := new(dns.Msg).SetReply(query)
			rr, err := dns.NewRR(query.Question[0].Name + " 5 IN AAAA " + address)
			if err != nil {
				t.Error(err)
			}
			resp.Answer = append(resp.Answer, rr)
			change(resp)
			out, err := resp.Pack()
			if err != nil {
				t.Error(err)
			}
			conn.WriteTo(out, client)
		}
		reply(func(m *dns.Msg) { m.Id++ }, "fdaa:0:18::bad")
		reply(func(m *dns.Msg) { m.Question[0].Name = "other.internal." }, "fdaa:0:18::bad")
		reply(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA }, "fdaa:0:18::bad")
		reply(func(m *dns.Msg) { m.Response = false }, "fdaa:0:18::bad")
		conn.WriteTo([]byte("no message"), client)
		reply(func(*dns.Msg) {}, "fdaa:0:18::2")
	}()

	var out, errs bytes.Buffer
	p := &program{stdout: &out, stderr: &errs}
	if status := p.run(t.Context(), []string{"dig", "@" + conn.LocalAddr().String(), "--short", "web.internal"}); status != 0 {
		t.Errorf("exit status %d: %s", status, errs.String())
	}
	if got, want := strings.TrimSpace(out.String()), "fdaa:0:18::2"; got != want {
		t.Errorf("dig printed %q, want %q", got, want)
	}
	<-done
}
