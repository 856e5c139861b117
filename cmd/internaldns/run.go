package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/internaldns/internaldns/internal/filewatch"
	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api"
	"github.com/internaldns/internaldns/registry/api/watch"
	"github.com/internaldns/internaldns/resolver/forward"
	"github.com/internaldns/internaldns/zone"
)

// A server is a running serve: it connects the packages.
type server struct {
	config config
	log    *zap.Logger
	banner io.Writer // where a first run prints what to try; nil for none
	retype string    // the command line, if it has no flags; else ""

	dns       metrics.DNS
	scrape    *prometheus.Registry // of the admin listener; it has all collectors once bind has returned
	store     *registry.Store
	publisher *zone.Publisher
	source    *source
	keeper    registry.Keeper    // makes the changes that the API asks for
	feed      watch.Feed         // sends changes to clients that watch the API
	api       *api.API           // nil if it is not served
	addrs     []netip.AddrPort   // where queries are answered, once sockets are bound
	apiAddr   string             // where the API is served, once it is bound; "" for nowhere
	forwarder *forward.Forwarder // nil if nothing is forwarded

	certificates []*certificate        // presented to clients of the API, and to etcd
	followed     []*filewatch.Follower // the files of certificates and of the API's tokens

	state  atomic.Pointer[error]     // why queries are not answered; nil if they are
	loaded atomic.Pointer[time.Time] // when the facts were loaded; nil before
	placed atomic.Uint32             // the registry's only network, in which loopback is placed; 0 for none
}

// newServer returns a server with an empty registry and without a source. Clients are in the
// networks of c until the facts are loaded.
func newServer(c config, log *zap.Logger) *server {
	s := &server{config: c, log: log, scrape: metrics.New(), publisher: zone.NewPublisher(c.zone())}
	s.publisher.SetClients(clientMap(c, 0))
	s.store = registry.NewStore(s.publish)
	s.store.Notify(s.feed.Note)
	return s
}

// publish makes a commit visible to DNS. The store shows it to the API after that.
func (s *server) publish(snap *registry.Snapshot, changes *registry.Changes) {
	s.publisher.Commit(snap, changes)
	comesOrGoes := slices.ContainsFunc(changes.Others, func(ch registry.Change) bool { return ch.Fact().Key().Kind < registry.KindRegion })
	if comesOrGoes && s.loaded.Load() != nil {
		s.place(snap) // the number of networks may have changed
	}
}

// Why queries are not answered.
var (
	errNotLoaded = errors.New("the facts are not loaded yet")
	errStopping  = errors.New("the server is stopping")
)

// loadGOGC is GOGC while the facts are loaded. Half of the memory that loading allocates is
// soon garbage, which leaves gaps between the facts. With 25 instead of 100, the peak is a
// quarter lower and the memory afterwards an eighth, for a third more processor time, once.
const loadGOGC = 25

// run serves until ctx is done, and then stops in order and returns nil. Any other error
// says why the server could not start, or why it had to stop. A value of hangups (SIGHUP)
// makes it read files again.
//
// This is what happens, in order. Each line that begins with task has a goroutine of its
// own:
//
//	settings   serve has read and checked all settings, certificates of etcd included
//	sockets    bind reads the API's tokens and certificate, and binds the sockets for DNS,
//	           API and admin; it makes the forwarder, which must know our own addresses
//	admin      task: serves health, metrics and status
//	files      tasks: follow the files of certificates and tokens
//	forwarder  task: follows resolv.conf, and sends forwarded queries to upstreams
//	resolver   task: answers queries; until the server is ready, with SERVFAIL
//	source     task: waits for load; then it follows the facts, or makes the API's changes
//	api        task: serves the API; until the server is ready, with 503
//	load       reads all facts
//	seed       imports a registry file, if that is set and nothing was ever stored
//	ready      from now on queries are answered from the facts
//	hangups    task: at SIGHUP, has the registry file, certificates and tokens read again
//
// If any of these fails at the start, the server ends with that error, and with all faults
// of the settings or of the file. A later fault of a file (registry, certificate, tokens)
// stops nothing: the last good content stays in effect, the fault is logged once and
// counted, and /status shows it until the file is good again. A task that fails stops the
// server.
//
// To stop, run ends the tasks one after another, the last started first, and waits for each:
// no more changes come, then the resolver answers the queries that it has received, and the
// admin listener ends last.
func (s *server) run(ctx context.Context, hangups <-chan os.Signal) error {
	s.state.Store(&errNotLoaded)
	resolver, admin, api, err := s.bind()
	if err != nil {
		return err
	}
	s.log.Info("listening", bound(resolver, admin, api)...)

	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + resolver.Waiting()))
	running := newTasks(ctx)
	defer running.stop()
	if admin != nil {
		running.start("admin", admin.run)
	}
	for _, f := range s.followed {
		running.start("files", f.Run)
	}
	if s.forwarder != nil {
		running.start("forwarder", s.forwarder.Run)
		<-s.forwarder.Running() // before that, it refuses queries
	}
	running.start("resolver", resolver.Run)
	loaded := make(chan struct{})
	running.start("source", func(ctx context.Context) error {
		select {
		case <-loaded:
			return s.source.run(ctx)
		case <-ctx.Done():
			return nil
		}
	})
	if api != nil {
		running.start("api", api.Run) // after the source, so that it stops first, and the source finishes its changes
	}
	gogc := debug.SetGCPercent(loadGOGC)
	err = s.load(running.ctx)
	debug.SetGCPercent(gogc)
	if err != nil {
		return running.reason(err)
	}
	close(loaded)
	if err := s.seed(running.ctx); err != nil {
		return running.reason(err)
	}
	s.publisher.Ready()
	running.start("hangups", func(ctx context.Context) error { return s.follow(ctx, hangups) })
	if err := s.ready(); err != nil {
		return err
	}

	debug.FreeOSMemory() // loading used more memory than the facts need

	<-running.ctx.Done()
	s.state.Store(&errStopping)
	s.log.Info("stopping")
	running.stop()
	return running.reason(nil)
}

