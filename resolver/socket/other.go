//go:build !linux

package socket

// On systems other than Linux, one socket serves an address, which must be on an
// interface, and a thread has no niceness of its own.

func setUDPOptions(int, string, bool) error { return nil }

func setFreebind(int, string) error { return nil }

func threadID() int { return 0 }

func requestShortSlices() {}

func reniceOthers(map[int]bool) {}
