package etcd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/etcd/etcdtest"
)

// format1 puts a registry of format 1: two machines with claims, one with a lease, and
// one put by hand, which wants the address of the first and is older.
func format1(s *etcdtest.Server) {
	const root = "/internaldns/1/"
	put := func(key, value string) { s.Etcdctl("put", key, value) }
	put("/internaldns/registry", "NAME")
	put("/internaldns/epoch", "1")
	put(root+"apps/fdaa:0:18/web", "{}")
	put(root+"machines/fdaa:0:18/web/m1", object("m1", 1, "started"))
	put(root+"machines/fdaa:0:18/web/m2", object("m2", 2, "started"))
	put(root+"machines/fdaa:0:18/web/hand", object("hand", 1, "started"))
	for claim, owner := range map[string]string{
		"ids/m1": "m1", "ids/m2": "m2", "addresses/" + address(1).String(): "m1", "addresses/" + address(2).String(): "m2",
		"addresses/" + address(3).String(): "missing",
	} {
		put(root+claim, "machines/fdaa:0:18/web/"+owner)
	}
	put(root+"machines/fdaa:0:18/web/m1", object("m1", 1, "stopped"))
	lease := strings.Fields(s.Etcdctl("lease", "grant", "60"))[1]
	s.Etcdctl("put", "--lease="+lease, root+"machines/fdaa:0:18/web/leased", object("leased", 4, "started"))
	s.Etcdctl("put", "--lease="+lease, root+"ids/leased", "machines/fdaa:0:18/web/leased")
	s.Etcdctl("put", "--lease="+lease, root+"addresses/"+address(4).String(), "machines/fdaa:0:18/web/leased")
	put("/internaldns/written", "")
	put("/internaldns/7/apps/fdaa:0:18/half", "{}") // of an import that crashed
}

// oldWrite makes a write as versions do that know format 1 only, and reports whether it
// succeeded.
func oldWrite(t *testing.T, client *clientv3.Client) bool {
	t.Helper()
	epoch, err := client.Get(t.Context(), "/internaldns/epoch")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Txn(t.Context()).
		If(clientv3.Compare(clientv3.ModRevision("/internaldns/epoch"), "=", epoch.Kvs[0].ModRevision),
			clientv3.Compare(clientv3.CreateRevision("/internaldns/import"), "=", 0),
			clientv3.Compare(clientv3.ModRevision("/internaldns/1/apps/fdaa:0:18/old"), "=", 0)).
		Then(clientv3.OpPut("/internaldns/1/apps/fdaa:0:18/old", "{}"), clientv3.OpPut("/internaldns/written", "")).Commit()
	if err != nil {
		t.Fatal(err)
	}
	return resp.Succeeded
}

func TestARegistryOfFormat1IsUpgradedAndNothingIsLost(t *testing.T) {
	s := serve(t)
	format1(s)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Proxy().Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if !oldWrite(t, client) {
		t.Fatal("an old server cannot write to a registry of format 1")
	}
	s.Etcdctl("del", "/internaldns/1/apps/fdaa:0:18/old")

	nodes := make(chan *node, 2)
	for range 2 { // two servers that start at once
		go func() { nodes <- start(t, s) }()
	}
	a, b := <-nodes, <-nodes
	for _, n := range []*node{a, b, start(t, s)} {
		snap := n.store.Snapshot()
		if m := snap.Machine("m1"); m == nil || m.State != "stopped" || snap.Machine("m2") == nil || snap.Machine("hand") != nil {
			t.Errorf("after the upgrade: m1 is %v, m2 %v, hand %v", m, snap.Machine("m2"), snap.Machine("hand"))
		}
		if q := n.Status().Quarantine; len(q) != 1 || !strings.HasSuffix(q[0].Key, "/hand") {
			t.Errorf("quarantined: %v", q)
		}
	}
	// With their claims, old servers can renew leases.
	for prefix, want := range map[string]string{"1/ids/": "/internaldns/1/ids/leased", "1/addresses/": "/internaldns/1/addresses/" + address(4).String(), "1/names/": "", "7/": ""} {
		if got := strings.TrimSpace(s.Etcdctl("get", "--prefix", "--keys-only", "/internaldns/"+prefix)); got != want {
			t.Errorf("below %s there is %q, want %q", prefix, got, want)
		}
	}
	if oldWrite(t, client) {
		t.Error("an old server can still write")
	}
	a.do(t, newMachine("web", "m3", 3, "started"))
	a.do(t, registry.Delete(registry.Key{Kind: registry.KindMachine, Network: acme, Name: "web", ID: "leased"}), newMachine("web", "m4", 4, "started"))
	b.do(t, registry.Delete(registry.Key{Kind: registry.KindMachine, Network: acme, Name: "web", ID: "m1"}))
	if b.store.Snapshot().Machine("hand") == nil {
		t.Error("what was excluded by a machine is not in effect when that is deleted")
	}
	converged(t, a, b)
}

// A server that crashes while it upgrades leaves the rest to the next.
func TestAnUpgradeThatWasInterruptedIsCompleted(t *testing.T) {
	s := serve(t)
	format1(s)
	s.Etcdctl("put", "/internaldns/import", "upgrading to 2")
	a := start(t, s)
	if m := a.store.Snapshot().Machine("m1"); m == nil || a.store.Snapshot().Machine("hand") != nil {
		t.Errorf("after the upgrade: m1 is %v, hand %v", m, a.store.Snapshot().Machine("hand"))
	}
	if got := s.Etcdctl("get", "--print-value-only", "/internaldns/import"); got != "2\n" {
		t.Errorf("the format is %q", got)
	}
}

// An import of an old server ends before the upgrade, or with its lease.
func TestAnUpgradeWaitsForTheImportOfAnOldServer(t *testing.T) {
	s := serve(t)
	format1(s)
	lease := strings.Fields(s.Etcdctl("lease", "grant", "2"))[1]
	s.Etcdctl("put", "--lease="+lease, "/internaldns/import", "2026-11-29T08:00:00Z")
	n := start(t, s)
	if n.Status().Failures == 0 {
		t.Error("it did not wait")
	}
	if got := s.Etcdctl("get", "--print-value-only", "/internaldns/import"); got != "2\n" {
		t.Errorf("the format is %q", got)
	}
	n.do(t, newMachine("web", "m3", 3, "started"))
}

func TestAnUnknownFormatIsRefused(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	a.do(t, newApp("web"))
	s.Etcdctl("put", "/internaldns/import", "3")
	a.until(t, "the last state is kept", func(*registry.Snapshot) bool { return strings.Contains(a.Status().Held, "format") })
	if _, err := a.try(newApp("db")); !errors.Is(err, registry.ErrUnavailable) || a.store.Snapshot().App(acme, "web") == nil {
		t.Errorf("a write: %v", err)
	}
	k, err := New(Config{Endpoints: []string{s.Proxy().Endpoint()}}, registry.NewStore(nil), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := k.Load(ctx); err == nil || !strings.Contains(err.Error(), `"3" in /internaldns/import`) {
		t.Errorf("a server that starts: %v", err)
	}
	s.Etcdctl("put", "/internaldns/import", "2")
	a.back(t, "the format is as before", time.Now())
	a.do(t, newApp("db"))
}
