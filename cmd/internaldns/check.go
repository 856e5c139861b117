package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

func (p *program) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE...",
		Short: "Print the faults of registry and config files",
		Long: `Checks registry files and config files; a file's keys tell which of the two it
is. It prints every fault of every file, as FILE: object: field: problem. The
exit status is 1 if there is one. What may be intended is only a warning: a
state that Fly's machines do not have, such as "stoped", and settings that need
others.`,
		Example: `  internaldns check org.json
  internaldns check org.json internaldns.yaml`,
		Args: wantArgs(1, math.MaxInt, "org.json"),
		RunE: func(_ *cobra.Command, args []string) error {
			good := true
			for _, path := range args {
				found, warnings, err := checkFile(path)
				if err != nil {
					good = false
					for _, e := range eachLine(err, func(line string) string { return path + ": " + line }) {
						fmt.Fprintln(p.stderr, e)
					}
					continue
				}
				fmt.Fprintf(p.stdout, "%s: %s\n", path, found)
				for _, w := range warnings {
					fmt.Fprintf(p.stderr, "%s: warning: %s\n", path, w)
				}
			}
			if !good {
				return errReported
			}
			return nil
		},
	}
}

// checkFile checks one file. It returns a summary of the file, and warnings of what may not be
// intended. The error has a line for each fault.
func checkFile(path string) (found string, warnings []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", nil, bare(err)
	}
	defer f.Close()
	start, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return "", nil, bare(err)
	}
	if len(start) <= maxConfig {
		switch kindOf(start) {
		case kindConfig:
			v, faults := parseConfig(start)
			if len(faults) > 0 {
				return "", nil, errors.Join(faults...)
			}
			c, err := v.config()
			if err != nil {
				return "", nil, err
			}
			return "a config file that sets " + strings.Join(slices.Sorted(maps.Keys(v)), ", "), lonely(&c), nil
		case kindNeither:
			return "", nil, errors.New("is neither a registry file, which has the key apps, nor a config file, which has keys such as listen or ttl")
		}
	}
	facts, err := format.Parse(path, io.MultiReader(bytes.NewReader(start), f), nil)
	if err != nil {
		return "", nil, err
	}
	return "a registry of " + sizes(facts), strangeStates(facts), nil
}

// lonely returns warnings of settings that serve refuses unless flags or the environment add
// others.
func lonely(c *config) []string {
	err := c.together()
	if err == nil {
		return nil
	}
	var warnings []string
	for line := range strings.Lines(err.Error()) {
		warnings = append(warnings, "by itself it is refused: "+strings.TrimSuffix(line, "\n"))
	}
	return warnings
}

// strangeStates returns a warning for each state that is none of Fly's: machines in it are in
// no answer.
func strangeStates(facts *registry.Facts) []string {
	counts, firsts := make(map[string]int), make(map[string]string)
	for _, m := range facts.Machines {
		if slices.Contains(registry.States[:], m.State) {
			continue
		}
		if counts[m.State]++; counts[m.State] == 1 {
			firsts[m.State] = m.ID
		}
	}
	var warnings []string
	for _, state := range slices.Sorted(maps.Keys(counts)) {
		warnings = append(warnings, fmt.Sprintf("%q is no state that is known, so what is in it is not started: %s, first %s",
			state, count(counts[state], "machine"), firsts[state]))
	}
	return warnings
}

// A kind is the kind of file that a file is intended to be.
type kind int

const (
	kindRegistry kind = iota
	kindConfig
	kindNeither
)

// kindOf returns the intended kind of a file: a registry file if it has a key that only those
// have, else a config file if it has a setting's key, else neither. A file without keys is
// left to the registry's parser, whose error says what is missing.
func kindOf(data []byte) kind {
	keys := topKeys(data)
	kind := kindNeither
	if len(keys) == 0 {
		kind = kindRegistry
	}
	for _, key := range keys {
		switch {
		case slices.Contains(registryKeys, key):
			return kindRegistry
		case findSetting(strings.ReplaceAll(key, "-", "_")) != nil:
			kind = kindConfig
		}
	}
	return kind
}

// registryKeys are the keys that only registry files have.
var registryKeys = []string{"apps", "peers", "networks", "regions", "rtt_ms"}

// topKeys returns the top-level keys of a YAML or JSON file. If the file is malformed, it
// returns the words that look like keys.
func topKeys(data []byte) []string {
	var keys []string
	var top map[string]yaml.Node
	if err := yaml.Unmarshal(data, &top); err == nil {
		return slices.Collect(maps.Keys(top))
	}
	for _, m := range topKey.FindAllSubmatch(data, -1) {
		keys = append(keys, string(m[1]))
	}
	return keys
}

// topKey matches a key that begins a line, or the first of a JSON object.
var topKey = regexp.MustCompile(`(?m)^(?:\s*\{\s*)?["']?([a-z_-]+)["']?\s*:`)

// sizes returns, in words, the number of objects of each kind in facts.
func sizes(facts *registry.Facts) string {
	networks := make(map[registry.Network]bool)
	for _, n := range facts.Networks {
		networks[n.Network] = true
	}
	for _, a := range facts.Apps {
		networks[a.Network] = true
	}
	for i := range facts.Peers {
		networks[facts.Peers[i].Network()] = true
	}
	for i := range facts.Flycast {
		networks[facts.Flycast[i].Network()] = true
	}
	started := 0
	for _, m := range facts.Machines {
		if m.Started() {
			started++
		}
	}
	return fmt.Sprintf("%s, %s, %s (%d started), %s, %s", count(len(networks), "network"), count(len(facts.Apps), "app"),
		count(len(facts.Machines), "machine"), started, count(len(facts.Peers), "peer"), count(len(facts.Flycast), "Flycast address"))
}

// count returns n and the noun, in the plural unless n is 1.
func count[N int | uint64](n N, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "s"):
		noun += "es"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
