package zone

// Ours reports whether name, in wire format and lower case, is at or below the
// apex of one of our zones: of those, nobody else is to be asked or believed.
func Ours(name []byte) bool {
	for len(name) > 1 {
		switch string(name) {
		case "\x08internal\x00", "\x07flycast\x00", "\x0dfly-local-6pn\x00", "\x01a\x01a\x01d\x01f\x03ip6\x04arpa\x00":
			return true
		}
		name = name[1+int(name[0]):]
	}
	return false
}
