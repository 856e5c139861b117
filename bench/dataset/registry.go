package dataset

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"time"
)

// peersPerNetwork is the number of WireGuard peers of each network. A peer
// costs a server what a small app does; a few are enough to have the list.
const peersPerNetwork = 3

// WriteRegistry writes the facts as a registry file. Machine objects have the
// fields that the Machines API gives, 500 to 900 octets each, and are written
// one by one: memory does not grow with their number.
func (d *Dataset) WriteRegistry(w io.Writer) error {
	b := bufio.NewWriterSize(w, 256<<10)
	b.WriteString("{\n\"networks\": [")
	for n := range d.shape.Networks {
		comma(b, n)
		fmt.Fprintf(b, "\n {\"name\": \"org-%d\", \"prefix\": %q}", n, d.Network(n))
	}
	b.WriteString("\n],\n\"peers\": [")
	for n := range d.shape.Networks {
		for k := range peersPerNetwork {
			comma(b, n*peersPerNetwork+k)
			fmt.Fprintf(b, "\n {\"name\": \"peer-%d\", \"address\": %q, \"region\": %q}", k, d.addr(n, 0xa7b<<16|0xd6b, uint32(k)), regions[k])
		}
	}
	b.WriteString("\n],\n\"apps\": [")
	var a App
	var line []byte
	for i := range d.shape.Apps {
		d.App(i, &a)
		line = append(line[:0], `{"name": "`...)
		line = append(line, a.Name...)
		line = append(line, `", "network": "`...)
		line = d.Network(a.Network).AppendTo(line)
		line = append(line, '"')
		if a.Flycast.IsValid() {
			line = append(line, `, "flycast": ["`...)
			line = append(a.Flycast.AppendTo(line), `"]`...)
		}
		line = append(line, `, "machines": [`...)
		for k := range a.Machines {
			if k > 0 {
				line = append(line, ',')
			}
			line = append(line, "\n  "...)
			line = d.appendMachine(line, &a, &a.Machines[k])
		}
		line = append(line, "]}"...)
		comma(b, i)
		b.WriteString("\n ")
		if _, err := b.Write(line); err != nil {
			return err // bufio keeps the first error; stop making what nobody will read
		}
	}
	b.WriteString("\n]\n}\n")
	return b.Flush()
}

func comma(b *bufio.Writer, i int) {
	if i > 0 {
		b.WriteByte(',')
	}
}

// birth is when the first machine was created; each one after it a little later.
var birth = time.Date(2026, time.January, 5, 8, 0, 0, 0, time.UTC)

// guests are the sizes of machines, by the app.
var guests = [...]string{
	`{"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}`,
	`{"cpu_kind": "shared", "cpus": 2, "memory_mb": 1024}`,
	`{"cpu_kind": "performance", "cpus": 4, "memory_mb": 8192}`,
}

// appendMachine appends the machine object. No value of ours needs escaping.
func (d *Dataset) appendMachine(b []byte, a *App, m *Machine) []byte {
	r := seeded(d.seed, "machine", int(m.number))
	created := birth.Add(time.Duration(m.number) * 11 * time.Second)
	updated := created.Add(time.Duration(r.below(7*24*3600)) * time.Second)

	field := func(key, value string) {
		b = append(b, `, "`...)
		b = append(b, key...)
		b = append(b, `": "`...)
		b = append(b, value...)
		b = append(b, '"')
	}
	b = append(b, `{"id": "`...)
	b = append(b, m.ID...)
	b = append(b, '"')
	field("name", adjectives[r.below(len(adjectives))]+"-"+nouns[r.below(len(nouns))]+"-"+strconv.Itoa(1000+r.below(9000)))
	field("state", m.State)
	field("region", m.Region)
	field("instance_id", instanceID(&r))
	field("private_ip", m.Addr.String())

	b = append(b, `, "config": {"env": {"FLY_PROCESS_GROUP": "`...)
	b = append(b, m.Group()...)
	b = append(b, `", "PRIMARY_REGION": "`...)
	b = append(b, a.Machines[0].Region...)
	b = append(b, `"}, "init": {}, "guest": `...)
	b = append(b, guests[len(a.Name)%len(guests)]...)
	b = append(b, `, "metadata": {`...)
	for i, p := range m.Metadata {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, '"')
		b = append(b, p.Key...)
		b = append(b, `": "`...)
		b = append(b, p.Value...)
		b = append(b, '"')
	}
	b = append(b, `}, "image": "registry.fly.io/`...)
	b = append(b, a.Name...)
	b = append(b, `:deployment-`...)
	b = append(b, instanceID(&r)...)
	b = append(b, `", "restart": {"policy": "on-failure", "max_retries": 10}}`...)

	b = append(b, `, "image_ref": {"registry": "registry.fly.io", "repository": "`...)
	b = append(b, a.Name...)
	b = append(b, `"}`...)
	field("created_at", created.Format(time.RFC3339))
	field("updated_at", updated.Format(time.RFC3339))
	b = append(b, `, "events": [{"type": "start", "status": "`...)
	b = append(b, m.State...)
	b = append(b, `", "source": "flyd", "timestamp": `...)
	b = strconv.AppendInt(b, updated.UnixMilli(), 10)
	b = append(b, "}]"...)
	return append(b, '}')
}

// instanceID returns something that looks like a ULID, which instance
// identifiers and deployment tags are.
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
