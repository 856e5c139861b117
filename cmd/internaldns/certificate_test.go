package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/internaldns/internaldns/internal/filewatch"
)

// scriptCertificate makes a self-signed certificate for 127.0.0.1, and
// its key, in two files.
func scriptCertificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: certificate CERT KEY")
	}
	cert, key, err := newCertificate(time.Now().Add(time.Hour))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), cert, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), key, 0o600))
}

// newCertificate makes a self-signed certificate for 127.0.0.1, and
// its key, as PEM.
func newCertificate(expires time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: expires.AddDate(-1, 0, 0), NotAfter: expires,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// A renewed certificate is presented without SIGHUP: once both files are written, and only if
// they belong together.
func TestACertificateIsFollowedAsItsFilesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		first, second := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
		renew := func(expires time.Time) (cert, key string) {
			t.Helper()
			certPEM, keyPEM, err := newCertificate(expires)
			if err != nil {
				t.Fatal(err)
			}
			return string(certPEM), string(keyPEM)
		}
		cert1, key1 := renew(first)
		cert2, key2 := renew(second)
		write(t, certFile, cert1)
		write(t, keyFile, key1)
		core, logs := observer.New(zap.InfoLevel)
		c, err := readCertificate("api_cert", certFile, keyFile, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		var running sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		running.Go(func() { c.files.Run(ctx) })
		for _, step := range []struct {
			what      string
			cert, key string
			looks     int
			want      time.Time
			failures  uint64
			fault     string
		}{
			{"nothing changed", cert1, key1, 3, first, 0, ""},
			{"the key is not written yet", cert2, key1, 1, first, 0, ""},
			{"both are written", cert2, key2, 2, second, 0, ""},
			{"the key is another's", cert2, key1, 2, second, 1, "tls: private key does not match public key"},
			{"it still is, and was counted", cert2, key1, 5, second, 1, "tls: private key does not match public key"},
			{"the key is right again", cert2, key2, 2, second, 1, ""},
			{"the certificate is gone", "", key2, 2, second, 2, "no such file or directory"},
			{"an older one is put back", cert1, key1, 2, first, 2, ""},
			{"it is no certificate", "hello", key1, 2, first, 3, "failed to find any PEM data in certificate input"},
		} {
			if step.cert == "" {
				if err := os.Remove(certFile); err != nil {
					t.Fatal(err)
				}
			} else {
				write(t, certFile, step.cert)
			}
			write(t, keyFile, step.key)
			time.Sleep(time.Duration(step.looks) * filewatch.Interval)
			synctest.Wait()
			st := c.status()
			if !st.Expires.Equal(step.want) || st.Failures != step.failures || !strings.Contains(st.LastError, step.fault) || (step.fault == "") != (st.LastError == "") {
				t.Errorf("%s: got %+v, want one that expires %v, %d failures and the error %q", step.what, st, step.want, step.failures, step.fault)
			}
		}
		if n := logs.FilterLevelExact(zap.ErrorLevel).Len(); n != 3 {
			t.Errorf("%d refusals are logged, want 3: each fault once", n)
		}
		stop()
		running.Wait()
	})
}

// The certificate for etcd is followed, too.
func TestTheCertificateForEtcdIsTheRenewedOne(t *testing.T) {
	dir := t.TempDir()
	c := defaults()
	c.Etcd = []string{"https://192.0.2.1:2379"}
	c.EtcdCert, c.EtcdKey = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	renew := func(expires time.Time) {
		t.Helper()
		cert, key, err := newCertificate(expires)
		if err != nil {
			t.Fatal(err)
		}
		write(t, c.EtcdCert, string(cert))
		write(t, c.EtcdKey, string(key))
	}
	renew(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	s := newServer(c, zap.NewNop())
	etcd, err := s.etcd()
	if err != nil || len(s.certificates) != 1 {
		t.Fatalf("%d certificates are followed, want 1; %v", len(s.certificates), err)
	}
	expires := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	renew(expires)
	if err := s.certificates[0].files.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	shown, err := etcd.TLS.GetClientCertificate(nil)
	if err != nil || !shown.Leaf.NotAfter.Equal(expires) {
		t.Errorf("etcd is shown a certificate that expires %v, %v; want the renewed one", shown.Leaf.NotAfter, err)
	}
}
