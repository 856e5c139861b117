package etcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// errBroken reports that etcd has no registry that this version can read, and that a
// person has to repair it.
var errBroken = errors.New("the registry is damaged")

// prepare makes an empty registry if there is none, and upgrades one of format 1. It
// returns the control keys afterwards.
func (k *Keeper) prepare(ctx context.Context) (*control, error) {
	absent := func(key string) clientv3.Cmp { return clientv3.Compare(clientv3.CreateRevision(k.key(key)), "=", 0) }
	put := func(key, value string) clientv3.Op { return clientv3.OpPut(k.key(key), value) }
	for range 2 {
		c, err := k.control(ctx)
		call, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		txn := k.client.Txn(call)
		switch {
		case err != nil:
			return nil, err
		case c.name == "" && c.epoch == "": // there is none
			txn.If(absent(keyRegistry), absent(keyEpoch)).
				Then(put(keyRegistry, rand.Text()), put(keyEpoch, "1"), put(keyFormat, currentFormat), put(keyHead, ""))
		case c.name == "" || c.epoch == "":
			return nil, fmt.Errorf("%w: of %s and %s only one is there", errBroken, k.key(keyRegistry), k.key(keyEpoch))
		case c.format == "": // servers of format 1 take this for an import that does not end
			txn.If(absent(keyFormat), clientv3.Compare(clientv3.Value(k.key(keyRegistry)), "=", c.name)).
				Then(put(keyFormat, currentFormat), put(keyHead, ""))
		case c.format == currentFormat:
			return k.dropClaims(ctx, c)
		case c.formatLeased:
			return nil, errors.New("a server of an older version imports a registry; this one waits until that has ended")
		default:
			return nil, fmt.Errorf("%w: its format, %.20q in %s, is unknown to this version", errBroken, c.format, k.key(keyFormat))
		}
		if _, err := txn.Commit(); err != nil { // another node may be quicker
			return nil, err
		}
	}
	return nil, errors.New("the registry is being changed by other servers")
}

// claimKinds are the beginnings of the keys of format 1 that said whose an id, an address
// or a name is, and how objects say that they want it.
var claimKinds = map[string]string{"ids/": wantID, "addresses/": wantAddress, "names/": wantName}

// dropClaims deletes the claims of format 1. An object that had one comes before others
// that want the same (see mirror.before): those that are older are put again.
func (k *Keeper) dropClaims(ctx context.Context, c *control) (*control, error) {
	root := k.key(c.epoch) + "/"
	owners := make(map[string]string) // key of the owner, by what it wants
	for kind, want := range claimKinds {
		err := pages(ctx, k.client, root+kind, c.revision, func(kv *mvccpb.KeyValue) error {
			owners[want+string(kv.Key[len(root+kind):])] = string(kv.Value)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(owners) == 0 {
		return c, nil
	}
	m, err := k.list(ctx, c)
	if err != nil {
		return nil, err
	}
	for want, key := range owners {
		owner := m.entries[key]
		if owner == nil || !slices.Contains(m.wanted[want], owner) {
			continue
		}
		for _, e := range m.wanted[want] {
			if e == owner || !older(e, owner) {
				continue
			}
			call, cancel := context.WithTimeout(ctx, callTime)
			_, err := k.client.Txn(call).If(clientv3.Compare(clientv3.ModRevision(root+e.key), "=", e.mod)).
				Then(putUnchanged(root + e.key)).Commit()
			cancel()
			if err != nil {
				return nil, err
			}
		}
	}
	for kind := range claimKinds {
		if err := k.wipe(ctx, root+kind); err != nil {
			return nil, err
		}
	}
	k.log.Info("registry in etcd upgraded", zap.String("format", currentFormat), zap.Int("claims", len(owners)))
	return k.control(ctx)
}
