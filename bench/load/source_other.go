//go:build unix && !linux

package load

import "net/netip"

// bindSource leaves the source to the system: elsewhere than on Linux, only
// 127.0.0.1 of the loopback net is there to be bound to.
func bindSource(int, netip.Addr) error { return nil }
