package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/internaldns/internaldns/registry"
)

// set puts value, which is text or what YAML makes of text, where it belongs.
// The error has one line for each fault.
func (s *setting) set(c *config, value any) error {
	switch to := s.to(c).(type) {
	case *string:
		text, ok := value.(string)
		if !ok {
			return fmt.Errorf("want text, got %s", show(value))
		}
		if s.check != nil {
			if err := s.check(text); err != nil {
				return err
			}
		}
		*to = text
	case *[]string:
		return s.setList(to, value)
	case *int:
		n, err := strconv.ParseInt(fmt.Sprint(value), 10, 64)
		if err != nil {
			return fmt.Errorf("want a whole number, got %s", show(value))
		}
		if n < s.min || n > s.max {
			return fmt.Errorf("want %d to %d, got %d", s.min, s.max, n)
		}
		*to = int(n)
	case *bool:
		b, err := strconv.ParseBool(fmt.Sprint(value))
		if err != nil {
			return fmt.Errorf("want true or false, got %s", show(value))
		}
		*to = b
	case *time.Duration:
		return s.setDuration(to, value)
	default:
		panic(fmt.Sprintf("setting %s has type %T", s.path, to))
	}
	return nil
}

func (s *setting) setList(to *[]string, value any) error {
	var items []string
	switch list := value.(type) {
	case string:
		if list == "" || list != s.alone {
			return fmt.Errorf("want a list, got %s", show(value))
		}
		items = []string{list}
	case []string:
		items = list
	case []any:
		for _, v := range list {
			text, ok := v.(string)
			if !ok {
				return fmt.Errorf("want a list of texts, got %s in it", show(v))
			}
			items = append(items, text)
		}
	default:
		return fmt.Errorf("want a list, got %s", show(value))
	}
	var faults []error
	for i, item := range items {
		if slices.Contains(items[:i], item) {
			faults = append(faults, fmt.Errorf("%q is listed twice", item))
		} else if item == s.alone && item != "" {
			if len(items) > 1 {
				faults = append(faults, fmt.Errorf("%q replaces the whole list, so nothing can be beside it", item))
			}
		} else if err := s.check(item); err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) == 0 && s.together != nil && !slices.Contains(items, s.alone) {
		faults = append(faults, s.together(items))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	*to = items
	return nil
}

func (s *setting) setDuration(to *time.Duration, value any) error {
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf("want a duration with its unit, such as %s, got %s", s.def, show(value))
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("want a duration with its unit, such as %s, got %q", s.def, text)
	}
	if d < time.Duration(s.min) || d > time.Duration(s.max) {
		return fmt.Errorf("want %s to %s, got %s", plain(time.Duration(s.min)), plain(time.Duration(s.max)), text)
	}
	if d%s.whole != 0 {
		return fmt.Errorf("want whole %s, got %v", units[s.whole], text)
	}
	*to = d
	return nil
}

// units are the words for what durations are multiples of.
var units = map[time.Duration]string{time.Millisecond: "milliseconds", time.Second: "seconds"}

// plain writes d without units that count nothing: 24h, not 24h0m0s.
func plain(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// show writes a value of YAML for a message.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		return strconv.Quote(v)
	case []any, []string:
		return "a list"
	case map[string]any, map[any]any, values:
		return "a group of keys"
	}
	return fmt.Sprint(v)
}

// The check functions say what is wrong with one text that a setting was given.

func notEmpty(s string) error {
	if s == "" {
		return errors.New("must not be empty")
	}
	return nil
}

// checkHostPort returns an error unless s is an address and a port. Host names would have to be
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

// checkClients returns an error if a prefix is placed twice.
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
