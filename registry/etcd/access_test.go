package etcd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
)

// certificate makes a self-signed certificate for 127.0.0.1, and returns
// the files with it and its key, and a pool with it.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := errors.Join(os.WriteFile(cert, certPEM, 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600)); err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return cert, key, pool
}

func load(t *testing.T, c Config) (*Keeper, error) {
	t.Helper()
	k, err := New(c, registry.NewStore(nil), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	return k, k.Load(ctx)
}

func TestTLSIsUsedAndItsErrorsAreReported(t *testing.T) {
	cert, key, pool := certificate(t)
	p := serve(t, "--cert-file", cert, "--key-file", key).Proxy()
	endpoint := strings.Replace(p.Endpoint(), "http:", "https:", 1)
	if _, err := load(t, Config{Endpoints: []string{endpoint}, TLS: &tls.Config{RootCAs: pool}}); err != nil {
		t.Errorf("with the right certificate: %v", err)
	}
	begun := time.Now()
	if _, err := load(t, Config{Endpoints: []string{endpoint}}); err == nil || !strings.Contains(err.Error(), "TLS with etcd fails") || !strings.Contains(err.Error(), "x509") {
		t.Errorf("a certificate of an unknown authority: %v", err)
	}
	if time.Since(begun) > soon/2 {
		t.Errorf("that took %v", time.Since(begun))
	}
}

func TestAUserNeedsNoMoreThanThePrefix(t *testing.T) {
	s := serve(t)
	for _, args := range []string{
		"user add root:secret", "user add reader:secret", "user add writer:secret", "role add reader", "role add writer",
		"role grant-permission --prefix reader read /internaldns/", "role grant-permission --prefix writer readwrite /internaldns/",
		"user grant-role reader reader", "user grant-role writer writer", "user grant-role root root", "auth enable",
	} {
		s.Etcdctl(strings.Fields(args)...)
	}
	p := s.Proxy()
	for _, tt := range []struct{ user, password, want string }{
		{"", "", "wants a user name"},
		{"writer", "wrong", "does not accept"},
		{"reader", "secret", "does not let this user"},
	} {
		_, err := load(t, Config{Endpoints: []string{p.Endpoint()}, Username: tt.user, Password: tt.password})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("user %q, password %q: %v", tt.user, tt.password, err)
		}
	}
	k, err := load(t, Config{Endpoints: []string{p.Endpoint()}, Username: "writer", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	events := []registry.Event{newApp("web")}
	for i := range 200 {
		events = append(events, newMachine("web", fmt.Sprintf("m%d", i), i, "started"))
	}
	minute := time.Minute
	for _, w := range []registry.Write{
		{Events: events},
		{Events: []registry.Event{newMachine("web", "m1", 1, "stopped")}, Lease: &minute},
		{Events: []registry.Event{newMachine("web", "m1", 1, "stopped")}, Lease: &minute},
		{Events: []registry.Event{registry.Delete(registry.Key{Kind: registry.KindApp, Network: acme, Name: "web"})}},
	} {
		if _, err := k.Write(ctx, func(*registry.Snapshot) (registry.Write, error) { return w, nil }); err != nil {
			t.Errorf("a write of %d events: %v", len(w.Events), err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Two registries in one etcd have nothing to do with each other.
func TestPrefixesKeepRegistriesApart(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	a.do(t, newApp("web"), newMachine("web", "m1", 1, "started"))
	other, err := load(t, Config{Endpoints: []string{s.Proxy().Endpoint()}, Prefix: "/internaldns2"})
	if err != nil {
		t.Fatal(err)
	}
	if n := other.store.Snapshot().Stats().Total(); n != 0 {
		t.Errorf("the other registry has %d machines", n)
	}
	index := a.store.Snapshot().Index
	for i := range 20 {
		s.Etcdctl("put", "/internaldns2/1/apps/fdaa:0:18/"+fmt.Sprint("a", i), "{}")
	}
	if again := a.do(t, newApp("web")); again != index {
		t.Errorf("what is done to another registry counts here: index %d after %d", again, index)
	}
	if a.Status().Quarantined != 0 {
		t.Error("keys of the other registry are quarantined")
	}
}

func TestARegistryWithoutItsEpochIsNotReplacedByAnEmptyOne(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	a.do(t, newApp("web"))
	a.stop()
	s.Etcdctl("del", "/internaldns/epoch")
	if _, err := load(t, Config{Endpoints: []string{s.Proxy().Endpoint()}}); err == nil || !strings.Contains(err.Error(), "/internaldns/epoch only one is there") {
		t.Errorf("got %v", err)
	}
	s.Etcdctl("put", "/internaldns/epoch", "1")
	if k, err := load(t, Config{Endpoints: []string{s.Proxy().Endpoint()}}); err != nil || k.store.Snapshot().App(acme, "web") == nil {
		t.Errorf("mended: %v", err)
	}
}
