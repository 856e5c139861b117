package zone

// A textWriter appends the RDATA of one TXT record that holds a list. Clients
// join character-strings without anything between, and some parse string by
// string, so strings are cut only behind a separator, as late as possible (RFC
// 1035, Section 3.3.14: a string holds 255 octets).
//
// After each add, dst holds the list as it is if nothing follows.
type textWriter struct {
	dst   []byte
	room  int  // octets that the RDATA may take
	sep   byte // between items
	begin int  // where in dst the RDATA begins
	str   int  // where in dst the current string's length stands
	last  int  // length of the last item
}

// maxString is the longest character-string, its length octet not counted.
const maxString = 255

// newTextWriter begins an empty list, which is one empty string. room must be 1
// or more.
func newTextWriter(dst []byte, room int, sep byte) textWriter {
	w := textWriter{dst: append(dst, 0), room: room, sep: sep, begin: len(dst), str: len(dst)}
	w.last = -1
	return w
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
	if moves { // no place for the separator: the last item must begin a string of its own
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

// appendText appends the first whole items of rdata, a list written by a
// textWriter with the same separator, that fit room octets.
func appendText(dst, rdata []byte, room int, sep byte) []byte {
	w := newTextWriter(dst, room, sep)
	for len(rdata) > 0 {
		str := rdata[1 : 1+int(rdata[0])]
		rdata = rdata[1+len(str):]
		for len(str) > 0 {
			n := 0
			for n < len(str) && str[n] != sep {
				n++
			}
			if !w.add(str[:n]) {
				return w.dst
			}
			str = str[min(n+1, len(str)):]
		}
	}
	return w.dst
}
