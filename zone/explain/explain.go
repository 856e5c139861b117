// Package explain says in words why a name is answered as it is: which network
// and region the client is placed in, what the name stands for, and which
// machines are not in the answer.
//
// The answer itself comes from package zone, compiled from the same facts as a
// server's. The reasons are found a second way, from the facts alone: names.go
// has one case for each name form.
package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// An Explanation is one answer and the reasons for it. It tells a client no more
// about other networks than an answer does: an app that only another network has
// is explained like an app that does not exist.
type Explanation struct {
	Src, Dst netip.Addr
	Type     uint16 // QTYPE
	Name     string // QNAME, with its final dot

	// Network is the network whose names the client sees; 0 if it sees none.
	Network       registry.Network
	NetworkReason string
	// Region is the region in which the client is placed; "" if it is unknown.
	Region       string
	RegionReason string

	// Form is the name form as the comment of package zone lists it, such as
	// "<region>.<app>.internal". It is "" for a name of no form, such as one that
	// exists only because other names are below it.
	Form string
	// NameReason says what the name stands for, or why it does not exist.
	NameReason string

	// Finding is the result of the lookup, and RCode the response code for it.
	Finding zone.Finding
	RCode   wire.RCode
	// Records is the answer section: type and RDATA of each record.
	Records []string
	// Cut reports that not all records fit in a message.
	Cut bool

	// LeftOut lists the machines and peers that belong to the app or list of the
	// question and are not in the answer.
	LeftOut []LeftOut
}

// LeftOut is a machine or peer that is not in an answer.
type LeftOut struct {
	Object string // such as "machine 6e82de14c35038 in sin"
	Reason string // such as "its state is stopped, not started"
}

// Explain answers one question as a server with the facts of snap and the options
// o does, and gives the reasons. It compiles the names of the client's network, so
// its work grows with that network.
func Explain(snap *registry.Snapshot, o zone.Options, src, dst netip.Addr, qtype uint16, name string) Explanation {
	x := explainer{snap: snap, publisher: zone.NewPublisher(o), Explanation: Explanation{
		Src: src.Unmap().WithZone(""), Dst: dst.Unmap().WithZone(""), Type: qtype, Name: dns.Fqdn(name),
	}}
	for i, c := range o.Clients {
		if c.Prefix.Contains(x.Src) && (x.client == nil || c.Prefix.Bits() > x.client.Prefix.Bits()) {
			x.client = &o.Clients[i]
		}
	}
	x.explainNetwork()
	x.explainRegion(o.Region)

	msg, err := new(dns.Msg).SetQuestion(x.Name, qtype).Pack()
	if err != nil {
		x.Finding, x.RCode = zone.OutOfZone, wire.FormErrR
		x.NameReason = "it is no domain name"
		return x.Explanation
	}
	var q wire.Query
	if v := q.Parse(msg); v != wire.Answer {
		x.Finding, x.RCode = zone.Refused, v.RCode()
		x.NameReason = "questions of this type are answered without a look at the name"
		return x.Explanation
	}
	x.commitNetwork()
	a, records, cut := x.answer(&q)
	x.Finding, x.RCode, x.Cut = a.Finding, a.RCode(), cut
	for _, rr := range records {
		h := rr.Header()
		x.Records = append(x.Records, typeName(h.Rrtype)+" "+strings.TrimPrefix(rr.String(), h.String()))
	}
	x.explainName(&q)
	return x.Explanation
}

// An explainer makes one Explanation.
type explainer struct {
	Explanation
	snap      *registry.Snapshot
	publisher *zone.Publisher
	client    *zone.Client // the entry of the options for the source address, or nil
}

// commitNetwork compiles the facts of the client's network, and no others.
func (x *explainer) commitNetwork() {
	n := x.Network
	changes := registry.Changes{Index: x.snap.NetworkIndex(n), Geography: true}
	if n != 0 {
		changes.Networks = []registry.Network{n}
		for a := range x.snap.AppsIn(n) {
			changes.Others = append(changes.Others, registry.Change{After: a})
			for m := range x.snap.Machines(a) {
				changes.Machines = append(changes.Machines, registry.MachineChange{After: m})
			}
		}
		for peer := range x.snap.PeersIn(n) {
			changes.Others = append(changes.Others, registry.Change{After: peer})
		}
		for f := range x.snap.FlycastIn(n) {
			changes.Others = append(changes.Others, registry.Change{After: f})
		}
	}
	x.publisher.Commit(x.snap, &changes)
	x.publisher.Ready()
}

