package zone

import (
	"bytes"
	"slices"
	"sync/atomic"

	"github.com/internaldns/internaldns/zone/wire"
)

// A lazyList is the RDATA of a TXT record that holds a list. It is rendered when it is
// first asked for. The zero lazyList has not been rendered.
type lazyList struct{ rdata atomic.Pointer[[]byte] }

// get returns the list, which render makes if it has not been rendered. Several workers
// may render the same list at once; all of them get the same octets.
func (l *lazyList) get(render func() []byte) []byte {
	if p := l.rdata.Load(); p != nil {
		return *p
	}
	rdata := slices.Clip(render())
	l.rdata.Store(&rdata)
	return rdata
}

// maxText is the most octets of a list's RDATA. It is more than a message holds, by more
// than the longest item. So a list that was cut when it was rendered is cut again in
// every message, and is counted there.
const maxText = wire.MaxMessageLen + 512

// A textWriter appends the RDATA of a TXT record that holds a list. RDATA is cut into
// character-strings of at most 255 octets (RFC 1035, Section 3.3.14). Most clients join
// the strings, some parse each by itself, so a string ends only behind a separator, as
// late as possible.
//
// After each add, dst holds the complete RDATA of the items so far.
type textWriter struct {
	dst   []byte
	room  int  // most octets of the RDATA
	sep   byte // between items
	begin int  // index in dst at which the RDATA begins
	str   int  // index in dst of the current string's length
	last  int  // length of the last item; -1 before the first
}

// maxString is the most octets of a character-string, without its length octet.
const maxString = 255

// newTextWriter appends an empty list, which is one empty string. room must be at least
// 1.
func newTextWriter(dst []byte, room int, sep byte) textWriter {
	return textWriter{dst: append(dst, 0), room: room, sep: sep, begin: len(dst), str: len(dst), last: -1}
}

// add appends an item of 1 to 254 octets. It reports false, and changes nothing,
// if it does not fit the room.
func (w *textWriter) add(item []byte) bool {
	size := len(w.dst) - w.begin
	if w.last < 0 { // the first
		if size+len(item) > w.room {
			return false
		}
		w.dst = append(w.dst, item...)
		w.dst[w.str] = byte(len(item))
		w.last = len(item)
		return true
	}
	length := int(w.dst[w.str]) // of the current string
	moves := length == maxString
	if moves { // no room for the separator: the last item moves to a string of its own
		length = w.last
		size++
	}
	breaks := length+1+len(item) > maxString
	if breaks {
		size++
	}
	if size+1+len(item) > w.room {
		return false
	}
	if moves {
		at := len(w.dst) - w.last
		w.dst = append(w.dst, 0)
		copy(w.dst[at+1:], w.dst[at:])
		w.dst[w.str] -= byte(w.last)
		w.str = at
	}
	w.dst = append(w.dst, w.sep)
	if breaks {
		w.dst[w.str] = byte(length + 1)
		w.str = len(w.dst)
		w.dst = append(w.dst, 0)
		length = -1
	}
	w.dst = append(w.dst, item...)
	w.dst[w.str] = byte(length + 1 + len(item))
	w.last = len(item)
	return true
}

// appendText appends as many items of rdata as fit in room octets. rdata must be a list
// written by a textWriter with the same separator.
func appendText(dst, rdata []byte, room int, sep byte) []byte {
	w := newTextWriter(dst, room, sep)
	for len(rdata) > 0 {
		str := rdata[1 : 1+int(rdata[0])]
		rdata = rdata[1+len(str):]
		for len(str) > 0 {
			var item []byte
			if item, str, _ = bytes.Cut(str, []byte{sep}); !w.add(item) {
				return w.dst
			}
		}
	}
	return w.dst
}
