//go:build !linux

package resolver

// Elsewhere threads have no niceness of their own.

func threadID() int { return 0 }

func hurry() {}

func stepBehind(map[int]bool) {}
