package wire

import "bytes"

// ReadName copies the name at off in msg to buf, uncompressed and in the letter
// case it has, and returns its length and the offset after it in msg. With a nil
// buf it copies nothing. end is -1 if the name is malformed.
//
// Each compression pointer must point further back than the one before, but not
// into the header. A name may have at most MaxLabels pointers: this bounds the
// work for one record, whatever the message contains.
func ReadName(buf *[MaxNameLen]byte, msg []byte, off int) (n, end int) {
	end, limit, pointers := -1, off, 0
	for {
		if off >= len(msg) {
			return 0, -1
		}
		c := int(msg[off])
		switch {
		case c == 0:
			if buf != nil {
				buf[n] = 0
			}
			if end < 0 {
				end = off + 1
			}
			return n + 1, end
		case c <= MaxLabelLen:
			// One octet stays for the root label.
			if off+1+c > len(msg) || n+1+c >= MaxNameLen {
				return 0, -1
			}
			if buf != nil {
				copy(buf[n:], msg[off:off+1+c])
			}
			n += 1 + c
			off += 1 + c
		case c >= 0xC0 && off+1 < len(msg):
			if end < 0 {
				end = off + 2
			}
			off = (c&0x3F)<<8 | int(msg[off+1])
			if pointers++; off < HeaderLen || off >= limit || pointers > MaxLabels {
				return 0, -1
			}
			limit = off
		default:
			return 0, -1
		}
	}
}

// Lower copies the name src to dst with the letters A to Z in lower case (RFC 4343, Section
// 3). dst may be src. Lengths of labels are below the codes of letters, so they stay as
// they are.
func Lower(dst, src []byte) {
	for i, c := range src {
		dst[i] = lowerCase[c]
	}
}

// lowerCase maps octets to themselves, and A to Z to a to z.
var lowerCase = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

// EqualFold reports whether the names a and b differ at most in the case of
// ASCII letters.
func EqualFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if lowerCase[c] != lowerCase[b[i]] {
			return false
		}
	}
	return true
}

// Within reports whether name is suffix or below it. Both are in wire format and
// lower case.
func Within(name, suffix []byte) bool {
	for len(name) > len(suffix) {
		name = Parent(name)
	}
	return bytes.Equal(name, suffix)
}

// Parent returns name without its first label. name is in wire format and not
// the root; the result shares its memory.
func Parent(name []byte) []byte { return name[1+int(name[0]):] }
