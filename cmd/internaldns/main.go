// Command internaldns serves Fly.io's .internal names from a registry of
// machines.
//
// Each command is in the file of its name: serve, check, token, data; dig, explain,
// status, flush, bench; apps, peers and networks (objects.go), machines; import, export
// and watch (transfer.go). The commands of a registry send requests to the API of a
// server (apiclient.go). root.go has the list of all commands, and the steps to add one.
//
// For serve:
//
//	run.go       what runs, in which order it starts and stops, and what happens with
//	             files that have a fault
//	listen.go    which sockets are bound, and what to do if one cannot be
//	sources.go   where the facts come from
//	clients.go   which network and region a client without a 6PN address is in
//	forwarding.go, certificate.go, admin.go, banner.go
//
// settings_table.go is the table of settings. settings.go makes flags of them, load.go
// reads them from flags, environment and config file, and values.go checks each.
//
// Other packages do the work: resolver answers queries, zone decides which records an
// answer has, registry holds the facts, internal/client sends requests to an API, and
// internal/dig sends a query.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"
)

func main() {
	ctx := untilSignal(context.Background(), os.Interrupt, syscall.SIGTERM)
	p := &program{stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}
	if columns, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		p.columns = columns
	}
	os.Exit(p.run(ctx, os.Args[1:]))
}

// untilSignal returns a context that is done at the first of the signals. After that the
// signals have their usual effect again, so a second one ends the process at once.
func untilSignal(ctx context.Context, signals ...os.Signal) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	first := make(chan os.Signal, 1)
	signal.Notify(first, signals...)
	go func() {
		<-first
		signal.Stop(first)
		cancel()
	}()
	return ctx
}

// A program is what a command uses of the process.
type program struct {
	stdout  io.Writer
	columns int // width of the terminal that stdout is; 0 if it is not a terminal
	stderr  io.Writer
	environ []string // NAME=value
	args    []string // of the command line, without the program
}

// run runs the command that args name. It returns the exit status: 0 if all went well,
// else one of those below.
func (p *program) run(ctx context.Context, args []string) int {
	p.args = args
	root := p.root()
	root.SetArgs(args)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		if err != errReported {
			for line := range strings.Lines(err.Error()) {
				fmt.Fprintf(p.stderr, "internaldns: %s\n", strings.TrimSuffix(line, "\n"))
			}
		}
		return exitStatus(err)
	}
	return 0
}

// Exit statuses. Every other failure is 1.
const (
	exitFailed      = 1
	exitNotFound    = 3 // the object does not exist
	exitConflict    = 4 // the object exists already, or has changed, or is read-only
	exitUnavailable = 5 // try again later: the server, or its store, cannot do it now
	exitDenied      = 6 // a token is needed, or another one
)

// exitHelp explains the exit statuses in help texts.
const exitHelp = `The exit status is 0 if all went well; 3 if the object does not exist; 4 if it
exists already, or has changed meanwhile; 5 if the server, or its store, cannot
be reached now; 6 if a token is needed; and 1 otherwise.`

// An exitError is an error with the exit status of the program.
type exitError struct {
	error
	status int
}

func (e exitError) Unwrap() error { return e.error }

// exitStatus returns the exit status for err.
func exitStatus(err error) int {
	if e, ok := errors.AsType[exitError](err); ok {
		return e.status
	}
	return exitFailed
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
