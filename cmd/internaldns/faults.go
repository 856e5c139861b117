package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/internaldns/internaldns/registry"
)

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

// bare returns err without the path in it, for messages that begin with the
// path.
func bare(err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
