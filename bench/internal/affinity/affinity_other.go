//go:build !linux

package affinity

// Pin returns ErrUnsupported.
func Pin(int) error { return ErrUnsupported }

// CPUs returns nothing.
func CPUs() []int { return nil }
