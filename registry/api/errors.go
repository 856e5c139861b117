package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/internaldns/internaldns/registry"
)

// A failure is an error with the status and the body of its response.
type failure struct {
	status    int
	body      errorBody
	challenge bool // with WWW-Authenticate (RFC 9110, Section 11.6.1)
}

// An errorBody is what an error looks like. Error is all that Fly's clients
// read of it, and Status what they tell errors apart by.
type errorBody struct {
	Error    string      `json:"error"`
	Status   string      `json:"status,omitzero"`
	Faults   []faultBody `json:"faults,omitempty"`
	Networks []string    `json:"networks,omitempty"` // those that a name could mean
	Losses   []lossBody  `json:"losses,omitempty"`
}

type faultBody struct {
	Object  string `json:"object,omitzero"`
	Field   string `json:"field,omitzero"`
	Problem string `json:"problem"`
}

type lossBody struct {
	Network string `json:"network"`
	Lost    int    `json:"lost"`
	Of      int    `json:"of"`
}

func (f *failure) Error() string { return f.body.Error }

func failf(status int, format string, args ...any) *failure {
	return &failure{status: status, body: errorBody{Error: fmt.Sprintf(format, args...)}}
}

// maxFaults bounds how many faults a response names. A file that is wrong
// throughout is mended from its first thousand.
const maxFaults = 1000

// failureOf says how an error is answered.
func failureOf(err error) *failure {
	var f *failure
	var faults registry.Faults
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &faults):
		f := failf(http.StatusUnprocessableEntity, "%s", faults[0].Error())
		if len(faults) > 1 {
			f.body.Error = fmt.Sprintf("%d faults; the first is: %v", len(faults), faults[0])
		}
		for _, fault := range faults[:min(len(faults), maxFaults)] {
			f.body.Faults = append(f.body.Faults, faultBody{fault.Object, fault.Field, fault.Problem})
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

// The failures that several routes have.

func noApp(name string) error {
	return failf(http.StatusNotFound, "app %s not found", quote(name))
}

func noMachine(id string) error {
	return failf(http.StatusNotFound, "machine %s not found", quote(id))
}
