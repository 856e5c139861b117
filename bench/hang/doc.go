// Package hang measures what upstreams in trouble cost clients: the latency of
// local names while queries for the world's hang, beside that of an idle
// forwarder, and how long clients wait when the first of two upstreams is silent.
//
// It runs an internaldns with its sample, and upstreams, on loopback. Local names
// are asked for by a process of its own. Whatever else the machine does is in both
// of what is compared, since they are measured in turn; on a machine that is busy
// neither means much.
package hang
