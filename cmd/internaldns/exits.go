package main

import (
	"errors"
	"net/http"
)

// What the exit status says to scripts. Everything else that fails is 1.
const (
	exitFailed      = 1
	exitNotFound    = 3 // what was asked for is not there
	exitConflict    = 4 // something is there already, or has changed, or is read-only
	exitUnavailable = 5 // try again later: the server, or its store, does not take it now
	exitDenied      = 6 // a token is needed, or another one
)

// exitHelp explains that in help texts.
const exitHelp = `The exit status is 0 if all went well; 3 if the object is not there; 4 if it is
in the way, or has changed meanwhile; 5 if the server, or its store, cannot be
reached now; 6 if a token is needed; and 1 otherwise.`

// An exitError is an error with the exit status of the program.
type exitError struct {
	error
	status int
}

func (e exitError) Unwrap() error { return e.error }

// exitStatus returns the exit status that err asks for.
func exitStatus(err error) int {
	if e, ok := errors.AsType[exitError](err); ok {
		return e.status
	}
	return exitFailed
}

// exitFor returns the exit status that says what an HTTP status says.
func exitFor(status int) int {
	switch status {
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return exitConflict
	case http.StatusServiceUnavailable, http.StatusInsufficientStorage, http.StatusRequestTimeout:
		return exitUnavailable
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitDenied
	}
	return exitFailed
}
