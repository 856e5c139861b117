package registry

import (
	"fmt"
	"slices"
	"strings"
)

// A Fault is one thing that is wrong with facts: in which object, in which field, and
// what.
type Fault struct {
	Object  string // such as `machine "148e21dad76789" of app "web"`; may be empty
	Field   string // such as "private_ip"; may be empty
	Problem string
}

// Error returns the parts that are given, separated by colons.
func (f Fault) Error() string {
	var parts []string
	for _, s := range []string{f.Object, f.Field, f.Problem} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

// Faults is everything that is wrong, in the order in which it was found. As an error it
// has a line for each fault, and the number of those beyond maxFaultLines.
type Faults []Fault

// maxFaultLines bounds the message of a file in which everything is wrong.
const maxFaultLines = 100

func (fs Faults) Error() string {
	var b strings.Builder
	for i, f := range fs {
		if i == maxFaultLines {
			more := len(fs) - i
			fmt.Fprintf(&b, "\nand %d more fault", more)
			if more > 1 {
				b.WriteByte('s')
			}
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(f.Error())
	}
	return b.String()
}

// Err returns fs as an error, or nil if there are no faults.
func (fs Faults) Err() error {
	if len(fs) == 0 {
		return nil
	}
	return fs
}

// add appends a fault of object with the text of err, unless err is nil.
func (fs *Faults) add(object fmt.Stringer, field string, err error) {
	if err != nil {
		*fs = append(*fs, Fault{Object: object.String(), Field: field, Problem: err.Error()})
	}
}

// addf appends a fault of object.
func (fs *Faults) addf(object fmt.Stringer, field, format string, args ...any) {
	*fs = append(*fs, Fault{Object: object.String(), Field: field, Problem: fmt.Sprintf(format, args...)})
}

// in reports whether one of the faults is in one of the fields.
func (fs Faults) in(fields ...string) bool {
	return slices.ContainsFunc(fs, func(f Fault) bool { return slices.Contains(fields, f.Field) })
}

// Quote quotes s for a message, and shortens it to 80 octets.
func Quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q… (%d octets)", s[:most], len(s))
	}
	return fmt.Sprintf("%q", s)
}
