package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	// The first signal asks for an orderly stop. From then on signals have
	// their usual effect, so the second ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	p := &program{stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}
	os.Exit(p.run(ctx, os.Args[1:]))
}

// A program is what a command may use of its surroundings.
type program struct {
	stdout  io.Writer
	stderr  io.Writer
	environ []string // NAME=value
}

// run runs the command that args name and returns the exit status: 0 if all
// went well, else 1.
func (p *program) run(ctx context.Context, args []string) int {
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
		return 1
	}
	return 0
}
