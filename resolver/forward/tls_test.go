package forward

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/miekg/dns"
)

// A tlsFake is an upstream over TLS that answers truly, in reverse order if
// several questions wait.
type tlsFake struct {
	upstream Upstream
	roots    *x509.CertPool
	conns    atomic.Int32 // accepted ever
	perConn  int32        // queries after which a connection is closed; 0: none
}

func newTLSFake(t *testing.T, perConn int32) *tlsFake {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dns.example"}, DNSNames: []string{"dns.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"dot"}})
	if err != nil {
		t.Fatal(err)
	}
	f := &tlsFake{
		upstream: Upstream{Addr: ln.Addr().(*net.TCPAddr).AddrPort(), TLS: true, Name: "dns.example"},
		roots:    x509.NewCertPool(), perConn: perConn,
	}
	f.roots.AddCert(cert)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			f.conns.Add(1)
			wg.Go(func() { f.serve(t, conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return f
}

func (f *tlsFake) serve(t *testing.T, conn net.Conn) {
	defer conn.Close()
	var held []byte
	for n := int32(1); f.perConn == 0 || n <= f.perConn; n++ {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		msg := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, msg); err != nil {
			return
		}
		r := &request{msg: new(dns.Msg)}
		if err := r.msg.Unpack(msg); err != nil {
			t.Errorf("our query does not unpack: %v", err)
			return
		}
		b := pack(r.truth())
		frame := append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
		if strings.HasPrefix(strings.ToLower(r.msg.Question[0].Name), "first.") {
			held = frame // goes out after the next
			continue
		}
		conn.Write(append(frame, held...))
		held = nil
	}
}

func TestTLS(t *testing.T) {
	t.Run("queries share a connection, and responses come in any order", func(t *testing.T) {
		up := newTLSFake(t, 0)
		f := start(t, Config{Upstreams: []Upstream{up.upstream}, RootCAs: up.roots})
		stub.ask(t, f, "A warm.example.")
		first := stub.send(t, f, "A first.example.")
		for up := f.upstreams()[0]; up.pool.pending() == 0; {
			time.Sleep(time.Millisecond) // until it is on its way
		}
		m, _ := stub.ask(t, f, "A second.example.")
		if show(m) != isTruth("second.example.") {
			t.Error(show(m))
		}
		if m := <-first; show(m) != isTruth("first.example.") {
			t.Error(show(m))
		}
		if n := up.conns.Load(); n != 1 {
			t.Errorf("%d connections were made, want 1", n)
		}
		s := f.upstreams()[0].stats
		if tls, udp, tcp := s.Requests(metrics.OverTLS), s.Requests(metrics.OverUDP), s.Requests(metrics.OverTCP); tls != 3 || udp != 0 || tcp != 0 {
			t.Errorf("counted %d requests over TLS, %d over UDP, %d over TCP; want 3, 0, 0", tls, udp, tcp)
		}
	})
	t.Run("a connection that the upstream closes is made again", func(t *testing.T) {
		up := newTLSFake(t, 2)
		f := start(t, Config{Upstreams: []Upstream{up.upstream}, RootCAs: up.roots})
		for i := range 10 {
			name := fmt.Sprintf("n%d.example.", i)
			if m, took := stub.ask(t, f, "A "+name); show(m) != isTruth(name) {
				t.Errorf("query %d: %s after %v", i, show(m), took)
			}
		}
		if n := up.conns.Load(); n < 5 || n > 6 {
			t.Errorf("%d connections were made for 10 queries, two each; want 5 or 6", n)
		}
	})
	t.Run("a connection without free IDs gets a successor", func(t *testing.T) {
		up := newTLSFake(t, 0)
		f := start(t, Config{Upstreams: []Upstream{up.upstream}, RootCAs: up.roots})
		stub.ask(t, f, "A warm.example.")
		full := f.upstreams()[0].pool.open
		full.mu.Lock()
		for id := range 1 << 16 {
			full.waiting[uint16(id)] = waiter{make(chan []byte, 1), f.now()}
		}
		full.mu.Unlock()
		if m, _ := stub.ask(t, f, "A next.example."); show(m) != isTruth("next.example.") {
			t.Error(show(m))
		}
		if n := up.conns.Load(); n != 2 {
			t.Errorf("%d connections were made, want 2", n)
		}
		// Who was given the full one before it was full must hear of it.
		q := message.NewQuery(message.QuestionOf(wireQuery(t, stub, "A late.example.")), true, true)
		if _, err := full.ask(t.Context(), q, f.now()); !ours(err) {
			t.Errorf("on a full connection, asking ends with %v", err)
		}
	})
	for _, tt := range []struct {
		name string
		bad  func(u *Upstream, c *Config)
	}{
		{"a certificate for another name is refused", func(u *Upstream, c *Config) { u.Name = "other.example" }},
		{"a certificate for a name is refused when the address counts", func(u *Upstream, c *Config) { u.Name = "" }},
		{"a certificate of an unknown authority is refused", func(u *Upstream, c *Config) { c.RootCAs = x509.NewCertPool() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			up := newTLSFake(t, 0)
			c := Config{RootCAs: up.roots}
			tt.bad(&up.upstream, &c)
			c.Upstreams = []Upstream{up.upstream}
			f := start(t, c)
			if m, took := stub.ask(t, f, "A www.example."); show(m) != "SERVFAIL EDE 23" || took > 2500*time.Millisecond {
				t.Errorf("got %s after %v, want SERVFAIL EDE 23", show(m), took)
			}
		})
	}
}

// pending returns how many queries wait on the connection.
func (p *streams) pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		return 0
	}
	p.open.mu.Lock()
	defer p.open.mu.Unlock()
	return len(p.open.waiting)
}
