// Package message makes queries for upstreams and reads their responses.
//
// A Question is what an upstream is asked. A Query is one message that asks it,
// with an ID and a letter case that cannot be guessed; its Match says whether a
// message that came is its response. Clean keeps of a response only the records
// that answer the question.
//
// Package message opens no sockets, starts no goroutines and reads no clock. A
// response is untrusted: every length and count in it is checked before it is
// used.
package message
