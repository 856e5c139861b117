package api

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/watch"
)

// Config is what an API works with.
type Config struct {
	// Store is read, and Keeper, which writes to it, is asked for changes.
	Store  *registry.Store
	Keeper registry.Keeper

	// Feed has every commit of Store: its Note is notified by Store.
	Feed *watch.Feed

	// Ready, unless nil, returns an error while the facts are not there. Whoever
	// may ask is told so, with status 503.
	Ready func() error

	// Tokens say who may do what; nil if there are none.
	Tokens *Tokens

	// Local lets in, for all networks, who comes over loopback or a Unix socket
	// without a token.
	Local bool

	// Region is where the server is; "" if that is not known. It is the region
	// of machines that are created without one.
	Region string

	// MaxImport is the largest registry file that is imported, in octets.
	// Default 1 GiB: a million machines.
	MaxImport int64

	Log *zap.Logger
}

// An API serves the registry over HTTP, as doc.go says. It is an http.Handler
// for any number of requests at a time.
type API struct {
	Config
	mux   *http.ServeMux
	none  path // for requests that no pattern takes
	stats *metrics.API
	names nameCache

	// Each is held by the one import that is read, of those by tokens for all
	// networks and by others: who has a few networks keeps nobody waiting who has
	// all of them.
	importing, importingPart sync.Mutex

	// Each holds a token for every export that is read, likewise.
	exporting, exportingPart chan struct{}

	watching chan struct{} // holds a token for each stream and each wait
	ended    chan struct{} // closed when nobody shall wait any more
	endWaits func()        // closes ended
}

const (
	// maxImport is the default of Config.MaxImport. A machine takes some 600
	// octets in a file.
	maxImport = 1 << 30

	// maxExports bounds how many exports are read at one time. Each takes some 60
	// octets a machine, for as long as the client takes to read it.
	maxExports = 4

	// maxWaiting bounds how many requests wait for commits at one time, in
	// streams and waits. Each takes a goroutine and a connection; there must be
	// connections left for those that write.
	maxWaiting = 128
)

// New returns an API. The error says what in c cannot work.
func New(c Config) (*API, error) {
	switch {
	case c.Store == nil || c.Keeper == nil || c.Feed == nil:
		return nil, errors.New("api: a store, its keeper and the feed of its commits are needed")
	case c.Tokens == nil && !c.Local:
		return nil, errors.New("api: nobody could use it: there are no tokens, and local clients need one")
	}
	if c.MaxImport == 0 {
		c.MaxImport = maxImport
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	a := &API{
		Config: c, mux: http.NewServeMux(), stats: metrics.NewAPI(),
		exporting: make(chan struct{}, maxExports), exportingPart: make(chan struct{}, maxExports),
		watching: make(chan struct{}, maxWaiting), ended: make(chan struct{}),
	}
	a.none.api = a
	a.endWaits = sync.OnceFunc(func() { close(a.ended) })
	a.handle(routes)
	return a, nil
}

// Metrics returns what a counts, for scrapes.
func (a *API) Metrics() *metrics.API { return a.stats }

// ServeHTTP answers one request. There is nothing at a path that is not written
// as it must be: the mux would lead whoever asks to delete /v1/apps//machines,
// where a name should have been, to the app of the name machines.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, _ := a.mux.Handler(r); !isPath(h) {
		a.none.ServeHTTP(w, r)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// isPath reports whether h is ours, and not one that the mux makes by itself.
func isPath(h http.Handler) bool {
	_, is := h.(*path)
	return is
}

// handle makes the mux of the routes.
func (a *API) handle(routes []route) {
	paths := make(map[string]*path)
	for i := range routes {
		r := &routes[i]
		p := paths[r.pattern]
		if p == nil {
			p = &path{api: a, methods: make(map[string]*route)}
			paths[r.pattern] = p
			a.mux.Handle(r.pattern, p)
		}
		p.methods[r.method] = r
	}
}

// A path answers requests for one pattern, whatever their method.
type path struct {
	api     *API
	methods map[string]*route
}

// ServeHTTP decides who asks and what for, and answers errors; the route's
// function answers everything else.
func (p *path) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	route := p.methods[r.Method]
	if route == nil && r.Method == http.MethodHead {
		route = p.methods[http.MethodGet]
	}
	name := ""
	if route != nil {
		name = route.String()
	}
	seen := &recorder{ResponseWriter: w}
	c := &call{api: p.api, w: seen, r: r, route: route, snap: p.api.Store.Snapshot(), begun: start, patience: writeTime}
	p.api.stats.Begin()
	defer func() {
		p.api.stats.Done(name, seen.status, time.Since(start))
		c.audit()
	}()
	defer c.rescue()

	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if err := p.serve(c); err != nil {
		c.fail(err)
	}
}

func (p *path) serve(c *call) error {
	var err error
	if c.who, err = p.api.admit(c.r); err != nil {
		return err
	}
	if c.route == nil {
		return p.refuse(c)
	}
	if p.api.Ready != nil {
		if err := p.api.Ready(); err != nil {
			return failf(http.StatusServiceUnavailable, "%v", err)
		}
	}
	c.setIndex(c.snap.Index)
	if err := c.checkQuery(); err != nil {
		return err
	}
	return c.route.serve(c)
}

// refuse says that there is nothing at a path, or not by that method.
func (p *path) refuse(c *call) error {
	if len(p.methods) == 0 {
		return failf(http.StatusNotFound, "there is nothing at %s", quote(c.r.URL.Path))
	}
	c.w.Header().Set("Allow", allowed(p.methods))
	return failf(http.StatusMethodNotAllowed, "%s takes %s", quote(c.r.URL.Path), allowed(p.methods))
}

// A recorder remembers the status of a response.
type recorder struct {
	http.ResponseWriter
	status int // 0: nothing was sent yet
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
