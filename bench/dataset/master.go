package dataset

import (
	"bufio"
	"io"
)

// masterHead is what stands in front of the names: the apex as the server has
// it, and the name server's own address.
const masterHead = `$ORIGIN internal.
$TTL 5
@ IN SOA _api hostmaster 1 3600 600 86400 5
@ IN NS _api
_api IN AAAA fdaa::3
`

// placeholder is the record that makes a name exist which has neither
// addresses nor text. Nobody asks for its type.
const placeholder = `HINFO "-" "-"`

// WriteMaster writes the names of one network as a master file of the zone
// internal., one record on a line: what a server answers from it is what
// internaldns answers that network's askers to Queries.
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

func appendRecords(b []byte, n *name) []byte {
	owner := n.owner[:len(n.owner)-len(".internal")]
	begin := func() { b = append(append(b, owner...), " IN "...) }
	if len(n.addrs) == 0 && n.text == nil {
		begin()
		b = append(append(b, placeholder...), '\n')
	}
	for _, a := range n.addrs {
		begin()
		b = append(b, "AAAA "...)
		b = append(a.AppendTo(b), '\n')
	}
	if n.text != nil {
		begin()
		b = append(b, "TXT"...)
		for _, s := range n.text {
			b = append(b, ` "`...)
			b = append(b, s...)
			b = append(b, '"')
		}
		b = append(b, '\n')
	}
	return b
}
