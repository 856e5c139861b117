package forward

import (
	"bytes"

	"github.com/internaldns/internaldns/zone/wire"
)

// A nameBuf has room for any domain name in wire format, and for what a faulty
// one would write past it.
type nameBuf [wire.MaxNameLen]byte

// readName copies the name at off in msg to buf, uncompressed and with its letter
// case, and returns its length and the offset behind it in msg; end is -1 if the
// name is malformed. Compression pointers must point backwards, behind the
// header, each further back than the one before, and there may be as many as a name
// has labels: that bounds the work of a record whatever msg holds.
func readName(buf *nameBuf, msg []byte, off int) (n, end int) {
	end, limit, pointers := -1, off, 0
	for {
		if off >= len(msg) {
			return 0, -1
		}
		c := int(msg[off])
		switch {
		case c == 0:
			if n+1 > len(buf) {
				return 0, -1
			}
			buf[n] = 0
			if end < 0 {
				end = off + 1
			}
			return n + 1, end
		case c <= wire.MaxLabelLen:
			if off+1+c > len(msg) || n+1+c >= len(buf) {
				return 0, -1
			}
			n += copy(buf[n:], msg[off:off+1+c])
			off += 1 + c
		case c >= 0xC0 && off+1 < len(msg):
			if end < 0 {
				end = off + 2
			}
			off = (c&0x3F)<<8 | int(msg[off+1])
			if pointers++; off < wire.HeaderLen || off >= limit || pointers > wire.MaxLabels {
				return 0, -1
			}
			limit = off
		default:
			return 0, -1
		}
	}
}

// toLower changes the letters A to Z in name to lower case (RFC 4343, Section 3).
// Lengths of labels are below any letter.
func toLower(name []byte) {
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c + ('a' - 'A')
		}
	}
}

// sameFold reports whether a and b are the same but for the case of ASCII
// letters.
func sameFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		d := b[i]
		if c != d && (c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// within reports whether name is at or below suffix; both are in wire format and
// lower case.
func within(name, suffix []byte) bool {
	for len(name) > len(suffix) {
		name = parent(name)
	}
	return bytes.Equal(name, suffix)
}

// parent returns name, in wire format and not the root, without its first label.
func parent(name []byte) []byte { return name[1+int(name[0]):] }
