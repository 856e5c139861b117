package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"go.uber.org/zap/zapcore"

	"github.com/internaldns/internaldns/registry"
)

// The check functions say what is wrong with one text that a setting was given.

func notEmpty(s string) error {
	if s == "" {
		return errors.New("must not be empty")
	}
	return nil
}

// checkHostPort wants an address and a port. Host names would have to be
// resolved, perhaps by ourselves.
func checkHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("want HOST:PORT such as 127.0.0.1:5300 or [::1]:5300, got %q", s)
	}
	var faults []error
	if host != "" {
		if _, err := netip.ParseAddr(host); err != nil {
			faults = append(faults, fmt.Errorf("host of %q is no IP address", s))
		}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		faults = append(faults, fmt.Errorf("port of %q is no number from 0 to 65535", s))
	}
	return errors.Join(faults...)
}

func checkAdmin(s string) error {
	if s == off {
		return nil
	}
	if err := checkHostPort(s); err != nil {
		return fmt.Errorf("%w, or write %q", err, off)
	}
	return nil
}

func checkAllow(s string) error {
	_, err := parsePrefix(s)
	return err
}

func checkNetwork(s string) error {
	_, err := registry.ParseNetwork(s)
	return err
}

func checkClient(s string) error {
	_, err := parseClient(s)
	return err
}

// checkClients wants each prefix to be placed once.
func checkClients(items []string) error {
	placed := make(map[netip.Prefix]bool)
	var faults []error
	for _, s := range items {
		c, err := parseClient(s)
		if err == nil && placed[c.Prefix] {
			err = fmt.Errorf("%v is placed twice", c.Prefix)
		}
		faults = append(faults, err)
		placed[c.Prefix] = true
	}
	return errors.Join(faults...)
}

// checkRegion asks the registry, whose rules are the ones that count.
func checkRegion(s string) error {
	facts := registry.Facts{Regions: []registry.Region{{Code: registry.Fold(s)}}}
	var faults registry.Faults
	if errors.As(facts.Validate(), &faults) {
		return errors.New(faults[0].Problem)
	}
	return nil
}

func checkLogLevel(s string) error {
	switch s {
	case "debug", "info", "warn", "error":
		return nil
	}
	return fmt.Errorf("want debug, info, warn or error, got %q", s)
}

// level returns the log level that c asks for.
func (c *config) level() zapcore.Level {
	l, err := zapcore.ParseLevel(c.LogLevel)
	if err != nil {
		panic(err) // load has checked it
	}
	return l
}
