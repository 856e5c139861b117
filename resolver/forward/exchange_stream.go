package forward

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"

	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
)

// exchangeTCP asks over a connection of its own. It is the way for long
// responses, and for questions that someone tries to forge the answer to: both
// are rare, and old servers know only one query to a connection.
func (f *Forwarder) exchangeTCP(ctx context.Context, a ask, q message.Question) (*message.Response, error) {
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

	sent := message.NewQuery(q, a.edns, a.mixed)
	if err := writeFrame(conn, sent.Octets); err != nil {
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
func (f *Forwarder) readStream(msg []byte, sent *message.Query, a ask, q message.Question) (_ *message.Response, ok bool, _ error) {
	match := sent.Match(msg)
	if match == message.BareError {
		return nil, true, &message.RCodeError{RCode: message.RCode(msg)}
	}
	if match == message.Matches || match == message.MismatchCase { // only the upstream can write to a stream
		if message.Truncated(msg) {
			return nil, true, message.ErrInvalid // there is nowhere left to ask for the rest
		}
		if r, wellFormed, err := f.read(msg, q); wellFormed {
			if r != nil {
				r.CaseKept = match == message.Matches
			}
			return r, true, err
		}
		match = message.MismatchForm
	}
	a.up.stats.Mismatch(int(match))
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
