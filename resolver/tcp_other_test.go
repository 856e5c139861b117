//go:build !linux

package resolver

import "testing"

func (r *testServer) connect(t testing.TB) (*stream, func() string) { return r.connectGoroutine(t) }

func (r *testServer) stocked() int { return r.tcp.(*tcpGoroutines).stocked() }

func (r *testServer) breakTCP() { r.tcp.(*tcpGoroutines).breakListener() }
