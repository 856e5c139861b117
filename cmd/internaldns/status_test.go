package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/internaldns/internaldns/registry/etcd"
	"github.com/internaldns/internaldns/resolver/forward"
)

// The output of internaldns status.
func TestAStatusIsToldInWords(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		status status
		want   string
	}{
		{"a sample that forwards nothing", status{
			Version: "v1.2.3", Ready: true, Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:5300")},
			Registry: registryStatus{Index: 1, Networks: 2, Apps: 6, Machines: 11, Started: 8, Peers: 1},
			Source:   sourceStatus{LoadedAt: now.Add(-90 * time.Second), CheckedAt: now, Loads: 1},
		}, `
server    answers queries, version v1.2.3
listens   127.0.0.1:5300
registry  2 networks, 6 apps, 11 machines (8 started), 1 peer
facts     from the built-in sample, applied 1m30s ago
forwards  nothing
`},
		{"a bad file and upstreams in trouble", status{
			Version: "v1.2.3", Why: "the server is stopping",
			Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:53"), netip.MustParseAddrPort("127.0.0.1:5300")},
			Source: sourceStatus{File: "org.json", LoadedAt: now.Add(-75 * time.Hour), LastError: "app \"a\": no\napp \"b\": no"},
			Forward: &forward.Status{
				Upstreams: []forward.UpstreamStatus{
					{Suffix: ".", Upstream: "9.9.9.9:53", State: "dead", Requests: 7, Timeouts: 4, Errors: 3},
					{Suffix: "corp.example.", Upstream: "10.0.0.53:53", State: "healthy", Requests: 1, MedianMS: 1.25},
				},
				Cache: forward.CacheStatus{Entries: 1, Octets: 250, MaxOctets: 1000, Hits: 2, Misses: 1},
			},
		}, `
server    does not answer queries: the server is stopping, version v1.2.3
listens   [::]:53 127.0.0.1:5300
registry  0 networks, 0 apps, 0 machines (0 started), 0 peers
facts     from org.json, applied 3 days ago
          fault: app "a": no
          fault: app "b": no
forwards  everything else to 9.9.9.9:53: dead, 7 requests, 7 without response
forwards  corp.example. to 10.0.0.53:53: healthy, 1 request, median 1.25 ms
cache     1 answer in 250 of 1000 octets; 2 hits, 1 miss
`},
		{"an etcd that never answered", status{
			Version: "v1.2.3", Why: errNotLoaded.Error(),
			Source: sourceStatus{Kind: "etcd", Etcd: &etcd.Status{Endpoints: []string{"http://10.0.0.1:2379"}}, LastError: "no answer"},
		}, `
server    does not answer queries: the facts are not loaded yet, version v1.2.3
listens   
registry  0 networks, 0 apps, 0 machines (0 started), 0 peers
facts     from etcd at http://10.0.0.1:2379
stored    0 writes through this server, revision 0; etcd cannot be reached
          fault: no answer
forwards  nothing
`},
		{"an etcd that is away", status{
			Version: "v1.2.3", Ready: true,
			Source: sourceStatus{Kind: "etcd", LoadedAt: now.Add(-time.Hour), Etcd: &etcd.Status{
				Endpoints: []string{"http://10.0.0.1:2379", "http://10.0.0.2:2379"}, Writes: 1, Revision: 9, ConfirmedAt: now.Add(-5 * time.Second),
			}},
		}, `
server    answers queries, version v1.2.3
listens   
registry  0 networks, 0 apps, 0 machines (0 started), 0 peers
facts     from etcd at http://10.0.0.1:2379 http://10.0.0.2:2379, loaded 1h ago
stored    1 write through this server, revision 9; etcd cannot be reached, and the facts are 5s old
forwards  nothing
`},
		{"a resolv.conf without nameservers", status{Ready: true, Forward: &forward.Status{}}, `
server    answers queries, version 
listens   
registry  0 networks, 0 apps, 0 machines (0 started), 0 peers
facts     from the built-in sample
forwards  nothing: no upstream is known
cache     0 answers in 0 of 0 octets; 0 hits, 0 misses
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got bytes.Buffer
			if err := tt.status.write(&got, now); err != nil {
				t.Fatal(err)
			}
			if got.String() != tt.want[1:] {
				t.Errorf("got\n%swant\n%s", got.String(), tt.want[1:])
			}
		})
	}
}

// While a server is not ready, /status is served and says why.
func TestTheStatusSaysWhatReadySays(t *testing.T) {
	s, _, _ := newFake(t)
	s.addrs = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:5300")}
	why := errors.New("it is too early")
	for _, state := range []*error{&why, nil} {
		s.state.Store(state)
		pages := adminPages{ready: s.notReady, status: s.status}
		w := httptest.NewRecorder()
		pages.handler().ServeHTTP(w, httptest.NewRequest("GET", "/status", nil))
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Header().Get("Content-Type") != "application/json" {
			t.Fatalf("%v: %s", err, w.Body)
		}
		if got["ready"] != (state == nil) || (state != nil) != strings.Contains(w.Body.String(), why.Error()) {
			t.Errorf("ready for %v: %s", state, w.Body)
		}
		if forward, there := got["forward"]; forward != nil || !there {
			t.Errorf("with forwarding off, forward is %v, want null", forward)
		}
	}
}
