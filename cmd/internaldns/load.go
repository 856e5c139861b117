package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/internaldns/internaldns/registry"
)

// load returns the settings: from flags, else from the environment, else from
// the config file, else by default. The error joins every fault of all of them,
// also of values that others win over. Each fault begins with the path of its
// setting, after the file's name if it is in one.
func load(flags *pflag.FlagSet, environ []string) (config, error) {
	k := koanf.New(".")
	var faults []error

	fromEnv, fs := layer(env.Provider(".", env.Opt{
		Prefix: envPrefix, TransformFunc: envValue, EnvironFunc: func() []string { return environ },
	}), func(s *setting) string { return " (" + s.env() + ")" })
	faults = append(faults, fs...)
	fromFlags, fs := layer(posflag.ProviderWithFlag(flags, ".", nil, flagValue),
		func(s *setting) string { return " (--" + s.flag() + ")" })
	faults = append(faults, fs...)
	merge(k, fromEnv)
	merge(k, fromFlags)

	if path := k.String("config"); path != "" {
		fromFile, err := readConfig(path)
		if err != nil {
			faults = append(faults, err)
		} else {
			merge(fromFile, k)
			k = fromFile
		}
	}
	if err := errors.Join(faults...); err != nil {
		return config{}, err
	}
	c := defaults()
	for i := range settings {
		if s := &settings[i]; k.Exists(s.path) {
			if err := s.set(&c, k.Get(s.path)); err != nil {
				return config{}, fmt.Errorf("%s: %w", s.path, err) // checked already
			}
		}
	}
	return c, nil
}

// maxConfig is the largest config file that is read, in octets. All there is to
// set takes a few thousand; a client map of 10,000 entries fits.
const maxConfig = 1 << 20

// readConfig reads a config file. The error joins all of its faults, each
// beginning with the file's name.
func readConfig(path string) (*koanf.Koanf, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	k, faults := parseConfig(data)
	for i, f := range faults {
		faults[i] = fmt.Errorf("%s: %w", path, f)
	}
	return k, errors.Join(faults...)
}

// parseConfig parses a config file, and returns every fault it has.
func parseConfig(data []byte) (*koanf.Koanf, []error) {
	if len(data) > maxConfig {
		return nil, []error{fmt.Errorf("is larger than %d octets, so it is no config file", maxConfig)}
	}
	values, err := parseYAML(data)
	if err != nil {
		return nil, eachLine(err, func(line string) string { return line })
	}
	return layer(confmap.Provider(values, ""), func(*setting) string { return "" },
		func(s *setting) error {
			if s.outside {
				return errors.New("cannot stand in the config file itself")
			}
			return nil
		})
}

// parseYAML returns the values in a config file. The error has a line for each
// fault.
func parseYAML(data []byte) (map[string]any, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err == io.EOF {
		return nil, nil // nothing, or comments
	} else if err != nil {
		text := strings.TrimPrefix(err.Error(), "yaml: ")
		if bareAddress.Match(data) {
			text += `; an address in brackets needs quotes, such as "[::1]:53"`
		}
		return nil, errors.New(text)
	}
	var second yaml.Node
	if dec.Decode(&second) != io.EOF {
		return nil, fmt.Errorf("line %d: a second document begins; want one", second.Line)
	}
	if top := doc.Content[0]; top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: want settings, as KEY: VALUE", top.Line)
	}
	var values map[string]any
	if err := doc.Decode(&values); err != nil {
		if typed, ok := errors.AsType[*yaml.TypeError](err); ok {
			return nil, errors.New(strings.Join(typed.Errors, "\n"))
		}
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return values, nil
}

// bareAddress matches an address in brackets where YAML expects a list.
var bareAddress = regexp.MustCompile(`(?m)[-:,\[] *\[[0-9a-fA-F:.]+\]:[0-9]+`)

// layer reads settings from one provider and checks each by itself. from says
// at a fault's end where the setting was found.
func layer(p koanf.Provider, from func(*setting) string, also ...func(*setting) error) (*koanf.Koanf, []error) {
	k := koanf.New(".")
	if err := k.Load(p, nil); err != nil {
		return k, []error{err}
	}
	var faults []error
	var last string
	for _, path := range k.Keys() {
		s := findSetting(path)
		if top, _, below := strings.Cut(path, "."); s == nil && below && findSetting(top) != nil {
			s, path = findSetting(top), top // a group where a value should be
		}
		if s == nil {
			faults = append(faults, fmt.Errorf("%s: unknown key%s", path, suggest(path)))
			continue
		}
		if path == last {
			continue
		}
		last = path
		err := s.set(new(config), k.Get(path))
		for _, check := range also {
			if err == nil {
				err = check(s)
			}
		}
		if err != nil {
			faults = append(faults, eachLine(err, func(line string) string { return path + ": " + line + from(s) })...)
		}
	}
	return k, faults
}

// merge lets the settings of over win over those of k.
func merge(k, over *koanf.Koanf) {
	if err := k.Merge(over); err != nil {
		panic(fmt.Sprintf("merge settings: %v", err)) // only strict merging can fail
	}
}

// envValue gives koanf one environment variable. Names that we do not know are
// not for us: Kubernetes, for one, sets INTERNALDNS_PORT and more in every pod
// beside a service of our name.
func envValue(name, text string) (string, any) {
	for i := range settings {
		s := &settings[i]
		if s.env() != name || text == "" {
			continue
		}
		if _, list := s.to(new(config)).(*[]string); list {
			return s.path, strings.Fields(text)
		}
		return s.path, text
	}
	return "", nil
}

// flagValue gives koanf one flag.
func flagValue(f *pflag.Flag) (string, any) {
	g, ok := f.Value.(*given)
	if !ok || !f.Changed {
		return "", nil
	}
	return strings.ReplaceAll(f.Name, "-", "_"), g.value()
}

// defaults returns the settings that nobody has changed.
func defaults() config {
	var c config
	for i := range settings {
		s := &settings[i]
		if s.def == "" {
			continue
		}
		if err := s.set(&c, s.def); err != nil {
			panic(fmt.Sprintf("default of %s: %v", s.path, err))
		}
	}
	return c
}

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
		} else if err := s.check(item); err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) == 0 && s.together != nil {
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
	if d%time.Second != 0 {
		return fmt.Errorf("want whole seconds, got %v", text)
	}
	*to = d
	return nil
}

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
	case map[string]any:
		return "a group of keys"
	}
	return fmt.Sprint(v)
}

// suggest says which setting may have been meant by path.
func suggest(path string) string {
	folded := strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "").Replace(path))
	var known []string
	for i := range settings {
		if settings[i].outside {
			continue
		}
		name := settings[i].path
		plain := strings.ReplaceAll(name, "_", "")
		if plain == folded || plain+"s" == folded {
			return ", did you mean " + name + "?"
		}
		known = append(known, name)
	}
	return "; known are " + strings.Join(known, ", ")
}

// registryFault says what is wrong with the registry file at path, one line a
// fault.
func registryFault(path string, err error) error {
	faults, ok := errors.AsType[registry.Faults](err)
	if !ok {
		return fmt.Errorf("registry: %w", err)
	}
	return errors.Join(eachLine(faults, func(line string) string { return path + ": " + line })...)
}

// eachLine returns an error for each line of err.
func eachLine(err error, write func(line string) string) []error {
	var errs []error
	for line := range strings.Lines(err.Error()) {
		errs = append(errs, errors.New(write(strings.TrimSuffix(line, "\n"))))
	}
	return errs
}
