package wire

import "net/netip"

// A Client is what the form of a response depends on beside the query.
type Client struct {
	Addr    netip.Addr
	Limit   int     // most octets of the response; over UDP, never more than Query.UDPSize
	Stream  bool    // asks over TCP: there is no larger room to come back for
	Options Options // of the response's OPT; whoever responds fills in EDE
}
