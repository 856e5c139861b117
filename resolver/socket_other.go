//go:build !linux

package resolver

// Elsewhere there is one socket at an address, which must be on an interface.

func setUDPOptions(int, string, bool) error { return nil }

func setFreebind(int, string) error { return nil }
