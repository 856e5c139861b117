//go:build linux

package peers

import (
	"context"
	"errors"
	"runtime"
	"strconv"
)

// ours returns internaldns: by name, on one address and without its admin
// listener, as the others are; on all addresses; with metrics to be read; or
// forwarding what is not its own, and otherwise as the first.
func ours(t Tools, name string) Peer {
	p := Peer{
		Name:     name,
		Get:      "go build ./cmd/internaldns",
		Wildcard: name == nameWildcard,
		Admin:    name == nameMetrics,
		Registry: true,
		Forwards: name == nameForward,
	}
	p.Version = func(ctx context.Context) (string, error) {
		if !exists(t.InternalDNS) {
			return "", errors.Join(errors.New("internaldns is not built"), t.InternalErr)
		}
		return ask(ctx, "internaldns", t.InternalDNS, "version")
	}
	p.Command = func(s *Site) ([]string, error) {
		if !exists(t.InternalDNS) {
			return nil, errors.New("internaldns is not built")
		}
		listen := s.Listen.String()
		if p.Wildcard {
			listen = "[::]:" + strconv.Itoa(int(s.Listen.Port()))
		}
		admin := "off"
		if p.Admin {
			admin = s.Admin.String()
		}
		client := "=" + s.Network.String() + ",ams"
		argv := []string{
			t.InternalDNS, "serve", "--registry", s.Registry, "--listen", listen,
			"--client", "127.0.0.0/8" + client, "--client", "::1/128" + client, "--admin", admin,
		}
		if p.Forwards {
			argv = append(argv, "--upstream", s.Upstream.String())
		}
		return argv, nil
	}
	return p
}

// sizedOctets is about the mean size of a response to dataset's queries: an
// address record is 28 octets, and an app has eight or nine.
const sizedOctets = 300

// echoPeer returns the echo whose answers have at least so many octets. With 0,
// it is what others are measured by.
func echoPeer(t Tools, least int) Peer {
	name := nameEcho
	if least > 0 {
		name = nameSized
	}
	return Peer{
		Name: name,
		Echo: true,
		Get:  "part of this program",
		Version: func(context.Context) (string, error) {
			if exists(t.Echo) {
				return "recvmmsg and sendmmsg by 32, C", nil
			}
			return "recvmmsg and sendmmsg by 32, Go (no C compiler here)", nil
		},
		Command: func(s *Site) ([]string, error) {
			if exists(t.Echo) {
				return []string{t.Echo, s.Listen.Addr().String(), strconv.Itoa(int(s.Listen.Port())), strconv.Itoa(least)}, nil
			}
			return []string{t.Self, SelfEcho, s.Listen.String(), strconv.Itoa(least)}, nil
		},
	}
}

func mapPeer(t Tools) Peer {
	return Peer{
		Name: "miekg-map",
		Get:  "part of this program",
		Version: func(context.Context) (string, error) {
			return "miekg/dns " + moduleVersion("github.com/miekg/dns") + ", a map of names, " + runtime.Version(), nil
		},
		Command: func(s *Site) ([]string, error) {
			return []string{t.Self, SelfMap, s.Listen.String(), s.Master}, nil
		},
	}
}
