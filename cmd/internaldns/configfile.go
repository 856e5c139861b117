package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxConfig is the largest config file that is read, in octets. All there is to
// set takes a few thousand; a client map of 10,000 entries fits.
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
