//go:build !linux

package affinity

// Pin returns ErrUnsupported.
func Pin(int) error { return ErrUnsupported }

// PinProcess returns ErrUnsupported.
func PinProcess(int) (restore func(), err error) { return nil, ErrUnsupported }

// CPUs returns nothing.
func CPUs() []int { return nil }
