package dnsload

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/internaldns/internaldns/bench/load"
)

// probeTries is how often a server is asked over UDP before it counts as
// silent: one datagram, or two, may be lost by chance.
const probeTries = 3

// probe sends the first query and waits for any message to come back, so that
// nobody waits for the end of a run that nobody answers. What comes back is the
// run's to judge.
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
		if tries == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
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

// hint says what to do about an error.
func hint(err error, timeout time.Duration) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "; nothing answers there: is the server running, and is this its port?"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("; no response within %v: is this the server's address? If it is slow, give it more with --timeout", timeout)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "; there is no way from here to that address"
	}
	return ""
}
