package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A pipeListener accepts connections that dial makes in memory, so that their
// deadlines follow a fake clock.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error {
	close(l.done)
	return nil
}

func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// A localConn is a connection that looks like one over a Unix socket.
type localConn struct{ net.Conn }

func (localConn) LocalAddr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// dial connects to the server and sends the text sent.
func (l pipeListener) dial(t *testing.T, sent string) (net.Conn, *bufio.Reader) {
	t.Helper()
	client, server := net.Pipe()
	l.conns <- localConn{server}
	if _, err := io.WriteString(client, sent); err != nil {
		t.Fatal(err)
	}
	return client, bufio.NewReader(client)
}

// inBubble runs test with a server and a fake clock.
func inBubble(t *testing.T, test func(t *testing.T, w *world, l pipeListener)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l := pipeListener{make(chan net.Conn), make(chan struct{})}
		server := w.server()
		done := make(chan error)
		go func() { done <- server.Serve(l) }()
		defer func() {
			server.Close()
			<-done
			time.Sleep(time.Second) // a connection that is closed lingers
		}()
		w.send("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
		test(t, w, l)
	})
}

const watchRequest = "GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n"

// commit makes a commit.
func (w *world) commit(i int) {
	w.send("PUT", "/v1/peers/laptop", fmt.Sprintf(`{"address":"fdaa:0:18:1::%x"}`, i+16))
}

// The limits of other requests do not end a stream.
func TestAStreamLivesForHours(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, l pipeListener) {
		conn, r := l.dial(t, watchRequest)
		defer conn.Close()
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", resp, err)
		}
		events := make(chan string)
		go func() {
			lines := bufio.NewScanner(resp.Body)
			for lines.Scan() {
				if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
					events <- id
				}
			}
			close(events)
		}()
		for i := range 6 {
			time.Sleep(29 * time.Minute)
			w.commit(i)
			if id := <-events; id != fmt.Sprint(i+2) {
				t.Fatalf("event %q, want %d", id, i+2)
			}
		}
	})
}

// A client that watches and does not read is disconnected, and delays no write.
func TestASlowWatcherIsDisconnected(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, l pipeListener) {
		conn, r := l.dial(t, watchRequest)
		defer conn.Close()
		if _, err := http.ReadResponse(r, nil); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for i := range 500 {
			w.commit(i)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("the writers waited for %v", took)
		}
		synctest.Wait()
		if got := scrape(t, w.Metrics())["api_requests_waiting"]; got != 1 {
			t.Errorf("%v watch", got)
		}
		time.Sleep(writeStep + time.Second)
		synctest.Wait()
		if got := scrape(t, w.Metrics())["api_requests_waiting"]; got != 0 {
			t.Errorf("after %v, %v watch", writeStep, got)
		}
	})
}

// The number of exports at one time is bounded. Those with tokens for some networks
// do not delay the operator's.
func TestTheNumberOfExportsIsBounded(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	export := func(secret string) *http.Request {
		r := httptest.NewRequest("GET", "http://127.0.0.1:4280/v1/export", nil)
		r.Header.Set("Authorization", "Bearer "+secret)
		return r
	}
	status := func(secret string) int {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, export(secret))
		return rec.Code
	}
	reads, read := make(chan bool), make(chan bool)
	var slow sync.WaitGroup
	for range maxExports {
		slow.Go(func() {
			w.ServeHTTP(&pieces{ResponseWriter: httptest.NewRecorder(), each: func() { reads <- true; <-read }}, export(secretAcme))
		})
		<-reads
	}
	if got := status(secretOther); got != http.StatusServiceUnavailable {
		t.Errorf("one too many is answered with %d", got)
	}
	if got := status(secretAll); got != http.StatusOK {
		t.Errorf("the operator is answered with %d", got)
	}
	close(read)
	go func() {
		for range reads {
		}
	}()
	slow.Wait()
	close(reads)
	if got := status(secretOther); got != http.StatusOK {
		t.Errorf("later, %d", got)
	}
}

// An unknown client cannot keep its connection.
func TestAnUnknownClientIsDisconnected(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, l pipeListener) {
		conn, r := l.dial(t, "GET /v1/apps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nobody\r\n\r\n")
		defer conn.Close()
		begin := time.Now()
		if answer, err := io.ReadAll(r); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 401") || time.Since(begin) > 5*time.Second {
			t.Errorf("%v, after %v\n%s", err, time.Since(begin), answer)
		}
	})
}

