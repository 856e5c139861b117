package api

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry/api/objects"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/internaldns/internaldns/registry"
)

func TestAKeepersErrorIsInTheResponse(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{registry.ErrReadOnly, "409\n" + `{"error":"the facts come from a file, and are changed there: change that file, or start the server with --data DIR to keep the facts here"}`},
		{fmt.Errorf("write x: %w", registry.ErrFull), "507\n" + `{"error":"write x: the store of the facts is full"}`},
		{fmt.Errorf("sync x: %w", registry.ErrUnavailable), "503\n" + `{"error":"sync x: the store of the facts is not available"}`},
		{errors.New("a bug"), "500\n" + `{"error":"a bug"}`},
	} {
		w := newWorld(t)
		w.keeper.fail = tt.err
		got := w.do("POST", "/v1/apps", `{"name":"web"}`)
		if problem := differs(got, strings.Split(tt.want, "\n")); problem != "" {
			t.Errorf("%v: %s\n%s", tt.err, problem, shown(got))
		}
	}
}

// A body over the limit is refused, with or without a Content-Length.
func TestABodyOverTheLimitIsRefused(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	w.MaxImport = 1000
	for _, tt := range []struct {
		method, path string
		size         int
	}{{"PUT", "/v1/apps/web/machines/m1", maxBody}, {"POST", "/v1/apps", maxBody}, {"POST", "/v1/import", 1000}} {
		method, path, size := tt.method, tt.path, tt.size
		target := method + " " + path
		body := `{"apps":[` + strings.Repeat(" ", size-11) + `]}`
		if got := w.do(method, path, body); got.Code == 413 {
			t.Errorf("%s with %d octets: %s", target, len(body), shown(got))
		}
		got := w.do(method, path, body+"\n")
		if problem := differs(got, []string{"413", fmt.Sprintf(`{"error":"the body is larger than %d octets, the most that is read here"}`, size)}); problem != "" {
			t.Errorf("%s with %d octets: %s", target, len(body)+1, problem)
		}
	}
}

// The last 100 destroyed machines of an app are stored. The write that adds one more
// deletes the oldest.
func TestTheLastDestroyedMachinesAreStored(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	for i := range objects.MaxGone + 20 {
		path := fmt.Sprintf("/v1/apps/web/machines/m%03d", i)
		w.send("PUT", path, fmt.Sprintf(`{"id":"m%03d","state":"started","region":"ams","private_ip":"fdaa:0:18::%x:1"}`, i, i+1))
		if _, got := w.send("DELETE", path, ""); got.Code != 200 {
			t.Fatal(shown(got))
		}
		if names := w.addresses(t, "web.internal."); len(names) != 0 {
			t.Fatalf("after %d: %v", i, names)
		}
	}
	s := w.store.Snapshot()
	n := 0
	for m := range s.GoneMachines(s.App(0x18, "web")) {
		n++
		if m.ID < "m020" {
			t.Errorf("%s is still stored", m.ID)
		}
	}
	if n != objects.MaxGone {
		t.Errorf("%d are stored, want %d", n, objects.MaxGone)
	}
	if got := w.do("GET", "/v1/apps/web/machines/m019", ""); got.Code != 404 {
		t.Error(shown(got))
	}
	// A machine that is registered again under its id is the only one of that id.
	w.do("PUT", "/v1/apps/web/machines/m119", `{"id":"m119","state":"started","region":"ams","private_ip":"fdaa:0:18::1:1"}`)
	if got := w.do("GET", "/v1/apps/web/machines?include_deleted=1", ""); strings.Count(got.Body.String(), `"m119"`) != 1 {
		t.Error(shown(got))
	}
}

