// Package wire reads DNS queries and writes the frame of responses, as octets.
//
// A Query is one parsed query, and a Verdict is what its form alone decides. The Append
// functions write the header, question and OPT record of a response. Other packages write
// the records between question and OPT.
//
// Package wire has no state and knows no names. It allocates only if a slice to append to
// lacks room. It depends on the standard library only, and not on fmt.
//
// # Form of a query
//
// Parse decides in this order, and the first that applies wins:
//
//	under 12 octets, or a response                       Drop
//	opcode is not QUERY                                  NotImp
//	malformed; QDCOUNT is not 1; records in answer or
//	authority; a broken OPT or cookie; a signature
//	that is not last                                     FormErr
//	EDNS version above 0                                 BadVers
//	a TSIG or SIG(0) record                              NotAuth
//	class is not IN; QTYPE AXFR or IXFR                  Refused
//	QTYPE OPT, TSIG, TKEY, MAILA or MAILB                FormErr
//	anything else                                        Answer
package wire
