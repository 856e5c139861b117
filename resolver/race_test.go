//go:build race

package resolver

// raceEnabled says that the tests run with the race detector.
const raceEnabled = true

const defaultPackets = 25_000
