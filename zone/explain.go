package zone

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// An Explanation is one answer and the reasons for it, for people. It tells a
// client's network nothing that its own names do not: an app of another network
// is as absent from it as one that nobody has.
type Explanation struct {
	Src, Dst netip.Addr
	Type     uint16 // QTYPE
	Name     string // QNAME, with its final dot

	// Network is the network whose names the client sees; 0 if it sees none.
	Network       registry.Network
	NetworkReason string
	// Region is where the client is taken to be; "" if that is unknown.
	Region       string
	RegionReason string

	// Form is the form of the name as the package comment lists it, such as
	// "<region>.<app>.internal"; "" if the name has none of them, as those have
	// that only lie above others.
	Form string
	// NameReason says what the name stands for, or why it does not exist.
	NameReason string

	// Finding is what the lookup found, and RCode the response code that follows
	// from it.
	Finding Finding
	RCode   wire.RCode
	// Records is the answer section: type and RDATA of each record.
	Records []string
	// Cut tells that not all records fit a message.
	Cut bool

	// LeftOut lists what belongs to the app or list that was asked for and is not
	// in the answer.
	LeftOut []LeftOut
}

// LeftOut is a machine or peer that is not in an answer.
type LeftOut struct {
	Object string // such as "machine 6e82de14c35038 in sin"
	Reason string // such as "its state is stopped, not started"
}

// Explain answers one question as a server with the facts of snap and the
// options o would, and says why. It compiles the names of one network, so it
// costs what that network holds.
func Explain(snap *registry.Snapshot, o Options, src, dst netip.Addr, qtype uint16, name string) Explanation {
	x := explainer{snap: snap, Explanation: Explanation{
		Src: src.Unmap().WithZone(""), Dst: dst.Unmap().WithZone(""), Type: qtype, Name: dns.Fqdn(name),
	}}
	p := NewPublisher(o)
	empty := p.Table().For(src, dst)
	x.explainNetwork(&empty)
	x.explainRegion(&empty)

	question := new(dns.Msg).SetQuestion(x.Name, qtype)
	msg, err := question.Pack()
	if err != nil {
		x.Finding, x.RCode = NotOurs, wire.FormErrR
		x.NameReason = "it is no domain name"
		return x.Explanation
	}
	var q wire.Query
	if v := q.Parse(msg); v != wire.Answer {
		x.Finding, x.RCode = Refused, v.RCode()
		x.NameReason = "questions of this type are answered without a look at the name"
		return x.Explanation
	}

	commitNetwork(p, snap, x.Network)
	view := p.Table().For(src, dst)
	var a Answer
	view.Lookup(&q, wire.MaxMessageLen, &a)
	x.answer(&q, &a)
	if x.Finding == NXDomain || x.Finding == NoData || x.Finding == Data {
		x.inAnswer = addressesOf(&view, &q)
	}
	x.explainName(&q)
	return x.Explanation
}

// commitNetwork makes p's table that of one network in snap, without the others.
func commitNetwork(p *Publisher, snap *registry.Snapshot, n registry.Network) {
	changes := registry.Changes{Index: snap.NetworkIndex(n), Geography: true}
	if n != 0 {
		changes.Networks = []registry.Network{n}
		for a := range snap.AppsIn(n) {
			changes.Others = append(changes.Others, registry.Change{After: a})
			for m := range snap.Machines(a) {
				changes.Machines = append(changes.Machines, registry.MachineChange{After: m})
			}
		}
		for peer := range snap.PeersIn(n) {
			changes.Others = append(changes.Others, registry.Change{After: peer})
		}
		for f := range snap.FlycastIn(n) {
			changes.Others = append(changes.Others, registry.Change{After: f})
		}
	}
	p.Commit(snap, &changes)
	p.Ready()
}

// addressesOf returns the addresses that the name of q stands for, whatever the
// type asked.
func addressesOf(v *View, q *wire.Query) map[netip.Addr]bool {
	in := make(map[netip.Addr]bool)
	asked := q.Type
	q.Type = wire.TypeAAAA
	var a Answer
	v.Lookup(q, wire.MaxMessageLen, &a)
	q.Type = asked
	switch {
	case a.Finding != Data:
	case a.kind == addresses:
		for chunk := range a.set.chunks {
			for _, addr := range chunk {
				in[netip.AddrFrom16(addr)] = true
			}
		}
	case a.kind == nearestList:
		for _, m := range a.list {
			in[netip.AddrFrom16(m.addr)] = true
		}
	}
	return in
}

