package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/internaldns/internaldns/registry"
)

// A slowKV is an etcd with keys of one size, which does not answer in time if more than
// most octets are asked for.
type slowKV struct {
	clientv3.KV
	keys, size, most int
	pages, late      int
}

func (s *slowKV) Get(_ context.Context, from string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	op := clientv3.OpGet(from, options...)
	limit := int(op.Limit())
	if limit*s.size > s.most {
		s.late++
		return nil, context.DeadlineExceeded
	}
	s.pages++
	resp := new(clientv3.GetResponse)
	for i := range s.keys {
		key := fmt.Sprintf("/k/%06d", i)
		if key < from {
			continue
		}
		if len(resp.Kvs) == limit {
			resp.More = true
			break
		}
		resp.Kvs = append(resp.Kvs, &mvccpb.KeyValue{Key: []byte(key), Value: make([]byte, s.size-len(key))})
	}
	return resp, nil
}

// A listing ends however large the objects are, and many small ones need few pages.
func TestAListingHasPagesThatComeInTime(t *testing.T) {
	for _, tt := range []struct {
		keys, size, most, pages int
	}{
		{30_000, 100, 10 << 20, 4},    // 1,000, 4,000, 16,000, …
		{100, 1 << 20, 30 << 20, 31},  // too much at first
		{20, 8 << 20, 9 << 20, 20},    // one at a time
		{3_000, 4 << 10, 50 << 20, 4}, // as many as make a page
	} {
		s := &slowKV{keys: tt.keys, size: tt.size, most: tt.most}
		var got []string
		err := pages(t.Context(), s, "/k/", 1, func(kv *mvccpb.KeyValue) error {
			got = append(got, string(kv.Key))
			return nil
		})
		if err != nil || len(got) != tt.keys || !slices.IsSorted(got) || got[0] != "/k/000000" {
			t.Errorf("%+v: %d keys, %v", tt, len(got), err)
		}
		if s.pages > tt.pages+1 || s.late > 4 {
			t.Errorf("%+v: %d pages, and %d that were too long", tt, s.pages, s.late)
		}
	}
	stuck := &slowKV{keys: 1, size: 100, most: 1}
	if err := pages(t.Context(), stuck, "/k/", 1, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("of an etcd that does not answer: %v", err)
	}
}

// Large objects are written in several transactions, whatever their number.
func TestAnImportOfLargeObjectsIsWhole(t *testing.T) {
	s := serve(t)
	a, b := start(t, s), start(t, s)
	events := []registry.Event{newApp("web")}
	for i := range 40 {
		m := newMachine("web", fmt.Sprintf("m%d", i), i, "started").Fact.(*registry.Machine)
		m.Raw = registry.NewRaw(fmt.Appendf(nil, `{"note":%q,%s`, strings.Repeat("x", 100_000), object(m.ID, i, "started")[1:]))
		events = append(events, registry.Put(m))
	}
	index := a.do(t, events...)
	b.until(t, "the import is there", func(s *registry.Snapshot) bool { return s.Index >= index })
	converged(t, a, b)
}
