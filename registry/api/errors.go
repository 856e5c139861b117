package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/objects"
)

func failf(status int, format string, args ...any) *objects.Failure {
	return objects.Failf(status, format, args...)
}

// maxFaults bounds how many faults a response lists. A file that is wrong
// throughout can be mended from its first thousand.
const maxFaults = 1000

// failureOf returns the response to an error.
func failureOf(err error) *objects.Failure {
	var f *objects.Failure
	var faults registry.Faults
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &faults):
		f := failf(http.StatusUnprocessableEntity, "%s", faults[0].Error())
		if len(faults) > 1 {
			f.Body.Error = fmt.Sprintf("%d faults; the first is: %v", len(faults), faults[0])
		}
		for _, fault := range faults[:min(len(faults), maxFaults)] {
			f.Body.Faults = append(f.Body.Faults, objects.FaultBody{Object: fault.Object, Field: fault.Field, Problem: fault.Problem})
		}
		return f
	case errors.As(err, &tooLarge):
		return failf(http.StatusRequestEntityTooLarge, "the body is larger than %d octets, the most that is read here", tooLarge.Limit)
	case errors.Is(err, registry.ErrReadOnly):
		return failf(http.StatusConflict, "%v: change that file, or start the server with --data DIR to keep the facts here", registry.ErrReadOnly)
	case errors.Is(err, registry.ErrFull):
		return failf(http.StatusInsufficientStorage, "%v", err)
	case errors.Is(err, registry.ErrUnavailable):
		return failf(http.StatusServiceUnavailable, "%v", err)
	case errors.Is(err, context.DeadlineExceeded):
		return failf(http.StatusServiceUnavailable, "the store of the facts did not answer in time; the change may have been made or not")
	case errors.Is(err, context.Canceled):
		return failf(http.StatusServiceUnavailable, "the request ended before its answer")
	}
	return failf(http.StatusInternalServerError, "%v", err)
}
