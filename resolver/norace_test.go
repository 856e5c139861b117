//go:build !race

package resolver

const defaultPackets = 100_000
