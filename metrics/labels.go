package metrics

// Values of the label proto: the transports.
const (
	UDP = "udp"
	TCP = "tcp"
)

// families are the values of the label family, as CoreDNS writes them.
var families = [...]string{"1", "2"}

// types are the values of the label type, and typeAt finds a QTYPE's place
// among them. Types that nobody asks an internal resolver for, and numbers that
// are no type, are all "other": a client must not be able to make series.
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

// rcodes are the values of the label rcode, and rcodeAt finds a response code's
// place among them (RFC 6895, Section 2.3). Forwarded responses may carry any.
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
	// DropShort is a message under 12 octets: without a header it has no response.
	DropShort Reason = iota
	// DropResponse is a message with QR set. Responding to responses is how
	// two servers keep each other busy for ever.
	DropResponse
	// DropCut is a datagram larger than the buffer it was read into.
	DropCut
	// DropSource is a datagram from a port or address that cannot be sent to.
	DropSource
	// DropStale is a query that waited until its client had given up.
	DropStale
	// DropSend is a response that the system did not take, or that came from an
	// upstream when the TCP connection was gone.
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
	// ClosedIdle is a connection on which nothing came for too long.
	ClosedIdle
	// ClosedOld is a connection that lasted as long as one may.
	ClosedOld
	// ClosedFull is a connection that made room for another, since as many were
	// open as may be: the one that had been idle for longest. Or the new one, if
	// none could be closed for it.
	ClosedFull
	// ClosedFrame is a connection whose client sent what cannot be decoded as
	// messages.
	ClosedFrame
	// ClosedRead is a connection that broke while reading.
	ClosedRead
	// ClosedWrite is a connection whose client did not take the responses.
	ClosedWrite
	// ClosedStop is a connection that the end of the server ended.
	ClosedStop
	numClosings
)

var closings = [numClosings]string{"client", "idle", "old", "full", "frame", "read", "write", "stop"}

// String returns the value of the label reason.
func (c Closing) String() string { return closings[c] }

// stateUnknown is the value of the label state for states that are not among
// those known.
const stateUnknown = "unknown"
