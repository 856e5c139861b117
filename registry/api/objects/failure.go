package objects

import (
	"fmt"
	"net/http"

	"github.com/internaldns/internaldns/registry"
)

// A Failure is an error with the status and the body of its response.
type Failure struct {
	Status    int
	Body      FailureBody
	Challenge bool // with WWW-Authenticate (RFC 9110, Section 11.6.1)
}

// A FailureBody is the body of an error's response. Fly's clients read only Error, and
// Status, by which they distinguish errors.
type FailureBody struct {
	Error    string      `json:"error"`
	Status   string      `json:"status,omitzero"`
	Faults   []FaultBody `json:"faults,omitempty"`
	Networks []string    `json:"networks,omitempty"` // those that a name can mean
	Losses   []LossBody  `json:"losses,omitempty"`
}

// A FaultBody is a registry.Fault.
type FaultBody struct {
	Object  string `json:"object,omitzero"`
	Field   string `json:"field,omitzero"`
	Problem string `json:"problem"`
}

// A LossBody is a registry.Loss.
type LossBody struct {
	Network string `json:"network"`
	Lost    int    `json:"lost"`
	Of      int    `json:"of"`
}

func (f *Failure) Error() string { return f.Body.Error }

// Failf returns a Failure without details.
func Failf(status int, format string, args ...any) *Failure {
	return &Failure{Status: status, Body: FailureBody{Error: fmt.Sprintf(format, args...)}}
}

// NoApp returns the failure of a request about an app that does not exist.
func NoApp(name string) error {
	return Failf(http.StatusNotFound, "app %s not found", registry.Quote(name))
}

// NoMachine returns the failure of a request about a machine that does not exist.
func NoMachine(id string) error {
	return Failf(http.StatusNotFound, "machine %s not found", registry.Quote(id))
}
