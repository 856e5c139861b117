// Package hang measures what clients notice when upstreams do not answer: the
// latency of local names while queries for other names wait for an upstream,
// beside that of an idle forwarder, and how long clients wait when the first of
// two upstreams is silent.
//
// It runs internaldns with its sample registry, and upstreams, on loopback. Idle
// and waiting forwarders are measured in turn, so that other programs disturb both
// alike.
package hang
