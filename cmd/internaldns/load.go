package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// values are the settings from one place, by path: text and lists of text, or, from
// the config file, what YAML decodes.
type values map[string]any

// load returns the settings: from flags, else from the environment, else from the config file,
// else by default. The error joins the faults of all of them, also of values that are
// overridden. Each fault begins with the path of its setting, and before it with the name of
// the config file if it is in that file.
func load(flags *pflag.FlagSet, environ []string) (config, error) {
	fromEnv, fromFlags := envValues(environ), flagValues(flags)
	faults := fromEnv.check(func(s *setting) string { return " (" + s.env() + ")" })
	faults = append(faults, fromFlags.check(func(s *setting) string { return " (--" + s.flag() + ")" })...)
	given := make(values)
	maps.Copy(given, fromEnv)
	maps.Copy(given, fromFlags)

	all := make(values)
	if path, _ := given["config"].(string); path != "" {
		fromFile, err := readConfig(path)
		if err != nil {
			faults = append(faults, err)
		}
		maps.Copy(all, fromFile)
	}
	maps.Copy(all, given)
	if err := errors.Join(faults...); err != nil {
		return config{}, err
	}
	return all.config()
}

// config returns the settings in v, which must be checked, and the defaults of
// the others.
func (v values) config() (config, error) {
	c := defaults()
	for i := range settings {
		s := &settings[i]
		if value, ok := v[s.path]; ok {
			if err := s.value(&c).set(value); err != nil {
				return config{}, fmt.Errorf("%s: %w", s.path, err)
			}
		}
	}
	return c, nil
}

// check returns the faults of the values, in the order of their paths. It does not compare
// values with each other. from returns the text that ends a fault and says where the value
// is from.
func (v values) check(from func(*setting) string) (faults []error) {
	for _, path := range slices.Sorted(maps.Keys(v)) {
		s := findSetting(path)
		if s == nil {
			faults = append(faults, fmt.Errorf("%s: unknown key%s", path, suggest(path)))
			continue
		}
		if err := s.value(new(config)).set(v[path]); err != nil {
			faults = append(faults, eachLine(err, func(line string) string { return path + ": " + line + from(s) })...)
		}
	}
	return faults
}

// envValues returns the settings in the environment. It ignores other variables with our
// prefix, such as INTERNALDNS_PORT, which Kubernetes sets in every pod if there is a service
// named internaldns.
func envValues(environ []string) values {
	v := make(values)
	for _, variable := range environ {
		name, text, _ := strings.Cut(variable, "=")
		for i := range settings {
			s := &settings[i]
			if s.env() != name || text == "" {
				continue
			}
			v[s.path] = text
			if _, several := s.value(new(config)).(list); several {
				v[s.path] = strings.Fields(text)
			}
		}
	}
	return v
}

// flagValues returns the settings that flags give.
func flagValues(flags *pflag.FlagSet) values {
	v := make(values)
	flags.Visit(func(f *pflag.Flag) {
		if g, ok := f.Value.(*given); ok {
			v[strings.ReplaceAll(f.Name, "-", "_")] = g.value()
		}
	})
	return v
}

// defaults returns the default settings.
func defaults() config {
	var c config
	for i := range settings {
		s := &settings[i]
		if s.def == "" {
			continue
		}
		if err := s.value(&c).set(s.def); err != nil {
			panic(fmt.Sprintf("default of %s: %v", s.path, err))
		}
	}
	return c
}

// suggest returns the setting that was probably meant by path, for an error.
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

// maxConfig is the largest config file that is read, in octets. All settings have a few
// thousand; a client map of 10,000 entries fits, too.
const maxConfig = 1 << 20

// readConfig reads a config file. The error joins all of its faults, each
// beginning with the file's name.
func readConfig(path string) (values, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	v, faults := parseConfig(data)
	for i, f := range faults {
		faults[i] = fmt.Errorf("%s: %w", path, f)
	}
	return v, errors.Join(faults...)
}

// parseConfig parses a config file, and returns every fault it has.
func parseConfig(data []byte) (values, []error) {
	if len(data) > maxConfig {
		return nil, []error{fmt.Errorf("is larger than %d octets, so it is no config file", maxConfig)}
	}
	v, err := parseYAML(data)
	if err != nil {
		return nil, eachLine(err, func(line string) string { return line })
	}
	faults := v.check(func(*setting) string { return "" })
	for path := range v {
		if s := findSetting(path); s != nil && s.outside {
			faults = append(faults, fmt.Errorf("%s: cannot be set in the config file itself", path))
		}
	}
	return v, faults
}

// parseYAML returns the values in a config file. The error has a line for each
// fault.
func parseYAML(data []byte) (values, error) {
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
	var v values
	if err := doc.Decode(&v); err != nil {
		if typed, ok := errors.AsType[*yaml.TypeError](err); ok {
			return nil, errors.New(strings.Join(typed.Errors, "\n"))
		}
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return v, nil
}

// bareAddress matches an address in brackets where YAML expects a list.
var bareAddress = regexp.MustCompile(`(?m)[-:,\[] *\[[0-9a-fA-F:.]+\]:[0-9]+`)
