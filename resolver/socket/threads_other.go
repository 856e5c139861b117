//go:build !linux

package socket

// On these systems a thread has no niceness of its own.

func threadID() int { return 0 }

func requestShortSlices() {}

func reniceOthers(map[int]bool) {}
