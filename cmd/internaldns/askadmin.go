package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// What askAdmin waits for and takes.
const (
	askAdminTime   = 10 * time.Second
	askAdminOctets = 1 << 20
)

// askAdmin asks the admin listener that c names, and returns what it says with
// status 200. Any other status is an error, in the words of the listener.
func askAdmin(ctx context.Context, c *config, method, path string) ([]byte, error) {
	if c.Admin == off {
		return nil, errors.New(`admin: is "off"; want where the server has its admin listener`)
	}
	ctx, cancel := context.WithTimeout(ctx, askAdminTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+reachable(c.Admin)+path, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // and no proxy
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w; is the server's admin listener there? --admin says where", errors.Unwrap(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, askAdminOctets))
	if err != nil {
		return nil, fmt.Errorf("the response of the admin listener: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(strings.TrimSpace(string(body)))
	}
	return body, nil
}

// reachable returns where to reach a listener at HOST:PORT: no host, and an
// unspecified one, are loopback.
func reachable(hostPort string) string {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return hostPort
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && addr == netip.IPv4Unspecified():
		host = "127.0.0.1"
	case err == nil && addr == netip.IPv6Unspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
