package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
)

// isEmpty is the problem of a file that holds nothing, or only white space or
// comments.
const isEmpty = "the file is empty"

// stop ends the walk because of err, and says where and why.
func (w *walk) stop(err error) {
	if w.end != nil {
		return
	}
	w.end = &registry.Fault{}
	switch {
	case w.app != nil && w.machine >= 0:
		w.end.Object = fmt.Sprintf("machines[%d] of %s", w.machine, w.app.object())
	case w.app != nil:
		w.end.Object = w.app.object()
	case w.list != "":
		w.end.Object = fmt.Sprintf("%s[%d]", w.list, w.item)
	}
	offset := w.dec.InputOffset()
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		offset, err = syntax.ByteOffset, syntax.Err
	}
	switch {
	case errors.Is(err, io.EOF): // before the first token
		w.end.Problem = isEmpty
	case errors.Is(err, io.ErrUnexpectedEOF):
		w.end.Problem = fmt.Sprintf("the file is cut off, in line %d after %d octets", w.line(w.in.octets), w.in.octets)
	default:
		w.end.Problem = fmt.Sprintf("line %d, octet %d: %s", w.line(offset), offset+1,
			strings.TrimPrefix(err.Error(), "jsontext: "))
	}
}

// line returns the line, counted from 1, of an octet that the decoder has read
// but not passed.
func (w *walk) line(offset int64) int {
	unread := w.dec.UnreadBuffer()
	if passed := offset - w.dec.InputOffset(); passed > 0 {
		unread = unread[min(passed, int64(len(unread))):]
	}
	return 1 + w.in.lines - bytes.Count(unread, []byte{'\n'})
}

// A counter counts what is read through it.
type counter struct {
	r      io.Reader
	octets int64
	lines  int   // ended lines
	err    error // that ended the reading; nil at the end of the file
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.octets += int64(n)
	c.lines += bytes.Count(p[:n], []byte{'\n'})
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}
