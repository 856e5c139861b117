//go:build linux

package harness

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
)

// ProgramFlag adds the flag of the internaldns to measure.
func ProgramFlag(f *pflag.FlagSet, program *string) {
	f.StringVar(program, "program", *program, "the internaldns `FILE` to measure (default: built from this checkout)")
}

// Faults are what is wrong with a plan. The text of each begins with the flag.
type Faults []error

// Add adds a fault.
func (f *Faults) Add(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

// Least adds a fault for each value of the flag that is less than least.
func (f *Faults) Least(flag string, least int, values ...int) {
	for _, v := range values {
		if v < least {
			f.Add("%s: must be %d or more, got %d", flag, least, v)
		}
	}
}

// Err returns all faults as one error; nil if there are none.
func (f *Faults) Err() error { return errors.Join(*f...) }

// Positive adds a fault if the value of the flag is not positive.
func Positive[T float64 | time.Duration](f *Faults, flag string, value T) {
	if !(value > 0) { // a NaN is not
		f.Add("%s: must be positive, got %v", flag, value)
	}
}