// A client that reads a long response at a steady pace gets all of it. One that takes
// longer than responseTime is disconnected, so that the snapshot can be freed.
func TestALongResponseMayTakeMinutes(t *testing.T) {
	for _, tt := range []struct {
		pause time.Duration
		whole bool
	}{{time.Second, true}, {20 * time.Second, false}} {
		inBubble(t, func(t *testing.T, w *world, l pipeListener) {
			big := fmt.Sprintf(`{"id":"m1","state":"started","region":"ams","private_ip":"fdaa:0:18::1:1","note":%q}`, strings.Repeat("x", maxBody-200))
			w.send("PUT", "/v1/apps/web/machines/m1", big)
			conn, r := l.dial(t, "GET /v1/apps/web/machines/m1 HTTP/1.1\r\nHost: x\r\n\r\n")
			defer conn.Close()
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			begin, got := time.Now(), 0
			for buf := make([]byte, 8<<10); err == nil; time.Sleep(tt.pause) {
				var n int
				n, err = io.ReadFull(resp.Body, buf)
				got += n
			}
			if whole := got == len(big); whole != tt.whole {
				t.Errorf("a client that pauses for %v gets %d of %d octets", tt.pause, got, len(big))
			}
			if took := time.Since(begin); took > responseTime+2*writeStep {
				t.Errorf("a client that pauses for %v is served for %v", tt.pause, took)
			}
		})
	}
}

// A request that does not end in time is given up.
func TestASlowRequestIsDisconnected(t *testing.T) {
	for name, tt := range map[string]struct {
		sent string
		most time.Duration
	}{
		"in its header": {"GET /v1/apps HTTP/1.1\r\nHost: x\r\n", headerTime},
		"in its body":   {"POST /v1/apps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{", readStep},
		"before it":     {"", headerTime},
		"after one":     {"GET /v1/apps HTTP/1.1\r\nHost: x\r\n\r\n", idleTime},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world, l pipeListener) {
				conn, r := l.dial(t, tt.sent)
				defer conn.Close()
				begin := time.Now()
				io.Copy(io.Discard, r)
				if took := time.Since(begin); took < tt.most-time.Second || took > tt.most+time.Second {
					t.Errorf("disconnected after %v, want %v", took, tt.most)
				}
				if w.store.Snapshot().Index != 1 {
					t.Error("the change was made")
				}
			})
		})
	}
}

// An import may take minutes, if each part of it comes in time.
func TestASlowImportMayTakeMinutes(t *testing.T) {
	for _, tt := range []struct {
		pause time.Duration
		want  string
	}{{10 * time.Second, "200 OK"}, {readStep + time.Second, ""}, {29 * time.Second, ""}} {
		inBubble(t, func(t *testing.T, w *world, l pipeListener) {
			file := `{"apps":[{"name":"db","network":"fdaa:0:18::/48"}]}` + strings.Repeat(" ", 70<<10)
			conn, r := l.dial(t, fmt.Sprintf("POST /v1/import HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(file)))
			var sending sync.WaitGroup
			defer sending.Wait()
			defer conn.Close()
			sending.Go(func() {
				step := len(file) / 15
				for i := 0; i < len(file); i += step {
					time.Sleep(tt.pause)
					if _, err := io.WriteString(conn, file[i:min(i+step, len(file))]); err != nil {
						return
					}
				}
			})
			resp, err := http.ReadResponse(r, nil)
			switch {
			case err != nil:
				t.Errorf("pauses of %v: %v", tt.pause, err)
			case tt.want == "" && (resp.StatusCode != 400 || w.store.Snapshot().App(0x18, "db") != nil):
				t.Errorf("pauses of %v: %s", tt.pause, resp.Status)
			case tt.want != "" && (resp.Status != tt.want || w.store.Snapshot().App(0x18, "db") == nil):
				t.Errorf("pauses of %v: %s", tt.pause, resp.Status)
			}
		})
	}
}

// A slow import with a token for some networks delays only other imports with such
// tokens.
func TestASlowImportOfSomeNetworksDelaysNoImportOfAll(t *testing.T) {
	w := newWorld(t)
	r, drip := io.Pipe()
	slow := httptest.NewRequest("POST", "http://127.0.0.1:4280/v1/import", r)
	slow.Header.Set("Authorization", "Bearer "+secretAcme)
	slow.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	var importing sync.WaitGroup
	importing.Go(func() { w.ServeHTTP(rec, slow) })
	defer importing.Wait()
	defer drip.Close()
	if _, err := io.WriteString(drip, `{"apps"`); err != nil { // it is being read
		t.Fatal(err)
	}
	const file = `{"apps":[{"name":"web","network":"fdaa:0:33::/48"}]}`
	for _, tt := range []struct {
		who, secret string
		want        int
	}{
		{"another with a few networks", secretOther, http.StatusServiceUnavailable},
		{"a token for all networks", secretAll, http.StatusOK},
	} {
		if _, rec := w.send("POST", "/v1/import", file, "Authorization: Bearer "+tt.secret); rec.Code != tt.want {
			t.Errorf("%s gets %d %s, want %d", tt.who, rec.Code, rec.Body, tt.want)
		}
	}
}

func TestAHeaderOverTheLimitIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, l pipeListener) {
		client, server := net.Pipe()
		defer client.Close()
		l.conns <- localConn{server}
		go io.WriteString(client, "GET /v1/apps HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 2*maxHeader)+"\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%v, %v", resp, err)
		}
	})
}
