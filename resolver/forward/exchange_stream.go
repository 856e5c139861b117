package forward

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"

	"github.com/internaldns/internaldns/zone/wire"
)

// exchangeTCP asks over a connection of its own. It is the way for long
// responses, and for questions that someone tries to forge the answer to: both
// are rare, and old servers know only one query to a connection.
func (f *Forwarder) exchangeTCP(ctx context.Context, a ask, q question) (*response, error) {
	if !f.sockets.take(a) {
		return nil, errNoSocket
	}
	defer f.sockets.giveBack()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", a.up.Addr.String())
	if err != nil {
		return nil, noAnswer(ctx, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(past) })()

	sent := newQuery(q, a.edns, a.mixed)
	if err := writeFrame(conn, sent.msg); err != nil {
		return nil, noAnswer(ctx, err)
	}
	for {
		msg, err := readFrame(conn)
		if err != nil {
			return nil, noAnswer(ctx, err)
		}
		if r, ok, err := f.readStream(msg, sent, a, q); ok {
			return r, err
		}
	}
}

// readStream makes sense of a message that came over a stream. It reports false,
// and counts it, if the message is not the response to sent.
func (f *Forwarder) readStream(msg []byte, sent *query, a ask, q question) (_ *response, ok bool, _ error) {
	match := sent.match(msg, true)
	if match == bareError {
		return nil, true, &rcodeError{rcode: rcodeOf(msg)}
	}
	if match == matches {
		if truncated(msg) {
			return nil, true, errSenseless // there is nowhere left to ask for the rest
		}
		if r, wellFormed, err := f.read(msg, sent, q); wellFormed {
			if r != nil {
				r.caseKept = sent.match(msg, false) == matches
			}
			return r, true, err
		}
		match = MismatchForm
	}
	a.up.stats.mismatches[match].Add(1)
	return nil, false, nil
}

// noAnswer returns errNoAnswer if ctx is what ended an exchange, and err if not.
func noAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errNoAnswer
	}
	return err
}

// errShortFrame is a frame that cannot hold a message.
var errShortFrame = errors.New("a message shorter than its header")

// writeFrame writes msg and its length in one piece: some servers read but once
// (RFC 7766, Section 8).
func writeFrame(w io.Writer, msg []byte) error {
	frame := make([]byte, 0, 2+len(msg))
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(msg)))
	_, err := w.Write(append(frame, msg...))
	return err
}

// readFrame reads one message. What it allocates for it is 64 kB at most.
func readFrame(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(length[:])
	if n < wire.HeaderLen {
		return nil, errShortFrame
	}
	msg := make([]byte, n)
	_, err := io.ReadFull(r, msg)
	return msg, err
}
