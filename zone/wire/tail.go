package wire

// Tail returns the last labels of the QNAME in msg, of which nothing is known
// yet, and what stands left of the last two: what Parse would make Label(0),
// Label(1), Label(2) and Above(2), in the letter case of msg. It judges nothing:
// what it returns of a message that is malformed means nothing. A label that is
// not there is nil. Tail costs a quarter of what Parse does.
func Tail(msg []byte) (above []byte, tail [3][]byte) {
	var at [4]int // where the last labels begin, and where they end
	n, off := 0, HeaderLen
	for ; off < len(msg) && msg[off] != 0; n++ {
		at[0], at[1], at[2] = at[1], at[2], off
		off += 1 + int(msg[off])
	}
	if off >= len(msg) {
		return nil, tail
	}
	at[3] = off
	for i := range min(n, len(tail)) {
		tail[i] = msg[at[2-i]+1 : at[3-i]]
	}
	if n >= 2 {
		above = msg[HeaderLen:at[1]]
	}
	return above, tail
}
