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

// Config configures an API.
type Config struct {
	// Store is read. Keeper makes changes, and writes them to Store.
	Store  *registry.Store
	Keeper registry.Keeper

	// Feed has every commit of Store: its Note is notified by Store.
	Feed *watch.Feed

	// Ready, unless nil, returns an error until the facts are loaded. Known clients
	// get it with status 503.
	Ready func() error

	// Tokens give each client its grant; nil if there are none.
	Tokens *Tokens

	// Local admits clients on loopback or a Unix socket without a token, for all
	// networks.
	Local bool

	// Region is the server's region; "" if it is unknown. A machine that is created
	// without a region gets it.
	Region string

	// MaxImport is the largest registry file that is imported, in octets. Default
	// 1 GiB, which is enough for a million machines.
	MaxImport int64

	Log *zap.Logger
}

// An API serves the registry over HTTP. It is an http.Handler for any number of
// requests at a time.
type API struct {
	Config
	mux   *http.ServeMux
	none  path // for requests that no pattern takes
	stats *metrics.API
	names nameCache

	// The import that is read holds one of these: importingPart if its token is for
	// some networks. So such a client cannot delay those with all networks.
	importing, importingPart sync.Mutex

	// Each holds a value for every export that is read, likewise.
	exporting, exportingPart chan struct{}

	watching chan struct{} // holds a value for each stream and each wait
	ended    chan struct{} // closed when streams and waits must end
	endWaits func()        // closes ended
}

const (
	// maxImport is the default of Config.MaxImport. In a file, a machine takes some
	// 600 octets.
	maxImport = 1 << 30

	// maxExports bounds how many exports are read at one time. Each takes some 60
	// octets per machine until the client has read it.
	maxExports = 4

	// maxWaiting bounds how many requests wait for commits at one time, in streams
	// and waits. Each takes a goroutine and a connection, and some connections must
	// be left for other requests.
	maxWaiting = 128
)

// New returns an API, or what is wrong with c.
func New(c Config) (*API, error) {
	switch {
	case c.Store == nil || c.Keeper == nil || c.Feed == nil:
		return nil, errors.New("api: a store, its keeper and the feed of its commits are needed")
	case c.Tokens == nil && !c.Local:
		return nil, errors.New("api: no client could use it: there are no tokens, and local clients need one")
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

// ServeHTTP answers one request. Paths are taken literally: the mux would clean
// /v1/apps//machines, in which an app's name is missing, and so delete the app of
// the name machines.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, _ := a.mux.Handler(r); !isPath(h) {
		a.none.ServeHTTP(w, r)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// isPath reports whether h is a path, and not a handler that the mux makes itself.
func isPath(h http.Handler) bool {
	_, is := h.(*path)
	return is
}

// handle registers the routes.
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

// ServeHTTP finds the client's grant and the route, calls the route's function, and
// responds with the error, if there is one.
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

// refuse returns the failure of a request whose path does not exist, or does not take
// its method.
func (p *path) refuse(c *call) error {
	if len(p.methods) == 0 {
		return failf(http.StatusNotFound, "there is nothing at %s", registry.Quote(c.r.URL.Path))
	}
	c.w.Header().Set("Allow", allowed(p.methods))
	return failf(http.StatusMethodNotAllowed, "%s takes %s", registry.Quote(c.r.URL.Path), allowed(p.methods))
}

// A recorder remembers the status of a response.
type recorder struct {
	http.ResponseWriter
	status int // 0 until something is sent
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