// An explainer is an Explanation in the making.
type explainer struct {
	Explanation
	snap     *registry.Snapshot
	inAnswer map[netip.Addr]bool // the addresses that the name has
}

// explainNetwork says which rule placed the client in its network.
func (x *explainer) explainNetwork(v *View) {
	x.Network = v.Network()
	source, named := registry.NetworkOf(x.Src)
	switch {
	case v.conflict:
		x.Network = 0
		there, _ := registry.NetworkOf(x.Dst)
		x.NetworkReason = fmt.Sprintf("the source address is in %v, the destination in %v", source, there)
	case named:
		x.NetworkReason = "the source address is in it"
	case x.Network != 0 && x.Dst == x.Network.Server():
		x.NetworkReason = fmt.Sprintf("the destination %v is its server", x.Dst)
	case x.Network != 0:
		x.NetworkReason = fmt.Sprintf("clients in %v are placed in it", v.client.Prefix)
	case v.client != nil:
		x.NetworkReason = fmt.Sprintf("clients in %v are placed in none", v.client.Prefix)
	default:
		x.NetworkReason = "neither the source nor the destination address names one, and no configured client prefix holds the source"
	}
}

// explainRegion says which rule placed the client in its region.
func (x *explainer) explainRegion(v *View) {
	if n, ok := registry.NetworkOf(x.Src); ok && n == x.Network {
		if m := x.snap.MachineAt(x.Src); m != nil {
			x.Region, x.RegionReason = m.Region, fmt.Sprintf("that of machine %s, which has the source address", m.ID)
			return
		}
		if p := x.snap.PeerAt(x.Src); p != nil && p.Region != "" {
			x.Region, x.RegionReason = p.Region, fmt.Sprintf("that of peer %s, which has the source address", p.Name)
			return
		}
		var beside []*registry.Machine
		for m := range x.snap.MachinesBeside(x.Src) {
			beside = append(beside, m)
		}
		if len(beside) == 1 {
			x.Region = beside[0].Region
			x.RegionReason = fmt.Sprintf("that of machine %s, whose /112 holds the source address", beside[0].ID)
			return
		}
	}
	switch {
	case v.client != nil && v.client.Region != "":
		x.Region, x.RegionReason = v.client.Region, fmt.Sprintf("that of clients in %v", v.client.Prefix)
	case v.shared.region != "":
		x.Region, x.RegionReason = v.shared.region, "the server's own; the client's is unknown"
	default:
		x.RegionReason = "nothing tells where the client is"
	}
}

// answer takes down the response.
func (x *explainer) answer(q *wire.Query, a *Answer) {
	x.Finding, x.RCode = a.Finding, a.RCode()
	if a.Finding != Data {
		return
	}
	var msg []byte
	msg, x.Cut = a.AppendTo(nil, q, Frame{Limit: wire.MaxMessageLen})
	var m dns.Msg
	if err := m.Unpack(msg); err != nil {
		panic(err) // we made it
	}
	for _, rr := range m.Answer {
		h := rr.Header()
		rdata := strings.TrimPrefix(rr.String(), h.String())
		x.Records = append(x.Records, dns.TypeToString[h.Rrtype]+" "+rdata)
	}
}

// String returns the explanation as a text of several lines.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s, asked by %v at %v\n\n", typeName(e.Type), e.Name, e.Src, e.Dst)
	network, region := "none", "none"
	if e.Network != 0 {
		network = e.Network.String()
	}
	if e.Region != "" {
		region = e.Region
	}
	name := e.NameReason
	if e.Form != "" {
		name = e.Form + ": " + name
	}
	fmt.Fprintf(&b, "network   %s: %s\n", network, e.NetworkReason)
	fmt.Fprintf(&b, "region    %s: %s\n", region, e.RegionReason)
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

// outcome says what the response is, short of its records.
func (e *Explanation) outcome() string {
	switch {
	case e.Finding == NotOurs && e.RCode != wire.FormErrR:
		return "none of ours; a question for an upstream"
	case e.Finding == NoData:
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
