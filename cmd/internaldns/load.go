package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
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
	return settle(k)
}

// settle returns the settings in k, which are checked already, and what nobody has
// changed.
func settle(k *koanf.Koanf) (config, error) {
	c := defaults()
	for i := range settings {
		if s := &settings[i]; k.Exists(s.path) {
			if err := s.set(&c, k.Get(s.path)); err != nil {
				return config{}, fmt.Errorf("%s: %w", s.path, err)
			}
		}
	}
	return c, nil
}

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
