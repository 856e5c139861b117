package wire

// Sizes, in octets.
const (
	// HeaderLen is the length of a message's header (RFC 1035, Section 4.1.1).
	HeaderLen = 12

	// MaxNameLen is the longest domain name in wire format, root label
	// included (RFC 1035, Section 2.3.4).
	MaxNameLen = 255

	// MaxLabelLen is the longest label, its length octet not counted (RFC
	// 1035, Section 2.3.4).
	MaxLabelLen = 63

	// MaxLabels is the most labels a name can have, root not counted: each
	// takes two octets at least.
	MaxLabels = 127

	// MinUDPSize is the largest UDP response that a client without EDNS can
	// take (RFC 1035, Section 4.2.1), and the least that EDNS can ask for (RFC
	// 6891, Section 6.2.3).
	MinUDPSize = 512

	// MaxMessageLen is the longest message, over TCP (RFC 1035, Section
	// 4.2.2).
	MaxMessageLen = 65535

	// ReceiveSize is the largest datagram that we reassemble and read whole, as
	// our OPT records announce it. Datagrams of this size pass every path
	// without fragments. Queries are far shorter.
	ReceiveSize = 1232

	// MaxErrorLen is the longest response without records but an OPT: header,
	// question, OPT with an extended error and a keepalive.
	MaxErrorLen = HeaderLen + MaxNameLen + 4 + EmptyOPTLen + 6 + 6
)

// Types of records and questions that the server distinguishes (IANA, DNS
// parameters).
const (
	TypeA     = 1
	TypeNS    = 2
	TypeCNAME = 5
	TypeSOA   = 6
	TypePTR   = 12
	TypeTXT   = 16
	TypeSIG   = 24
	TypeAAAA  = 28
	TypeDNAME = 39
	TypeOPT   = 41
	TypeDS    = 43
	TypeRRSIG = 46
	TypeNSEC  = 47
	TypeNSEC3 = 50
	TypeTKEY  = 249
	TypeTSIG  = 250
	TypeIXFR  = 251
	TypeAXFR  = 252
	TypeMAILB = 253
	TypeMAILA = 254
	TypeANY   = 255
)

// ClassIN is the Internet class, the only one we serve.
const ClassIN = 1

// An RCode is a response code, extended ones included (RFC 6895, Section 2.3).
type RCode uint16

// The response codes we send.
const (
	NoError  RCode = 0
	FormErrR RCode = 1
	ServFail RCode = 2
	NXDomain RCode = 3
	NotImpR  RCode = 4
	RefusedR RCode = 5
	NotAuthR RCode = 9
	BadVersR RCode = 16
)

// String returns the mnemonic of RFC 6895 for the codes we send.
func (r RCode) String() string {
	switch r {
	case NoError:
		return "NOERROR"
	case FormErrR:
		return "FORMERR"
	case ServFail:
		return "SERVFAIL"
	case NXDomain:
		return "NXDOMAIN"
	case NotImpR:
		return "NOTIMP"
	case RefusedR:
		return "REFUSED"
	case NotAuthR:
		return "NOTAUTH"
	case BadVersR:
		return "BADVERS"
	}
	return "RCODE?"
}

// Bits of the header's second word (RFC 1035, Section 4.1.1; RFC 4035, Section
// 3.2).
const (
	FlagQR = 1 << 15
	FlagAA = 1 << 10
	FlagTC = 1 << 9
	FlagRD = 1 << 8
	FlagRA = 1 << 7
	FlagAD = 1 << 5
	FlagCD = 1 << 4

	OpcodeMask = 0xF << 11 // all bits of the opcode
)

// EDNS option codes (IANA, DNS EDNS0 option codes).
const (
	optionCookie    = 10 // RFC 7873
	optionKeepalive = 11 // RFC 7828
	OptionEDE       = 15 // RFC 8914
)

// Extended errors (RFC 8914, Section 5.2) that we send.
const (
	EDENone             = 0 // no extended error; in RFC 8914 the value means "other"
	EDEStale            = 3
	EDENotReady         = 14
	EDEProhibited       = 18
	EDEStaleNXDomain    = 19
	EDENotAuthoritative = 20 // the name is in no zone of ours and is not forwarded
	EDENoReach          = 22
	EDENetwork          = 23
)

// EmptyOPTLen is the length of an OPT record without options (RFC 6891, Section
// 6.1.2).
const EmptyOPTLen = 11
