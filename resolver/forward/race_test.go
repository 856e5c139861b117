//go:build race

package forward

func init() { underRace = true }
