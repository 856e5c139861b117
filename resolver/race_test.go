//go:build race

package resolver

// With the race detector, all takes several times as long.
const defaultPackets = 25_000
