package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
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
				faults = append(faults, fmt.Errorf("%q stands for the whole list, so nothing can be beside it", item))
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
