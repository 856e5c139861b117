package registry

import (
	"fmt"
	"net/netip"
	"slices"
)

// A Machine is one virtual machine of an app, as far as the server reads it,
// and the object it was read from.
type Machine struct {
	Network Network
	App     string
	ID      string // lower case
	State   string // as given: started, stopped, …
	Region  string // lower case
	// Address is the machine's 6PN address. Only a gone machine may be without
	// a valid one.
	Address netip.Addr
	// Metadata holds config.metadata, sorted by key, as given. No key is in it
	// twice.
	Metadata []Pair
	// Skip is config.dns.skip_registration: the machine gives rise to no name.
	Skip bool
	app  uint32 // App's number, for keys; stands here for want of room elsewhere
	// Raw is the object as it came, for those who ask for it back.
	Raw Raw
	// Modified is the index of the commit that made the machine as it is. Put
	// with 0, which is the rule, a machine gets it from its commit, unless it is
	// as it was; a source that keeps indexes puts machines with those.
	Modified uint64

	// sum is the name of the machine's metadata row; if it is gone, it tells the
	// machine from others of its app and id.
	sum    uint64
	number uint64 // the store's short name for the machine, never used twice
}

// A Pair is one entry of a machine's metadata.
type Pair struct{ Key, Value string }

// StateStarted is the state in which a machine's address is given out.
const StateStarted = "started"

// States lists the states that Fly machines are known to have. A machine in any
// other is treated as deployed and not started.
var States = [...]string{
	"created", "destroyed", "destroying", "failed", "launch_failed", "migrated", "pending", "preparing",
	"replaced", "replacing", "restarting", StateStarted, "starting", "stopped",
	"stopping", "suspended", "suspending", "updating",
}

// Key returns the key of the machine: gone ones of one app may share it.
func (m *Machine) Key() Key { return Key{Kind: KindMachine, Network: m.Network, Name: m.App, ID: m.ID} }

func (m *Machine) Fields() []Field { return nil }

func (m *Machine) appKey() AppKey { return AppKey{m.Network, m.App} }

// String names the machine for messages.
func (m *Machine) String() string {
	return fmt.Sprintf("machine %s of app %s", quote(m.ID), quote(m.App))
}

func (m *Machine) modified() *uint64 { return &m.Modified }

// Gone reports whether the machine is no longer there: its id and address may
// be another's.
func (m *Machine) Gone() bool {
	switch m.State {
	case "destroying", "destroyed", "replaced", "migrated":
		return true
	}
	return false
}

// Deployed reports whether names follow from the machine.
func (m *Machine) Deployed() bool { return !m.Skip && !m.Gone() }

// Started reports whether the machine's address is given out.
func (m *Machine) Started() bool { return m.State == StateStarted && !m.Skip }

// Group returns the machine's process group as its metadata gives it, or "" if
// it has none.
func (m *Machine) Group() string {
	_, group := groupOf(m.Metadata)
	return group
}

// groupKeys are the metadata entries that name a process group. The first that
// is not empty counts.
var groupKeys = [...]string{"fly_process_group", "process_group"}

// groupOf returns the process group that metadata names, and the key under which
// it does; "" if there is none.
func groupOf(metadata []Pair) (key, group string) {
	for _, key := range groupKeys {
		for _, p := range metadata {
			if p.Key == key && p.Value != "" {
				return key, p.Value
			}
		}
	}
	return "", ""
}

// Lookup returns the value of the metadata entry key, or "".
func (m *Machine) Lookup(key string) string {
	for _, p := range m.Metadata {
		if p.Key == key {
			return p.Value
		}
	}
	return ""
}

func (m *Machine) equal(f Fact) bool {
	o := f.(*Machine)
	return (m.Modified == 0 || m.Modified == o.Modified) && m.ID == o.ID && m.App == o.App && m.Network == o.Network && m.State == o.State &&
		m.Region == o.Region && m.Address == o.Address && m.Skip == o.Skip &&
		slices.Equal(m.Metadata, o.Metadata) && slices.Equal(m.Raw, o.Raw)
}
