package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
)

// exchange is the Exchanger over the network.
func (a *Asker) exchange(ctx context.Context, q *Query, hint func(Hint)) (*message.Response, error) {
	switch q.Transport {
	case metrics.OverUDP:
		return a.exchangeUDP(ctx, q, hint)
	case metrics.OverTCP:
		return a.exchangeTCP(ctx, q)
	}
	return a.exchangeTLS(ctx, q)
}

// exchangeTCP asks over a new connection. TCP is for long responses, and for
// questions that someone tries to forge the response to. Both are rare, and old
// servers take only one query on a connection.
func (a *Asker) exchangeTCP(ctx context.Context, q *Query) (*message.Response, error) {
	if !a.sockets.take(q) {
		return nil, ErrNoSocket
	}
	defer a.sockets.giveBack()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", q.Server.Addr.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(past) })()

	sent := message.NewQuery(q.Question, q.EDNS, q.MixedCase)
	if err := writeFrame(conn, sent.Octets); err != nil {
		return nil, err
	}
	for {
		msg, err := readFrame(conn)
		if err != nil {
			return nil, err
		}
		if resp, ok, err := a.examineStream(msg, sent, q); ok {
			return resp, err
		}
	}
}

// examineStream returns what a message that came over a stream says about q. It
// returns false, and counts the message, if that is not the response to sent. The
// letter case of the question does not matter: only the server can write to a
// stream.
func (a *Asker) examineStream(msg []byte, sent *message.Query, q *Query) (_ *message.Response, ok bool, _ error) {
	match := sent.Match(msg)
	if match == message.BareError {
		return nil, true, &message.RCodeError{RCode: message.RCode(msg)}
	}
	if match == message.Matches || match == message.MismatchCase {
		if message.Truncated(msg) {
			return nil, true, message.ErrInvalid // there is no transport left for the rest
		}
		resp, err := message.Clean(msg, q.Question, a.config.IsLocal)
		if err != message.ErrMalformed {
			if resp != nil {
				resp.CaseKept = match == message.Matches
			}
			return resp, true, err
		}
		match = message.MismatchForm
	}
	q.Server.Stats.Mismatch(int(match))
	return nil, false, nil
}

// errShortFrame is the end of a connection whose server sent a frame that cannot
// hold a message.
var errShortFrame = errors.New("a message is shorter than its header")

// writeFrame writes msg and its length in one piece: some servers read only once
// (RFC 7766, Section 8).
func writeFrame(w io.Writer, msg []byte) error {
	frame := make([]byte, 0, 2+len(msg))
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(msg)))
	_, err := w.Write(append(frame, msg...))
	return err
}

// readFrame reads one message. It allocates 64 kB at most.
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
