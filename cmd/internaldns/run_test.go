package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// newFake returns a server of the sample at free ports, and its source.
func newFake(t testing.TB) (*server, *source, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	c := defaults()
	c.Listen = []string{"127.0.0.1:0"}
	c.Admin = "127.0.0.1:0"
	c.Upstream = []string{off}
	c.placeSample()
	s := newServer(c, zap.New(core))
	if err := s.setSource(); err != nil {
		t.Fatal(err)
	}
	s.source.reload = func() {}
	return s, s.source, logs
}

// Facts may take long to load. Until then the sockets are bound, and every query gets SERVFAIL:
// clients would believe NXDOMAIN.
func TestWhileFactsAreLoadedTheServerIsNotReady(t *testing.T) {
	s, source, logs := newFake(t)
	sampleLoad := source.load
	loading, loaded := make(chan struct{}), make(chan struct{})
	source.load = func(ctx context.Context) error {
		close(loading)
		<-loaded
		return sampleLoad(ctx)
	}
	serving := make(chan struct{})
	source.run = func(ctx context.Context) error {
		close(serving)
		<-ctx.Done()
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, nil) }()
	<-loading
	bound := logs.FilterMessage("listening").All()[0].ContextMap()
	admin, server := fmt.Sprint("http://", bound["admin"]), fmt.Sprint(bound["dns"].([]any)[0])

	if got := httpGet(t, admin+"/readyz"); got != "503 the facts are not loaded yet" {
		t.Errorf("before facts are loaded, /readyz says %q", got)
	}
	if got := httpGet(t, admin+"/healthz"); got != "200 ok" {
		t.Errorf("before facts are loaded, /healthz says %q", got)
	}
	resp := ask(t, server, "web.internal.")
	if resp.Rcode != dns.RcodeServerFailure {
		t.Errorf("before facts are loaded, web.internal is answered %s, want SERVFAIL", dns.RcodeToString[resp.Rcode])
	}
	if ede := extendedError(resp); ede != dns.ExtendedErrorCodeNotReady {
		t.Errorf("before facts are loaded, the extended error is %d, want %d", ede, dns.ExtendedErrorCodeNotReady)
	}

	close(loaded)
	<-serving
	for httpGet(t, admin+"/readyz") != "200 ok" {
		// The source runs just before that.
	}
	if resp := ask(t, server, "web.internal."); resp.Rcode != dns.RcodeSuccess || len(resp.Answer) != 3 {
		t.Errorf("once facts are loaded, web.internal is answered %s with %d records, want 3", dns.RcodeToString[resp.Rcode], len(resp.Answer))
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("an orderly stop returned %v", err)
	}
}

func TestStoppingWhileFactsAreLoadedIsOrderly(t *testing.T) {
	s, source, _ := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	source.load = func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	if err := s.run(ctx, nil); err != nil {
		t.Errorf("run returned %v", err)
	}
}

func TestTheServerStopsWhenItsSourceFails(t *testing.T) {
	s, source, _ := newFake(t)
	failure := errors.New("the disk is on fire")
	source.run = func(context.Context) error { return failure }
	if err := s.run(t.Context(), nil); !errors.Is(err, failure) || !strings.HasPrefix(err.Error(), "source: ") {
		t.Errorf("run returned %v, want that the source failed", err)
	}
}

func TestEachHangupReloadsTheSource(t *testing.T) {
	s, source, _ := newFake(t)
	reloads := make(chan struct{})
	source.reload = func() { reloads <- struct{}{} }
	ctx, cancel := context.WithCancel(t.Context())
	hangups := make(chan os.Signal)
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, hangups) }()
	for range 3 {
		hangups <- os.Interrupt // any signal will do
		<-reloads
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The admin listener serves until the resolver has stopped.
func TestTasksStopOneByOneTheLastStartedFirst(t *testing.T) {
	running := newTasks(t.Context())
	var order []string
	for _, name := range []string{"admin", "resolver", "source"} {
		running.start(name, func(ctx context.Context) error {
			<-ctx.Done()
			order = append(order, name) // never two at a time, or the race detector reports it
			return nil
		})
	}
	running.stop()
	if got, want := strings.Join(order, " "), "source resolver admin"; got != want {
		t.Errorf("stopped %s, want %s", got, want)
	}
	if err := running.reason(nil); err != nil {
		t.Errorf("an orderly stop has the reason %v", err)
	}
}

func httpGet(t testing.TB, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(resp.Status[:4] + string(body))
}

func ask(t testing.TB, server, name string) *dns.Msg {
	t.Helper()
	msg := new(dns.Msg).SetQuestion(name, dns.TypeAAAA)
	msg.SetEdns0(1232, false)
	resp, _, err := new(dns.Client).Exchange(msg, server)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// extendedError returns the code of the extended error in msg; 0 if there is none.
func extendedError(msg *dns.Msg) uint16 {
	if opt := msg.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if ede, ok := o.(*dns.EDNS0_EDE); ok {
				return ede.InfoCode
			}
		}
	}
	return 0
}
