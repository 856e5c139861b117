package registry

import (
	"fmt"
	"slices"
	"strings"
)

// Fold maps the letters A to Z to lower case and leaves all other octets as
// they are (RFC 4343, Section 3).
func Fold(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// maxLabel is the longest label of a domain name, in octets (RFC 1035, Section
// 2.3.4). Names of apps, peers, machines and regions become labels.
const maxLabel = 63

// ReservedRegions are the words that stand in a region's place in a name, and
// so cannot be regions.
var ReservedRegions = []string{"vms", "regions", "global", "vm", "process", "of", "nearest", "kv", "all"}

// checkName says what is wrong with the name of an app, a peer or a network.
func checkName(s string) error {
	if !isLabel(s) || s[0] == '-' || s[len(s)-1] == '-' {
		return fmt.Errorf("%s is no name: want 1 to 63 letters, digits and inner hyphens", quote(s))
	}
	return nil
}

// checkID says what is wrong with a machine's id.
func checkID(s string) error {
	if !isLabel(s) {
		return fmt.Errorf("%s is no machine id: want 1 to 63 letters, digits and hyphens", quote(s))
	}
	return nil
}

// checkRegion says what is wrong with a region's code.
func checkRegion(s string) error {
	if !isLabel(s) || strings.Contains(s, "-") {
		return fmt.Errorf("%s is no region code: want 1 to 63 letters and digits", quote(s))
	}
	if slices.Contains(ReservedRegions, s) {
		return fmt.Errorf("%q cannot be a region: the word has another meaning in names", s)
	}
	return nil
}

func isLabel(s string) bool {
	if len(s) == 0 || len(s) > maxLabel {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// quote quotes s for a message, shortened if it is long.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q… (%d octets)", s[:most], len(s))
	}
	return fmt.Sprintf("%q", s)
}
