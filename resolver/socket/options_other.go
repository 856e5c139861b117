//go:build !linux

package socket

// On these systems one socket serves an address, which must be on an interface.

func setUDPOptions(int, string, bool) error { return nil }

func setFreebind(int, string) error { return nil }
