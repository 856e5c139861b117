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
	// TTL is the TTL of every record, in seconds.
	TTL uint32
	// Region is the server's region, for clients whose own region is unknown; ""
	// if there is none.
	Region string
	// Clients places clients that ask neither from nor to a 6PN address. If
	// several prefixes hold a client's address, the longest counts.
	Clients []Client
}

// A Client is a prefix of client addresses, and the network and region of these
// clients.
type Client struct {
	Prefix  netip.Prefix
	Network registry.Network
	Region  string // "" if unknown
}

// A Table is the names of all networks at one registry index. It is immutable. Every
// commit copies it, so what seldom changes is behind pointers.
type Table struct {
	shared
	snap    *registry.Snapshot
	views   persist.Trie[*view]
	clients *[]Client // the longest prefix first
	unnamed int
}

// shared is the part of a Table that the views of all networks use.
type shared struct {
	ready  bool
	ttl    uint32 // Options.TTL
	geo    *geography
	region *string // Options.Region
}

// Index returns the registry index of the facts in t.
func (t *Table) Index() uint64 { return t.snap.Index }

// Ready reports whether t holds all facts of the source. Until it does, queries for
// our names are answered with SERVFAIL, since a name without facts may exist.
func (t *Table) Ready() bool { return t.ready }

// Unnamed returns how many process groups and metadata entries of deployed
// machines give no name, because they cannot form labels.
func (t *Table) Unnamed() int { return t.unnamed }

func sortClients(clients []Client) *[]Client {
	clients = slices.Clone(clients)
	for i := range clients {
		clients[i].Prefix = clients[i].Prefix.Masked()
	}
	slices.SortStableFunc(clients, func(a, b Client) int { return b.Prefix.Bits() - a.Prefix.Bits() })
	return &clients
}

// A Publisher makes a new Table for every commit and makes it the current one. The
// new Table shares with the old one all that the commit did not change.
//
// All methods may be called from any goroutine.
type Publisher struct {
	current atomic.Pointer[Table]

	mu      sync.Mutex   // held while a Table is made from the one before
	edits   persist.Edit // number of commits so far, guarded by mu
	codes   codes        // guarded by mu
	scratch scratch      // guarded by mu
}

// NewPublisher returns a Publisher whose Table is empty and not ready.
func NewPublisher(o Options) *Publisher {
	p := &Publisher{codes: make(codes)}
	empty := registry.NewStore(nil).Snapshot()
	p.current.Store(&Table{
		shared:  shared{geo: newGeography(empty.Geography(), p.codes), ttl: o.TTL, region: &o.Region},
		snap:    empty,
		clients: sortClients(o.Clients),
	})
	return p
}

// Table returns the current Table.
func (p *Publisher) Table() *Table { return p.current.Load() }

// Ready makes this and all later Tables ready. Call it when all facts of the source
// have been committed.
func (p *Publisher) Ready() { p.replace(func(t *Table) { t.ready = true }) }

// SetClients replaces Options.Clients.
func (p *Publisher) SetClients(clients []Client) {
	p.replace(func(t *Table) { t.clients = sortClients(clients) })
}

// replace makes a changed copy of the Table the current one.
func (p *Publisher) replace(change func(*Table)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := *p.current.Load()
	change(&next)
	p.current.Store(&next)
}
