package dataset

import (
	"bufio"
	"fmt"
	"io"
	"time"
)

// peersPerNetwork is the number of WireGuard peers of each network. A peer costs a
// server as much as a small app; a few are enough for the list of peers.
const peersPerNetwork = 3

// WriteRegistry writes the facts as a registry file. Machine objects have the
// fields of the Machines API, and 500 to 900 octets each. They are written one by
// one, so that memory does not grow with their number.
func (d *Dataset) WriteRegistry(w io.Writer) error {
	b := bufio.NewWriterSize(w, 256<<10)
	b.WriteString("{\n\"networks\": [")
	for n := range d.shape.Networks {
		fmt.Fprintf(b, "%s\n {\"name\": \"org-%d\", \"prefix\": %q}", comma(n), n, d.Network(n))
	}
	b.WriteString("\n],\n\"peers\": [")
	for n := range d.shape.Networks {
		for k := range peersPerNetwork {
			fmt.Fprintf(b, "%s\n {\"name\": \"peer-%d\", \"address\": %q, \"region\": %q}", comma(n*peersPerNetwork+k), k, d.addr(n, 0xa7b<<16|0xd6b, uint32(k)), regions[k])
		}
	}
	b.WriteString("\n],\n\"apps\": [")
	var a App
	var line []byte
	for i := range d.shape.Apps {
		d.App(i, &a)
		line = fmt.Appendf(line[:0], "%s\n {\"name\": %q, \"network\": %q", comma(i), a.Name, d.Network(a.Network))
		if a.Flycast.IsValid() {
			line = fmt.Appendf(line, ", \"flycast\": [%q]", a.Flycast)
		}
		line = append(line, ", \"machines\": ["...)
		for k := range a.Machines {
			line = append(line, comma(k)+"\n  "...)
			line = d.appendMachine(line, &a, &a.Machines[k])
		}
		if _, err := b.Write(append(line, "]}"...)); err != nil {
			return err // a bufio.Writer keeps its first error
		}
	}
	b.WriteString("\n]\n}\n")
	return b.Flush()
}

// comma returns what separates item number i of a JSON array from the one before.
func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}

// birth is when the first machine was created. Each next one is 11 s younger.
var birth = time.Date(2026, time.January, 5, 8, 0, 0, 0, time.UTC)

// guests are sizes of machines. All machines of an app have one size.
var guests = [...]string{
	`{"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}`,
	`{"cpu_kind": "shared", "cpus": 2, "memory_mb": 1024}`,
	`{"cpu_kind": "performance", "cpus": 4, "memory_mb": 8192}`,
}

// appendMachine appends the machine object. None of the values needs escaping.
func (d *Dataset) appendMachine(b []byte, a *App, m *Machine) []byte {
	r := seeded(d.seed, "machine", int(m.number))
	created := birth.Add(time.Duration(m.number) * 11 * time.Second)
	updated := created.Add(time.Duration(r.below(7*24*3600)) * time.Second)
	adjective, noun, number := adjectives[r.below(len(adjectives))], nouns[r.below(len(nouns))], 1000+r.below(9000)
	instance, release := instanceID(&r), instanceID(&r)

	b = fmt.Appendf(b, `{"id": "%s", "name": "%s-%s-%d", "state": "%s", "region": "%s", "instance_id": "%s", "private_ip": "%s", `,
		m.ID, adjective, noun, number, m.State, m.Region, instance, m.Addr)
	b = fmt.Appendf(b, `"config": {"env": {"FLY_PROCESS_GROUP": "%s", "PRIMARY_REGION": "%s"}, "init": {}, "guest": %s, "metadata": {`,
		m.Group(), a.Machines[0].Region, guests[len(a.Name)%len(guests)])
	for i, p := range m.Metadata {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = fmt.Appendf(b, `"%s": "%s"`, p.Key, p.Value)
	}
	return fmt.Appendf(b, `}, "image": "registry.fly.io/%s:deployment-%s", "restart": {"policy": "on-failure", "max_retries": 10}}`+
		`, "image_ref": {"registry": "registry.fly.io", "repository": "%s"}, "created_at": "%s", "updated_at": "%s"`+
		`, "events": [{"type": "start", "status": "%s", "source": "flyd", "timestamp": %d}]}`,
		a.Name, release, a.Name, created.Format(time.RFC3339), updated.Format(time.RFC3339), m.State, updated.UnixMilli())
}

// instanceID returns a string in the form of a ULID, as instance identifiers and
// deployment tags are.
func instanceID(r *rng) string {
	const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	id := []byte("01")
	var x uint64
	for i := range 24 {
		if i%12 == 0 {
			x = r.next()
		}
		id = append(id, digits[x&31])
		x >>= 5
	}
	return string(id)
}

// masterHead comes before the names: the apex as internaldns has it, and the
// address of the name server.
const masterHead = `$ORIGIN internal.
$TTL 5
@ IN SOA _api hostmaster 1 3600 600 86400 5
@ IN NS _api
_api IN AAAA fdaa::3
`

// placeholder makes a name exist that has neither addresses nor text. No query asks
// for its type.
const placeholder = `HINFO "-" "-"`

// WriteMaster writes the names of one network as a master file of the zone
// internal., one record a line. A server with that file answers Queries as
// internaldns answers the clients of the network.
func (d *Dataset) WriteMaster(w io.Writer, network int) error {
	b := bufio.NewWriterSize(w, 256<<10)
	b.WriteString(masterHead)
	var a App
	var names []name
	var line []byte
	for i := network; i < d.shape.Apps; i += d.shape.Networks {
		d.App(i, &a)
		names = a.names(names[:0])
		line = line[:0]
		for k := range names {
			line = appendRecords(line, &names[k])
		}
		if _, err := b.Write(line); err != nil {
			return err
		}
	}
	return b.Flush()
}

// appendRecords appends the records of a name.
func appendRecords(b []byte, n *name) []byte {
	owner := n.owner[:len(n.owner)-len(".internal")]
	if len(n.addrs) == 0 && n.text == nil {
		b = fmt.Appendf(b, "%s IN %s\n", owner, placeholder)
	}
	for _, a := range n.addrs {
		b = fmt.Appendf(b, "%s IN AAAA %v\n", owner, a)
	}
	if n.text != nil {
		b = fmt.Appendf(b, "%s IN TXT", owner)
		for _, s := range n.text {
			b = fmt.Appendf(b, ` "%s"`, s)
		}
		b = append(b, '\n')
	}
	return b
}
