package dnsload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/internaldns/internaldns/bench/load"
)

// probeTries is how often a query is sent over UDP before the server counts as
// silent: one or two datagrams can be lost by chance.
const probeTries = 3

// probe sends the first query and waits for any message, so that a run to a silent
// server fails at once. The run checks the responses.
func probe(ctx context.Context, o *load.Options) error {
	network, tries := "udp", probeTries
	if o.Transport != load.UDP {
		network, tries = "tcp", 1
	}
	for {
		err := probeOnce(ctx, network, o)
		tries--
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if tries == 0 || !timedOut(err) {
			return fmt.Errorf("ask %v over %s: %w%s", o.Server, o.Transport, err, hint(err, o.Timeout))
		}
	}
}

func probeOnce(ctx context.Context, network string, o *load.Options) error {
	d := net.Dialer{Timeout: o.Timeout}
	conn, err := d.DialContext(ctx, network, o.Server.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(o.Timeout)); err != nil {
		return err
	}
	query := o.Queries[0].Message
	if network == "tcp" {
		query = append([]byte{byte(len(query) >> 8), byte(len(query))}, query...)
	}
	if _, err := conn.Write(query); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 512))
	return err
}

// timedOut reports whether there was no time left, to connect or to read.
func timedOut(err error) bool {
	netErr, ok := errors.AsType[net.Error](err)
	return ok && netErr.Timeout()
}

// hint returns what a user can do about an error.
func hint(err error, timeout time.Duration) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "; nothing answers there: is the server running, and is this its port?"
	case timedOut(err):
		return fmt.Sprintf("; no response within %v: is this the server's address? If it is slow, give it more with --timeout", timeout)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "; there is no way from here to that address"
	}
	return ""
}

// showProgress writes the state of the run to a terminal, in one line that it
// replaces each second and removes when done is called. It writes nothing if w is
// not a terminal.
func showProgress(w io.Writer, o *load.Options) (done func()) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		line := ""
		for start := time.Now(); ; {
			wipe := strings.Repeat(" ", len(line))
			line = progress(o, time.Since(start))
			fmt.Fprintf(w, "\r%s\r%s", wipe, line)
			select {
			case <-tick.C:
			case <-stop:
				fmt.Fprintf(w, "\r%s\r", strings.Repeat(" ", len(line)))
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// progress returns the state of the run that long after the start.
func progress(o *load.Options, since time.Duration) string {
	asking := fmt.Sprintf("asking %v over %s: ", o.Server, o.Transport)
	switch whole := o.Warmup + o.Duration; {
	case since < o.Warmup:
		return fmt.Sprintf("%swarming up, %v of %v", asking, since.Truncate(time.Second), o.Warmup)
	case since < whole:
		return fmt.Sprintf("%s%v of %v", asking, (since - o.Warmup).Truncate(time.Second), o.Duration)
	}
	return asking + "waiting for the last responses"
}
