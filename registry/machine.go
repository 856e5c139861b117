package registry

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/klauspost/compress/s2"
)

// A Machine is one virtual machine of an app: what the server reads of its JSON
// object, and the object itself.
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
	// Skip is config.dns.skip_registration: there are no names of the machine.
	Skip bool
	app  uint32 // App's number, for keys; it fills a gap here
	// Raw is the object as it came.
	Raw Raw
	// Modified is the index of the commit that made the machine as it is. A machine
	// is mostly put with 0, and then gets the index of its commit, unless it is as it
	// was. A source that stores indexes puts machines with those.
	Modified uint64

	// sum is part of the key of the machine's metadata row. If the machine is gone,
	// it is its contentSum.
	sum    uint64
	number uint64 // the store's short name for the machine, never used twice
}

// A Pair is one entry of a machine's metadata.
type Pair struct{ Key, Value string }

// StateStarted is the state in which a machine's address is in answers.
const StateStarted = "started"

// States lists the states that Fly machines are known to have. A machine in any
// other state counts as deployed and not started.
var States = [...]string{
	"created", "destroyed", "destroying", "failed", "launch_failed", "migrated", "pending", "preparing",
	"replaced", "replacing", "restarting", StateStarted, "starting", "stopped",
	"stopping", "suspended", "suspending", "updating",
}

// Key returns the key of the machine. Gone machines of one app may have the same.
func (m *Machine) Key() Key { return Key{Kind: KindMachine, Network: m.Network, Name: m.App, ID: m.ID} }

func (m *Machine) Fields() []Field { return nil }

// AppKey returns the key of the machine's app.
func (m *Machine) AppKey() AppKey { return AppKey{m.Network, m.App} }

// MachineKey returns the app and the id of the machine.
func (m *Machine) MachineKey() MachineKey { return MachineKey{App: m.AppKey(), ID: m.ID} }

// String names the machine for messages.
func (m *Machine) String() string {
	return fmt.Sprintf("machine %s of app %s", Quote(m.ID), Quote(m.App))
}

func (m *Machine) modified() *uint64 { return &m.Modified }

// Gone reports whether the machine no longer exists: another may have its id and
// address.
func (m *Machine) Gone() bool {
	switch m.State {
	case "destroying", "destroyed", "replaced", "migrated":
		return true
	}
	return false
}

// Deployed reports whether there are names of the machine.
func (m *Machine) Deployed() bool { return !m.Skip && !m.Gone() }

// Started reports whether the machine's address is in answers.
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

// Raw is a machine's JSON object as it came, compressed. It never changes. The zero Raw
// is no object.
type Raw []byte

// NewRaw compresses object, and does not retain it. It may be called from several
// goroutines.
func NewRaw(object []byte) Raw {
	if len(object) == 0 {
		return nil
	}
	packed := rawDict.Encode(nil, object)
	return append(make(Raw, 0, len(packed)), packed...) // without the encoder's room to grow
}

// JSON returns the object, octet for octet as it came; nil for the zero Raw.
func (r Raw) JSON() ([]byte, error) {
	if len(r) == 0 {
		return nil, nil
	}
	object, err := rawDict.Decode(nil, r)
	if err != nil {
		return nil, fmt.Errorf("stored machine object: %w", err)
	}
	return object, nil
}

// rawDict is a dictionary of what machine objects have in common: an object of 600
// octets takes about 220 with it, at 2 µs, and 400 without. Stored objects can only be
// read with exactly these octets, so the dictionary must never change. Another one
// needs another name.
var rawDict = s2.MakeDict([]byte(rawDictText), nil)

const rawDictText = `{"id":"148e21dad76789","name":"aged-wind-2649","state":"stopped","region":"ams","instance_id":"01HQ3V9M7Z2W5X8Y4N6P0R1S2T",` +
	`"image_ref":{"registry":"registry.fly.io","repository":"web","tag":"deployment-01","digest":"sha256:"},"nonce":"","incomplete_config":null,` +
	`"host_status":"ok","services":[{"protocol":"tcp","internal_port":8080,"ports":[{"port":443,"handlers":["tls","http"]},{"port":80,"handlers":["http"],"force_https":true}]}],` +
	`"config":{"init":{},"env":{},"image":"registry.fly.io/web:deployment-01","auto_destroy":false,"restart":{"policy":"on-failure"},"dns":{"skip_registration":true},` +
	`"metadata":{"fly_flyctl_version":"0.","fly_release_id":"","fly_release_version":"1","process_group":"app","role":"Primary","version":"1.2.3","fly_process_group":"app","fly_platform_version":"v2"},` +
	`"guest":{"cpu_kind":"shared","cpus":1,"memory_mb":256}},"private_ip":"fdaa:0:18:a7b:7d:f066:b83b:2",` +
	`"checks":[{"name":"http","status":"passing"}],"created_at":"2026-10-31T02:30:10Z","updated_at":"2026-10-31T02:35:26Z",` +
	`"events":[{"type":"start","status":"started","source":"flyd","timestamp":1698719726615}],"state":"started","region":"fra"}`
