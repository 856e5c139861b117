package objects

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/internaldns/internaldns/registry"
)

// A Precondition is what If-Match and If-None-Match demand of an object before it
// is changed. The zero value demands nothing.
type Precondition struct {
	Exists bool // the object exists,
	limit  bool // and has not changed
	index  uint64
	absent bool // the object does not exist
}

// ParsePrecondition returns what the header of a request demands. An If-Match is an
// index, with or without quotes: an ETag, or the Internaldns-Index of any response.
func ParsePrecondition(header http.Header) (p Precondition, err error) {
	if match, given := header["If-Match"]; given {
		p.Exists = true
		text := strings.TrimSpace(match[0])
		if text != "*" {
			p.limit = true
			if unquoted, ok := strings.CutPrefix(text, `"`); ok {
				text, ok = strings.CutSuffix(unquoted, `"`)
				if !ok {
					text = ""
				}
			}
			if p.index, err = strconv.ParseUint(text, 10, 64); err != nil || len(match) > 1 {
				return p, Failf(http.StatusBadRequest, "If-Match must be one index or *, got %s", registry.Quote(strings.Join(match, ", ")))
			}
		}
	}
	if none, given := header["If-None-Match"]; given {
		if len(none) > 1 || strings.TrimSpace(none[0]) != "*" {
			return p, Failf(http.StatusBadRequest, "If-None-Match must be *, got %s", registry.Quote(strings.Join(none, ", ")))
		}
		p.absent = true
	}
	return p, nil
}

// Check returns a failure with status 412 unless p is met by an object that was
// last changed by the commit of index modified. An object that does not exist was
// changed by none.
func (p Precondition) Check(exists bool, modified uint64) error {
	switch {
	case p.Exists && !exists:
		return Failf(http.StatusPreconditionFailed, "it does not exist, or not any more")
	case p.limit && modified > p.index:
		return Failf(http.StatusPreconditionFailed, "it was changed since: index %d is newer than %d", modified, p.index)
	case p.absent && exists:
		return Failf(http.StatusPreconditionFailed, "it exists already, since index %d", modified)
	}
	return nil
}
