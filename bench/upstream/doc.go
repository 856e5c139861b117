// Package upstream is the server that forwarders are measured in front of: it
// answers every name of one zone, with addresses that follow from the name, and
// counts what it is asked. So an unending number of questions has answers that
// can be told right from wrong, and nothing has to be kept for them.
//
// It is to be as cheap as it can be, because it works on the generator's CPU:
// one socket, datagrams in batches, responses written over the queries. It speaks
// UDP only.
//
// A Server answers in the background (Run), or in the turns of whoever holds it
// (Hold, Turn): the generator has no CPU to share with another thread while it
// measures, and a server measured is not to pay for waking one.
package upstream
