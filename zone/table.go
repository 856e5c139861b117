package zone

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/persist"
)

// Options is what answers depend on beside the facts.
type Options struct {
	// TTL is that of every record, in seconds.
	TTL uint32
	// Region is the server's own, for clients of which none is known; "" if
	// there is none.
	Region string
	// Clients places clients that do not ask from or to a 6PN address. The
	// longest prefix that holds a client's address counts.
	Clients []Client
}

// A Client is a prefix of client addresses and where they are placed.
type Client struct {
	Prefix  netip.Prefix
	Network registry.Network
	Region  string // "" if unknown
}

// A Table is the names of all networks at one registry index. It is immutable.
type Table struct {
	shared
	index   uint64
	snap    *registry.Snapshot
	views   persist.Trie[*view]
	clients []Client // sorted by length of prefix, the longest first
	unnamed int
}

// shared is the part of a Table that the views of all networks use.
type shared struct {
	ready  bool
	geo    *geography
	ttl    uint32 // Options.TTL: that of every record, in seconds
	region string // Options.Region
}

// Index returns the registry index of the facts in t.
func (t *Table) Index() uint64 { return t.index }

// Ready reports whether t holds the facts of a source. Until it does, "there is
// no such name" would be a lie.
func (t *Table) Ready() bool { return t.ready }

// Unnamed returns how many process groups and metadata entries of deployed
// machines give no name, because they cannot form labels.
func (t *Table) Unnamed() int { return t.unnamed }

func sortClients(clients []Client) []Client {
	clients = slices.Clone(clients)
	for i := range clients {
		clients[i].Prefix = clients[i].Prefix.Masked()
	}
	slices.SortStableFunc(clients, func(a, b Client) int { return b.Prefix.Bits() - a.Prefix.Bits() })
	return clients
}

// A Publisher makes a new Table for every commit, sharing with the old one
// whatever the commit did not touch, and makes it the current one.
//
// All methods may be called from any goroutine.
type Publisher struct {
	current atomic.Pointer[Table]

	mu      sync.Mutex   // one change after the other: each builds on the table before
	edits   persist.Edit // of commits so far, guarded by mu
	codes   codes        // guarded by mu
	scratch scratch      // guarded by mu
}

// NewPublisher returns a Publisher whose Table is empty and not ready.
func NewPublisher(o Options) *Publisher {
	p := &Publisher{codes: make(codes)}
	empty := registry.NewStore(nil).Snapshot()
	p.current.Store(&Table{
		shared:  shared{geo: newGeography(empty.Geography(), p.codes), ttl: o.TTL, region: o.Region},
		snap:    empty,
		clients: sortClients(o.Clients),
	})
	return p
}

// Table returns the current Table.
func (p *Publisher) Table() *Table { return p.current.Load() }

// Ready tells that the facts of a source have all been committed. From then on,
// Tables are ready.
func (p *Publisher) Ready() {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := *p.current.Load()
	next.ready = true
	p.current.Store(&next)
}

// SetClients replaces the configured clients.
func (p *Publisher) SetClients(clients []Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := *p.current.Load()
	next.clients = sortClients(clients)
	p.current.Store(&next)
}
