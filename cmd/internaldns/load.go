package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// values are settings as one place gives them, by path: text, lists of text, or
// what YAML makes of the config file.
type values map[string]any

// load returns the settings: from flags, else from the environment, else from
// the config file, else by default. The error joins the faults of all of them,
// also of values that others override. Each fault begins with the path of its
// setting, after the file's name if it is in one.
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
			if err := s.set(&c, value); err != nil {
				return config{}, fmt.Errorf("%s: %w", s.path, err)
			}
		}
	}
	return c, nil
}

// check returns the faults of each value by itself, in the order of their paths.
// from is written at the end of a fault and names the place that gave the value.
func (v values) check(from func(*setting) string) (faults []error) {
	for _, path := range slices.Sorted(maps.Keys(v)) {
		s := findSetting(path)
		if s == nil {
			faults = append(faults, fmt.Errorf("%s: unknown key%s", path, suggest(path)))
			continue
		}
		if err := s.set(new(config), v[path]); err != nil {
			faults = append(faults, eachLine(err, func(line string) string { return path + ": " + line + from(s) })...)
		}
	}
	return faults
}

// envValues returns the settings in the environment. Other variables with our
// prefix are ignored: Kubernetes, for one, sets INTERNALDNS_PORT and more in
// every pod beside a service named internaldns.
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
			if _, list := s.to(new(config)).(*[]string); list {
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
