//go:build linux

package hang

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"
)

// failover asks p.Failover questions, one after another, of a server whose first
// upstream does not answer, and returns how long the longest took. If spoke is
// set, both upstreams answered until then.
func failover(ctx context.Context, p *Plan, spoke bool) (time.Duration, error) {
	first, err := newUpstream()
	if err != nil {
		return 0, err
	}
	defer first.Close()
	second, err := newUpstream()
	if err != nil {
		return 0, err
	}
	defer second.Close()
	first.silent.Store(!spoke)
	s, err := serve(ctx, p, first, second)
	if err != nil {
		return 0, err
	}
	defer s.Stop()
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.DNS))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	names := 0
	ask := func() (time.Duration, error) {
		names++
		id := uint16(names)
		began := time.Now()
		conn.SetDeadline(began.Add(10 * time.Second))
		if _, err := conn.Write(query(id, fmt.Sprintf("n%d.example", names))); err != nil {
			return 0, err
		}
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err != nil {
			return 0, err
		}
		if n < headerLen || binary.BigEndian.Uint16(buf) != id || buf[3]&0xF != 0 || binary.BigEndian.Uint16(buf[6:]) != 1 {
			return 0, fmt.Errorf("name %d is answered %x", names, buf[:n])
		}
		return time.Since(began), nil
	}
	if spoke {
		for range 100 {
			if _, err := ask(); err != nil {
				return 0, err
			}
		}
		first.silent.Store(true)
	}
	longest := time.Duration(0)
	for range p.Failover {
		took, err := ask()
		if err != nil {
			return 0, err
		}
		longest = max(longest, took)
	}
	return longest, nil
}
