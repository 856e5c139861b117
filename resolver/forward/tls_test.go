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
	"github.com/miekg/dns"
)

// A tlsFake is an upstream over TLS that answers truth. It holds the response to a
// name that begins with "first." back until the next one.
type tlsFake struct {
	upstream Upstream
	roots    *x509.CertPool
	conns    atomic.Int32  // accepted ever
	perConn  int32         // queries after which a connection is closed; 0: none
	held     chan struct{} // has an element for each response held back
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
		roots:    x509.NewCertPool(), perConn: perConn, held: make(chan struct{}, 10),
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
			t.Errorf("the query does not unpack: %v", err)
			return
		}
		b := pack(r.truth())
		frame := append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
		if strings.HasPrefix(strings.ToLower(r.msg.Question[0].Name), "first.") {
			held = frame // goes out after the next
			f.held <- struct{}{}
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
		<-up.held // the first question has arrived
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
		s := f.upstreams()[0].Stats
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
