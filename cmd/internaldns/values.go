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
	"github.com/internaldns/internaldns/registry/etcd"
)

// A value checks the text of a setting and stores the result.
type value interface {
	// set stores v, which is a text, a list of texts, or a value decoded from YAML. The error
	// has one line for each fault.
	set(v any) error
}

// text is a text that check accepts.
type text struct {
	to    *string
	check func(string) error
}

func (t text) set(v any) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("want text, got %s", show(v))
	}
	if err := t.check(s); err != nil {
		return err
	}
	*t.to = s
	return nil
}

// number is a whole number from min to max.
type number struct {
	to       *int
	min, max int
}

func (n number) set(v any) error {
	i, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
	if err != nil {
		return fmt.Errorf("want a whole number, got %s", show(v))
	}
	if i < int64(n.min) || i > int64(n.max) {
		return fmt.Errorf("want %d to %d, got %d", n.min, n.max, i)
	}
	*n.to = int(i)
	return nil
}

// toggle is true or false.
type toggle struct{ to *bool }

func (t toggle) set(v any) error {
	b, err := strconv.ParseBool(fmt.Sprint(v))
	if err != nil {
		return fmt.Errorf("want true or false, got %s", show(v))
	}
	*t.to = b
	return nil
}

// duration is a time from min to max, in multiples of whole.
type duration struct {
	to              *time.Duration
	min, max, whole time.Duration
}

func (d duration) set(v any) error {
	s, _ := v.(string)
	t, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("want a duration with its unit, such as 5s, got %s", show(v))
	}
	if t < d.min || t > d.max {
		return fmt.Errorf("want %s to %s, got %s", plain(d.min), plain(d.max), s)
	}
	if t%d.whole != 0 {
		return fmt.Errorf("want whole %s, got %v", units[d.whole], s)
	}
	*d.to = t
	return nil
}

// list is a list of texts, each different and accepted by check.
type list struct {
	to       *[]string
	check    func(string) error
	together func([]string) error // returns the faults of several texts together; may be nil
	alone    string               // a text that stands for the whole list, such as off; "" for none
}

func (l list) set(value any) error {
	var items []string
	switch given := value.(type) {
	case string:
		if given == "" || given != l.alone {
			return fmt.Errorf("want a list, got %s", show(value))
		}
		items = []string{given}
	case []string:
		items = given
	case []any:
		for _, v := range given {
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
		} else if item == l.alone && item != "" {
			if len(items) > 1 {
				faults = append(faults, fmt.Errorf("%q replaces the whole list, so nothing can be beside it", item))
			}
		} else if err := l.check(item); err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) == 0 && l.together != nil && !slices.Contains(items, l.alone) {
		faults = append(faults, l.together(items))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	*l.to = items
	return nil
}

// units are the words for the units of durations.
var units = map[time.Duration]string{time.Millisecond: "milliseconds", time.Second: "seconds"}

// plain returns d without units that are zero: 24h, not 24h0m0s.
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

// show returns a value from YAML in the form for an error.
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

// The check functions return the faults of one text of a setting.

func notEmpty(s string) error {
	if s == "" {
		return errors.New("must not be empty")
	}
	return nil
}

// checkHostPort returns an error unless s is an IP address and a port. A host name would have to
// be resolved, perhaps by this server.
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

func checkAPI(s string) error {
	switch {
	case s == "unix:":
		return errors.New("want unix:PATH, got no path")
	case s == off, strings.HasPrefix(s, "unix:"):
		return nil
	}
	if err := checkHostPort(s); err != nil {
		return fmt.Errorf("%w; unix:PATH and %q are possible, too", err, off)
	}
	return nil
}

func checkEtcd(s string) error {
	if strings.Contains(s, "@") { // not repeated: there may be a password in it
		return errors.New("a URL has a user in it; want --etcd-user NAME and --etcd-password-file FILE")
	}
	c := etcd.Config{Endpoints: []string{s}}
	return c.Validate()
}

func checkEtcdPrefix(s string) error {
	c := etcd.Config{Endpoints: []string{"http://127.0.0.1:2379"}, Prefix: s}
	return c.Validate()
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
