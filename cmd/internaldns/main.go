package main

import (
	"context"
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

// untilSignal returns a context that is done at the first of the signals, which
// asks for an orderly stop. By then they have their usual effect again, so that
// a second one ends the process at once.
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

// A program is what a command may use of its surroundings.
type program struct {
	stdout  io.Writer
	columns int // of the terminal that stdout is; 0 if it is none
	stderr  io.Writer
	environ []string // NAME=value
	args    []string // of the command line, without the program
}

// run runs the command that args name and returns the exit status: 0 if all
// went well, else one of exits.go.
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
