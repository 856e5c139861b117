package api

import (
	"context"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/internaldns/internaldns/registry/api/watch"
)

// start sends a request from another goroutine. The function that it returns waits
// for the response.
func (w *world) start(ctx context.Context, target string) func() *httptest.ResponseRecorder {
	done := make(chan *httptest.ResponseRecorder)
	r := httptest.NewRequestWithContext(ctx, "GET", "http://127.0.0.1"+target, nil)
	r.RemoteAddr = "127.0.0.1:50000"
	go func() {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		done <- rec
	}()
	return func() *httptest.ResponseRecorder { return <-done }
}

func TestAWaitEndsWithTheCommitThatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
		w.do("PUT", "/v1/apps/web/machines/m1", m1)
		for _, tt := range []struct{ query, method, path string }{
			{"?state=stopped&instance_id=01HEPA330HZ37A78TK080NAK1M&timeout=60", "POST", "/stop"},
			{"", "POST", "/start"},
			{"?state=failed&state=suspended&version=1", "POST", "/suspend"},
			{"?state=started,destroyed", "DELETE", ""},
		} {
			begin := time.Now()
			answer := w.start(t.Context(), "/v1/apps/web/machines/m1/wait"+tt.query)
			time.Sleep(7 * time.Second)
			synctest.Wait()
			w.do("PUT", "/v1/peers/laptop", `{"address":"fdaa:0:18:1::9"}`) // another commit
			w.do(tt.method, "/v1/apps/web/machines/m1"+tt.path, "")
			got := answer()
			if problem := differs(got, []string{"200", `{"ok":true}`}); problem != "" {
				t.Errorf("wait%s: %s", tt.query, problem)
			}
			if took := time.Since(begin); took != 7*time.Second {
				t.Errorf("wait%s took %v, want 7s", tt.query, took)
			}
			w.do("DELETE", "/v1/peers/laptop", "")
		}
	})
}

func TestAWaitForTheCurrentStateEndsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	w.do("PUT", "/v1/apps/web/machines/m1", m1)
	if got := w.do("GET", "/v1/apps/web/machines/m1/wait", ""); got.Code != 200 {
		t.Error(shown(got))
	}
	w.do("DELETE", "/v1/apps/web/machines/m1", "")
	if got := w.do("GET", "/v1/apps/web/machines/m1/wait?state=destroyed", ""); got.Code != 200 {
		t.Error(shown(got))
	}
}

func TestAWaitEndsAfterItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
		w.do("PUT", "/v1/apps/web/machines/m1", m1)
		for query, want := range map[string]time.Duration{"?state=stopped": time.Minute, "?state=stopped&timeout=5": 5 * time.Second} {
			begin := time.Now()
			got := w.do("GET", "/v1/apps/web/machines/m1/wait"+query, "")
			if problem := differs(got, []string{"408", `{"error":"machine failed to reach desired state, stopped, currently started"}`}); problem != "" {
				t.Errorf("%s\n%s", problem, shown(got))
			}
			if took := time.Since(begin); took != want {
				t.Errorf("%s: took %v, want %v", query, took, want)
			}
		}
	})
}

func TestAWaitEndsWithItsAppOrTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
		w.do("PUT", "/v1/apps/web/machines/m1", m1)
		destroyed := w.start(t.Context(), "/v1/apps/web/machines/m1/wait?state=destroyed")
		stopped := w.start(t.Context(), "/v1/apps/web/machines/m1/wait?state=stopped")
		synctest.Wait()
		if got := scrape(t, w.Metrics()); got["api_requests_waiting"] != 2 || got["api_requests_in_flight"] != 2 {
			t.Errorf("scraped %v", got)
		}
		w.do("DELETE", "/v1/apps/web", "")
		if got := destroyed(); got.Code != 200 {
			t.Error(shown(got))
		}
		synctest.Wait()
		w.endWaits()
		if got := stopped(); got.Code != 503 {
			t.Error(shown(got))
		}
		if got := scrape(t, w.Metrics()); got["api_requests_waiting"] != 0 || got["api_requests_in_flight"] != 0 {
			t.Errorf("scraped %v", got)
		}
	})
}

func TestTheNumberOfWaitsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
		w.do("PUT", "/v1/apps/web/machines/m1", m1)
		ctx, leave := context.WithCancel(t.Context())
		var answers []func() *httptest.ResponseRecorder
		for range maxWaiting {
			answers = append(answers, w.start(ctx, "/v1/apps/web/machines/m1/wait?state=stopped"))
		}
		synctest.Wait()
		for _, target := range []string{"/v1/apps/web/machines/m1/wait?state=stopped", "/v1/watch"} {
			if got := w.start(ctx, target)(); got.Code != 503 {
				t.Error(shown(got))
			}
		}
		leave()
		for _, answer := range answers {
			answer()
		}
		if got := w.do("GET", "/v1/apps/web/machines/m1/wait", ""); got.Code != 200 {
			t.Errorf("after they have ended: %s", shown(got))
		}
	})
}

// A quiet stream sends heartbeats, and the index up to which it has sent all changes.
func TestAQuietStreamSendsHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx, leave := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, "GET", "http://127.0.0.1/v1/watch", nil)
		r.Header.Set("Authorization", "Bearer "+secretAcme)
		rec := httptest.NewRecorder()
		done := make(chan bool)
		go func() {
			w.ServeHTTP(rec, r)
			close(done)
		}()
		time.Sleep(watch.Heartbeat + time.Second)
		w.do("POST", "/v1/apps", `{"name":"vault","network":"fdaa:0:33::/48"}`) // which the client may not see
		time.Sleep(2 * watch.Heartbeat)
		synctest.Wait()
		leave()
		<-done
		if got, want := rec.Body.String(), ":\n\n:\nid: 1\n\n:\n\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A stream ends in time, even if there are commits all the time.
func TestAStreamEndsDuringCommits(t *testing.T) {
	w := newWorld(t)
	w.commit(0)
	r := httptest.NewRequest("GET", "http://127.0.0.1:4280/v1/watch?index=0", nil)
	r.RemoteAddr = "127.0.0.1:1"
	writes := 0
	w.ServeHTTP(&pieces{ResponseWriter: httptest.NewRecorder(), each: func() {
		if writes++; writes == 10 {
			w.endWaits()
		} else if writes > 1000 {
			panic("it goes on for ever")
		}
		w.commit(writes) // before the stream looks for more
	}}, r)
}

func TestAStreamEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := httptest.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1/v1/watch", nil)
		r.Header.Set("Authorization", "Bearer "+secretAcme)
		done := make(chan bool)
		go func() {
			w.ServeHTTP(httptest.NewRecorder(), r)
			close(done)
		}()
		time.Sleep(3 * watch.Heartbeat)
		select {
		case <-done:
			t.Fatal("the stream ended by itself")
		default:
		}
		w.Tokens.list.Store(new([]token))
		time.Sleep(watch.Heartbeat)
		<-done
	})
}