// load loads the facts and places loopback.
func (s *server) load(ctx context.Context) error {
	if err := s.source.load(ctx); err != nil {
		return s.config.loadFault(err)
	}
	now := time.Now()
	s.loaded.Store(&now)
	snap := s.store.Snapshot()
	s.place(snap)
	if regions := s.config.unplaced(snap); len(regions) > 0 {
		s.log.Warn("the registry has no distances for these regions of the settings, so nothing is nearest to them; are they misspelt?",
			zap.Strings("regions", regions))
	}
	if c := &s.config; c.Data != "" && c.API == off && !c.Seed && snap.Stats() == (registry.Stats{}) {
		s.log.Warn("the registry is empty, and without an API nothing can change it; want --api HOST:PORT, too", zap.String("data", c.Data))
	}
	if s.config.placesNone() && s.placed.Load() == 0 {
		s.log.Warn("only clients with 6PN addresses are in a network; place others with --network or --client")
	}
	return nil
}

// place places loopback in the network of snap if there is only one, unless the settings place
// clients.
func (s *server) place(snap *registry.Snapshot) {
	if !s.config.placesNone() {
		return
	}
	only := onlyNetwork(snap)
	if registry.Network(s.placed.Swap(uint32(only))) == only {
		return
	}
	s.publisher.SetClients(clientMap(s.config, only))
	if only != 0 {
		s.log.Info("the registry has one network, so loopback is placed in it", zap.Stringer("network", only))
	} else {
		s.log.Warn("the registry no longer has exactly one network, so loopback is in none; place it with --network or --client")
	}
}

// ready makes the server ready, and logs that it is. With the sample, it prints what to try.
func (s *server) ready() error {
	s.state.Store(nil)
	if s.banner != nil {
		if err := writeBanner(s.banner, s.store.Snapshot(), s.addrs[len(s.addrs)-1], self()); err != nil {
			return err
		}
	}
	stats := s.store.Snapshot().Stats()
	s.log.Info("serving", zap.Int("networks", stats.Networks), zap.Int("apps", stats.Apps), zap.Int("machines", stats.Total()))
	return nil
}

// loading returns an error until the facts are loaded.
func (s *server) loading() error {
	if why := s.notReady(); why == errNotLoaded {
		return why
	}
	return nil
}

// notReady returns why queries are not answered; nil if they are.
func (s *server) notReady() error {
	if why := s.state.Load(); why != nil {
		return *why
	}
	return nil
}

// follow has files read again at each SIGHUP, until ctx is done.
func (s *server) follow(ctx context.Context, hangups <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangups:
			s.log.Info("hangup: files are read again")
			s.source.reload()
			for _, f := range s.followed {
				f.Reload()
			}
		}
	}
}

// tasks are the goroutines of a server. If one fails, all must end.
type tasks struct {
	ctx  context.Context // done when a task has failed, or when all must end
	end  context.CancelCauseFunc
	each []task // in the order they started
}

// A task runs until stop is called.
type task struct {
	stop context.CancelFunc
	done chan struct{} // closed when it has ended
}

// newTasks returns an empty set of tasks, which end when ctx is done.
func newTasks(ctx context.Context) *tasks {
	t := new(tasks)
	t.ctx, t.end = context.WithCancelCause(ctx)
	return t
}

// start runs a task on a goroutine of its own until stop. If the task fails, t.ctx is done,
// and the caller must call stop.
func (t *tasks) start(name string, run func(context.Context) error) {
	// Not a child of t.ctx: the tasks are stopped one by one, in order.
	ctx, stop := context.WithCancel(context.WithoutCancel(t.ctx))
	one := task{stop, make(chan struct{})}
	t.each = append(t.each, one)
	go func() {
		defer close(one.done)
		if err := run(ctx); err != nil {
			t.end(fmt.Errorf("%s: %w", name, err))
		}
	}()
}

// stop stops the tasks, the last started first, and waits for each before it stops
// the next. Once all have ended, it does nothing.
func (t *tasks) stop() {
	for len(t.each) > 0 {
		last := t.each[len(t.each)-1]
		t.each = t.each[:len(t.each)-1]
		last.stop()
		<-last.done
	}
	t.end(nil)
}

// reason returns the error of the task that failed, if one did. If not, it returns err, or nil
// if err only reports that ctx was done.
func (t *tasks) reason(err error) error {
	if cause := context.Cause(t.ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