// Each change is logged with its token, and errors of the server as errors.
func TestEveryChangeIsLoggedWithItsToken(t *testing.T) {
	w := newWorld(t)
	core, logged := observer.New(zap.DebugLevel)
	w.Log = zap.New(core)
	w.do("POST", "/v1/apps", `{"name":"web"}`, "Authorization: Bearer "+secretAcme)
	w.do("GET", "/v1/apps", "")
	w.do("DELETE", "/v1/apps/db", "")
	w.do("DELETE", "/v1/apps/web", "", "Authorization: Bearer nobody")
	w.keeper.fail = errors.New("a bug")
	w.do("DELETE", "/v1/apps/web", "")
	w.keeper.fail = registry.ErrUnavailable
	w.do("DELETE", "/v1/apps/web", "")
	var got []string
	for _, e := range logged.All() {
		m := e.ContextMap()
		got = append(got, fmt.Sprint(e.Level, " ", m["token"], " ", m["method"], " ", m["path"], " ", m["status"], " ", m["index"], " ", m["error"]))
	}
	want := []string{
		"debug acme POST /v1/apps 201 1 <nil>", "debug  DELETE /v1/apps/db 404 1 <nil>", "debug  DELETE /v1/apps/web 401  <nil>",
		"error <nil> <nil> <nil> <nil> <nil> a bug", "debug  DELETE /v1/apps/web 500 1 <nil>", "debug  DELETE /v1/apps/web 503 1 <nil>",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRequestsAreCountedByRouteAndCode(t *testing.T) {
	w := newWorld(t)
	w.do("GET", "/v1/apps", "")
	w.do("GET", "/v1/apps", "")
	w.do("GET", "/v1/apps", "", "Authorization: Bearer nobody")
	w.do("HEAD", "/v1/apps", "")
	w.do("GET", "/v1/apps/web", "")
	w.do("GET", "/elsewhere/%ff", "")
	w.do("BREW", "/v1/apps", "")
	want := map[string]float64{
		`api_requests_total GET /v1/apps 200`:             3,
		`api_requests_total GET /v1/apps 401`:             1,
		`api_requests_total GET /v1/apps/{app} 404`:       1,
		`api_requests_total none 404`:                     1,
		`api_requests_total none 405`:                     1,
		`api_request_duration_seconds GET /v1/apps`:       4,
		`api_request_duration_seconds GET /v1/apps/{app}`: 1,
		`api_request_duration_seconds none`:               2,
		`api_requests_in_flight`:                          0,
		`api_requests_waiting`:                            0,
	}
	if got := scrape(t, w.Metrics()); !maps.Equal(got, want) {
		t.Errorf("scraped\n%v\nwant\n%v", got, want)
	}
}

// scrape returns counters, gauges, and the number of observations of histograms by
// name and labels' values, without the prefix of all names.
func scrape(t testing.TB, c prometheus.Collector) map[string]float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "internaldns_")
			for _, label := range []string{"route", "code"} {
				for _, l := range m.GetLabel() {
					if l.GetName() == label {
						name += " " + l.GetValue()
					}
				}
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return got
}

// A machine that is created without a region is in the region of the client that
// creates it.
func TestAMachineWithoutARegionIsInItsCreatorsRegion(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	w.do("PUT", "/v1/apps/web/machines/m1", `{"id":"m1","state":"started","region":"nrt","private_ip":"fdaa:0:18::1:1"}`)
	w.do("PUT", "/v1/peers/laptop", `{"address":"fdaa:0:18::9","region":"gru"}`)
	for from, want := range map[string]string{"[fdaa:0:18::1:1]:5": "nrt", "[fdaa:0:18::9]:5": "gru", "[fdaa:0:18::8]:5": "ams", "192.0.2.1:5": "ams"} {
		r, _ := w.send("POST", "/v1/apps/web/machines", `{}`)
		r.RemoteAddr = from
		if got := (&call{api: w.API, r: r, snap: w.store.Snapshot(), who: &grant{all: true}}).region(); got != want {
			t.Errorf("created from %s, it is in %s, want %s", from, got, want)
		}
		if got := (&call{api: w.API, r: r, snap: w.store.Snapshot(), who: &grant{}}).region(); got != "ams" {
			t.Errorf("a client that may not see the network gets region %s", got)
		}
	}
}

// A node whose store lacks the last commits of other nodes makes writes that depend
// on them, if the request gives the network.
func TestAWriteDependsOnTheKeepersRegistry(t *testing.T) {
	late := newWorld(t)
	w := newWorldOf(t, func(w *world) registry.Keeper { return late.keeper })
	late.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	for _, r := range []struct{ method, path, body string }{
		{"PUT", "/v1/apps/web/machines/m1", m1}, {"POST", "/v1/apps/web/machines", `{}`}, {"POST", "/v1/apps/web/machines/m1", `{"config":{}}`},
		{"POST", "/v1/apps/web/machines/m1/stop", ""}, {"POST", "/v1/apps/web/machines/m1/metadata/role", `{"value":"x"}`},
		{"POST", "/v1/apps/web/flycast", ""}, {"PUT", "/v1/apps/web/flycast/fdaa:0:18:0:9::3", ""}, {"DELETE", "/v1/apps/web/flycast/fdaa:0:18:0:9::3", ""},
		{"DELETE", "/v1/apps/web/machines/m1", ""}, {"DELETE", "/v1/apps/web", ""},
	} {
		if got := w.do(r.method, strings.Replace(r.path, "web", "none", 1)+"?network=fdaa:0:18::/48", r.body); got.Code != 404 || !strings.Contains(got.Body.String(), "none") {
			t.Errorf("%s %s of an app that does not exist: %s", r.method, r.path, shown(got))
		}
		if got := w.do(r.method, r.path, r.body, "Authorization: Bearer "+secretAcme); got.Code >= 300 {
			t.Errorf("%s %s: %s", r.method, r.path, shown(got))
		}
	}
	if got := w.do("GET", "/v1/apps/web", "", "Authorization: Bearer "+secretAcme); got.Code != 404 {
		t.Errorf("an app that the node does not have yet is shown: %s", shown(got))
	}
}
