package etcd

import (
	"context"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/etcd/etcdtest"
)

// withUsers makes the users root and writer, both with the password secret. writer may
// write under the prefix.
func withUsers(s *etcdtest.Server) {
	for _, args := range []string{
		"user add root:secret", "user add writer:secret", "role add writer",
		"role grant-permission --prefix writer readwrite /internaldns/",
		"user grant-role writer writer", "user grant-role root root", "auth enable",
	} {
		s.Etcdctl(strings.Fields(args)...)
	}
}

// A node that is away for longer than etcd remembers its token gets another token, and
// writes again. Debian's etcd 3.4 does not give one to a client that sends the old one.
func TestATokenThatExpiredIsReplaced(t *testing.T) {
	s := serve(t, "--auth-token-ttl", "3")
	withUsers(s)
	n := &node{store: registry.NewStore(nil), proxy: s.Proxy()}
	var err error
	if n.Keeper, err = New(Config{Endpoints: []string{n.proxy.Endpoint()}, Username: "writer", Password: "secret"}, n.store, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	if err := n.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- n.Run(ctx) }()
	n.do(t, newApp("web"))
	n.proxy.Cut()
	n.until(t, "the node is away for longer than a token lives", func(*registry.Snapshot) bool { return n.Status().Age > 5 })
	n.proxy.Pass()
	n.until(t, "the node is back", func(*registry.Snapshot) bool { return n.Status().Connected })
	n.do(t, newMachine("web", "m1", 1, "started"))
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