// answer returns the answer to q and the records of its answer section, and
// reports whether the message had no room for more. There are no records unless
// the finding is zone.Data.
func (x *explainer) answer(q *wire.Query) (a *zone.Answer, records []dns.RR, cut bool) {
	a = new(zone.Answer)
	view := x.publisher.Table().For(x.Src, x.Dst)
	if view.Lookup(q, wire.MaxMessageLen, a); a.Finding != zone.Data {
		return a, nil, false
	}
	msg, cut := a.AppendTo(nil, q, zone.Frame{Limit: wire.MaxMessageLen})
	var m dns.Msg
	if err := m.Unpack(msg); err != nil {
		panic(err) // the message is our own
	}
	return a, m.Answer, cut
}

// explainNetwork says which rule placed the client in its network.
func (x *explainer) explainNetwork() {
	view := x.publisher.Table().For(x.Src, x.Dst)
	x.Network = view.Network()
	source, named := registry.NetworkOf(x.Src)
	destination, conflict := registry.NetworkOf(x.Dst)
	switch {
	case named && conflict && source != destination:
		x.Network = 0
		x.NetworkReason = fmt.Sprintf("the source address is in %v, the destination in %v", source, destination)
	case named:
		x.NetworkReason = "the source address is in it"
	case x.Network != 0 && x.Dst == x.Network.Server():
		x.NetworkReason = fmt.Sprintf("the destination %v is its server", x.Dst)
	case x.Network != 0:
		x.NetworkReason = fmt.Sprintf("clients in %v are placed in it", x.client.Prefix.Masked())
	case x.client != nil:
		x.NetworkReason = fmt.Sprintf("clients in %v are placed in none", x.client.Prefix.Masked())
	default:
		x.NetworkReason = "neither the source nor the destination address names one, and no configured client prefix holds the source"
	}
}

// explainRegion says which rule placed the client in its region. server is the
// region of the server.
func (x *explainer) explainRegion(server string) {
	if n, ok := registry.NetworkOf(x.Src); ok && n == x.Network {
		if m := x.snap.MachineAt(x.Src); m != nil {
			x.Region, x.RegionReason = m.Region, fmt.Sprintf("that of machine %s, which has the source address", m.ID)
			return
		}
		if p := x.snap.PeerAt(x.Src); p != nil && p.Region != "" {
			x.Region, x.RegionReason = p.Region, fmt.Sprintf("that of peer %s, which has the source address", p.Name)
			return
		}
		if beside := slices.Collect(x.snap.MachinesBeside(x.Src)); len(beside) == 1 {
			x.Region = beside[0].Region
			x.RegionReason = fmt.Sprintf("that of machine %s, whose /112 holds the source address", beside[0].ID)
			return
		}
	}
	switch {
	case x.client != nil && x.client.Region != "":
		x.Region, x.RegionReason = x.client.Region, fmt.Sprintf("that of clients in %v", x.client.Prefix.Masked())
	case server != "":
		x.Region, x.RegionReason = server, "the server's own; the client's is unknown"
	default:
		x.RegionReason = "nothing tells where the client is"
	}
}

// String returns the explanation as a text of several lines.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s, asked by %v at %v\n\n", typeName(e.Type), e.Name, e.Src, e.Dst)
	network := "none"
	if e.Network != 0 {
		network = e.Network.String()
	}
	name := e.NameReason
	if e.Form != "" {
		name = e.Form + ": " + name
	}
	fmt.Fprintf(&b, "network   %s: %s\n", network, e.NetworkReason)
	fmt.Fprintf(&b, "region    %s: %s\n", cmp.Or(e.Region, "none"), e.RegionReason)
	fmt.Fprintf(&b, "name      %s\n", name)
	fmt.Fprintf(&b, "answer    %s\n", e.outcome())
	for _, r := range e.Records {
		fmt.Fprintf(&b, "          %s\n", r)
	}
	title := "left out"
	for _, l := range e.LeftOut {
		fmt.Fprintf(&b, "%-9s %s: %s\n", title, l.Object, l.Reason)
		title = ""
	}
	return b.String()
}

// outcome describes the response without its records.
func (e *Explanation) outcome() string {
	switch {
	case e.Finding == zone.OutOfZone && e.RCode != wire.FormErrR:
		return "none of ours; a question for an upstream"
	case e.Finding == zone.NoData:
		return "NOERROR without records (NODATA)"
	case e.Cut:
		return e.RCode.String() + ", with as much as a message holds"
	}
	return e.RCode.String()
}

func typeName(qtype uint16) string {
	if s, ok := dns.TypeToString[qtype]; ok {
		return s
	}
	return fmt.Sprintf("TYPE%d", qtype)
}
