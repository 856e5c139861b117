//go:build !race

package resolver

// raceEnabled says that the tests run with the race detector.
const raceEnabled = false

const defaultPackets = 100_000
