package metrics

// Values of the label proto: the transports.
const (
	UDP = "udp"
	TCP = "tcp"
)

// families are the values of the label family, as CoreDNS writes them.
var families = [...]string{"1", "2"}

// types are the values of the label type, and typeAt gives the index of a QTYPE in
// it. QTYPEs that are unusual for an internal resolver, or no type at all, are
// "other": clients must not be able to make new series.
var (
	types = [...]string{
		"other", "A", "NS", "CNAME", "SOA", "PTR", "MX", "TXT", "AAAA", "SRV",
		"NAPTR", "DS", "RRSIG", "NSEC", "DNSKEY", "SVCB", "HTTPS", "IXFR", "AXFR", "ANY",
	}
	typeAt = [256]uint8{
		1: 1, 2: 2, 5: 3, 6: 4, 12: 5, 15: 6, 16: 7, 28: 8, 33: 9,
		35: 10, 43: 11, 46: 12, 47: 13, 48: 14, 64: 15, 65: 16, 251: 17, 252: 18, 255: 19,
	}
)

// rcodes are the values of the label rcode, and rcodeAt gives the index of an RCODE in
// it (RFC 6895, Section 2.3). Forwarded responses can have any RCODE.
var (
	rcodes = [...]string{
		"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET",
		"NXRRSET", "NOTAUTH", "NOTZONE", "BADVERS", "BADCOOKIE", "other",
	}
	rcodeAt = [32]uint8{
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 13, 13, 13, 13, 11, 13, 13, 13, 13, 13, 13, 12,
		13, 13, 13, 13, 13, 13, 13, 13,
	}
)

// A Reason is why a message got no response.
type Reason uint8

// The reasons for no response.
const (
	// DropShort is a message of less than 12 octets. It has no header to respond to.
	DropShort Reason = iota
	// DropResponse is a message with QR set. Two servers that respond to responses
	// would send them to each other without end.
	DropResponse
	// DropCut is a datagram larger than the buffer it was read into.
	DropCut
	// DropSource is a datagram from a port or address that cannot be sent to.
	DropSource
	// DropStale is a query that waited so long that its client has given up.
	DropStale
	// DropSend is a response that the system refused, or whose TCP connection was
	// closed before it came from an upstream.
	DropSend
	numReasons
)

var reasons = [numReasons]string{"short", "response", "cut", "source", "stale", "send"}

// String returns the value of the label reason.
func (r Reason) String() string { return reasons[r] }

// A Closing is why a TCP connection ended.
type Closing uint8

// The reasons for the end of a connection.
const (
	// ClosedByClient is the usual end: the client has no more queries.
	ClosedByClient Closing = iota
	// ClosedIdle is a connection that was idle for too long.
	ClosedIdle
	// ClosedOld is a connection that reached the longest life of one.
	ClosedOld
	// ClosedFull is a connection that was closed because the most connections were
	// open: the one that was idle for longest or, if none was idle, the new one.
	ClosedFull
	// ClosedFrame is a connection whose octets could not be split into messages.
	ClosedFrame
	// ClosedRead is a connection on which reading failed.
	ClosedRead
	// ClosedWrite is a connection whose client did not read the responses.
	ClosedWrite
	// ClosedStop is a connection that was closed because the server stopped.
	ClosedStop
	numClosings
)

var closings = [numClosings]string{"client", "idle", "old", "full", "frame", "read", "write", "stop"}

// String returns the value of the label reason.
func (c Closing) String() string { return closings[c] }

// stateUnknown is the value of the label state for all unknown states.
const stateUnknown = "unknown"
