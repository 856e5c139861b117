package dataset

import (
	"fmt"
	"net/netip"
	"strconv"
)

// App is one app and its machines. Its slices are reused by the next call of
// Dataset.App with it.
type App struct {
	Name     string
	Network  int
	Flycast  netip.Addr // not valid if the app has none
	Machines []Machine

	seen map[string]int // scratch of names
}

// Machine is the part of a machine that names depend on.
type Machine struct {
	ID     string // 14 hexadecimal digits
	State  string
	Region string
	Addr   netip.Addr
	// Metadata are the keys and values of config.metadata, sorted by key.
	Metadata []Pair

	number uint32 // among the machines of the dataset
}

// Pair is one key of config.metadata with its value.
type Pair struct{ Key, Value string }

// Deployed reports whether the machine has names.
func (m *Machine) Deployed() bool { return m.State != stateDestroyed }

// Started reports whether the names have the address of the machine.
func (m *Machine) Started() bool { return m.State == stateStarted }

// Group returns the machine's process group.
func (m *Machine) Group() string {
	for _, p := range m.Metadata {
		if p.Key == keyGroup {
			return p.Value
		}
	}
	return ""
}

const (
	stateStarted   = "started"
	stateStopped   = "stopped"
	stateSuspended = "suspended"
	stateDestroyed = "destroyed"

	keyGroup = "fly_process_group"
)

// regions are codes of Fly's regions, the busiest first: an app's regions are
// drawn with the weights of Zipf's law.
var regions = [...]string{
	"iad", "ams", "fra", "sjc", "lhr", "ord", "cdg", "ewr", "syd", "sin", "nrt", "lax", "dfw", "yyz", "sea", "gru", "bom", "mad",
	"waw", "arn", "mia", "atl", "bos", "den", "hkg", "jnb", "phx", "otp", "scl", "bog", "eze", "gdl", "gig", "qro", "yul",
}

var regionWeights = zipf(len(regions), 0.8)

// hostsPerRegion is the number of physical hosts in one region. Real networks have
// a few dozen. With more hosts, fewer addresses share their first 80 bits.
const hostsPerRegion = 24

var (
	adjectives = [...]string{
		"aged", "ancient", "bitter", "blue", "bold", "broken", "calm", "cold", "crimson", "damp", "dark", "dawn", "dry", "falling", "fragrant", "green",
		"hidden", "holy", "icy", "late", "little", "lively", "long", "misty", "morning", "muddy", "nameless", "old", "patient", "polished", "proud", "purple",
		"quiet", "red", "restless", "rough", "shy", "silent", "small", "snowy", "solitary", "still", "throbbing", "twilight", "wandering", "weathered", "white", "wild",
	}
	nouns = [...]string{
		"bird", "breeze", "brook", "bush", "butterfly", "cherry", "cloud", "darkness", "dawn", "dew", "dream", "dust", "feather", "field", "fire", "firefly",
		"flower", "fog", "forest", "frog", "frost", "glade", "grass", "haze", "hill", "lake", "leaf", "meadow", "moon", "morning", "mountain", "night",
		"paper", "pine", "pond", "rain", "resonance", "river", "sea", "shadow", "shape", "silence", "sky", "smoke", "snow", "sound", "star", "sun",
		"surf", "thunder", "tree", "violet", "voice", "water", "waterfall", "wave", "wildflower", "wind", "wood",
	}
)

// appName returns the name of app i: two words, and its number, which makes it
// unique.
func (d *Dataset) appName(i int) string {
	r := seeded(d.seed, "name", i)
	return adjectives[r.below(len(adjectives))] + "-" + nouns[r.below(len(nouns))] + "-" + strconv.Itoa(i)
}

// machineID returns the unique identifier of machine number n. Numbers from the
// number of machines on give identifiers of no machine.
func (d *Dataset) machineID(n uint32) string {
	return fmt.Sprintf("%014x", scramble(uint64(n), d.seed, 56))
}

// addr returns an address of network n in the form that Fly uses: the host in 32
// bits, a number that is unique among all hosts in 32 bits, and 2.
func (d *Dataset) addr(network int, host, number uint32) netip.Addr {
	a := d.Network(network).Addr().As16()
	for i := range 4 {
		a[6+i] = byte(host >> (24 - 8*i))
		a[10+i] = byte(number >> (24 - 8*i))
	}
	a[15] = 2
	return netip.AddrFrom16(a)
}

// App sets a to app number i. It reuses the slices of a.
func (d *Dataset) App(i int, a *App) {
	r := seeded(d.seed, "app", i)
	a.Name = d.appName(i)
	a.Network = i % d.shape.Networks
	a.Flycast = netip.Addr{}
	if r.chance(0.125) {
		a.Flycast = d.flycast(a.Network, i)
	}
	a.Machines = a.Machines[:0]

	kind := kindOf(&r)
	here := make([]int, 0, 4)
	for range 1 + r.below(4) {
		here = append(here, pick(&r, regionWeights))
	}
	release := strconv.Itoa(1 + r.below(200))
	for n := d.first[i]; n < d.first[i+1]; n++ {
		region := here[r.below(len(here))]
		host := uint32(0xa7b<<16 | 0x10 + region*hostsPerRegion + r.below(hostsPerRegion))
		m := Machine{
			ID:     d.machineID(n),
			State:  d.state(&r),
			Region: regions[region],
			Addr:   d.addr(a.Network, host, uint32(scramble(uint64(n), d.seed+1, 32))),
			number: n,
		}
		m.Metadata = kind.metadata(&r, len(a.Machines), release)
		a.Machines = append(a.Machines, m)
	}
}

// flycast returns the Flycast address of app i. Its host part is 1, which no machine
// has, and it shares its /112 with no other.
func (d *Dataset) flycast(network, i int) netip.Addr {
	a := d.Network(network).Addr().As16()
	a[9] = 1
	for b := range 4 {
		a[10+b] = byte(uint32(i) >> (24 - 8*b))
	}
	a[15] = 3
	return netip.AddrFrom16(a)
}

func (d *Dataset) state(r *rng) string {
	switch x := float64(r.next()>>32) / (1 << 32); {
	case x < d.shape.Gone:
		return stateDestroyed
	case x < d.shape.Gone+d.shape.Stopped*0.75:
		return stateStopped
	case x < d.shape.Gone+d.shape.Stopped:
		return stateSuspended
	}
	return stateStarted
}

// appKind is the sort of software that an app is. Metadata depends on it.
type appKind int

const (
	website  appKind = iota // one process group
	service                 // several process groups
	database                // a primary and replicas
	sandbox                 // one machine for each customer
)

func kindOf(r *rng) appKind {
	switch x := r.below(100); {
	case x < 50:
		return website
	case x < 75:
		return service
	case x < 90:
		return database
	}
	return sandbox
}

// metadata returns the pairs of machine number k of the app, sorted by key.
func (kind appKind) metadata(r *rng, k int, release string) []Pair {
	group := "app"
	var more Pair
	switch kind {
	case website:
		more = Pair{"fly_release_version", release}
	case service:
		group = [...]string{"app", "web", "worker", "cron"}[r.below(4)]
		more = Pair{"fly_release_version", release}
	case database:
		more = Pair{"role", "replica"}
		if k == 0 {
			more.Value = "primary"
		}
	case sandbox:
		more = Pair{"customer_id", strconv.Itoa(10000 + r.below(90000))}
	}
	pairs := []Pair{{"fly_platform_version", "v2"}, {keyGroup, group}}
	if more.Key < pairs[0].Key {
		return append([]Pair{more}, pairs...)
	}
	return append(pairs, more)
}
