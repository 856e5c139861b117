//go:build !linux

package resolver

import "testing"

func (r *running) connect(t testing.TB) (*stream, func() string) { return r.spawned(t) }

func (r *running) stocked() int { return len(r.tcp.(*tcpSpawner).stock) }

func (r *running) breakTCP() { r.tcp.(*tcpSpawner).listeners[0].SetDeadline(past) }
