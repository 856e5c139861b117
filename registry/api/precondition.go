package api

import (
	"net/http"
	"strconv"
	"strings"
)

// A precondition is what If-Match and If-None-Match ask of an object before it
// is changed. The zero one asks nothing.
type precondition struct {
	exists bool   // it must be there,
	limit  bool   // and not have changed
	index  uint64 // after this commit
	absent bool   // it must not be there
}

// precondition returns what the request asks. An If-Match is an index, with or
// without quotes: an ETag, or the Internaldns-Index of any response.
func (c *call) precondition() (p precondition, err error) {
	header := c.r.Header
	match, given := header["If-Match"]
	if given {
		p.exists = true
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
				return p, failf(http.StatusBadRequest, "If-Match must be one index or *, got %s", quote(strings.Join(match, ", ")))
			}
		}
	}
	if none, given := header["If-None-Match"]; given {
		if len(none) > 1 || strings.TrimSpace(none[0]) != "*" {
			return p, failf(http.StatusBadRequest, "If-None-Match must be *, got %s", quote(strings.Join(none, ", ")))
		}
		p.absent = true
	}
	return p, nil
}

// check says with 412 if an object, last changed by the commit modified, is not
// as the precondition asks. What is not there was changed by nobody.
func (p precondition) check(there bool, modified uint64) error {
	switch {
	case p.exists && !there:
		return failf(http.StatusPreconditionFailed, "it does not exist, or not any more")
	case p.limit && modified > p.index:
		return failf(http.StatusPreconditionFailed, "it was changed since: index %d is newer than %d", modified, p.index)
	case p.absent && there:
		return failf(http.StatusPreconditionFailed, "it exists already, since index %d", modified)
	}
	return nil
}

// etag says in the response which commit made the object as it is.
func (c *call) etag(modified uint64) {
	c.w.Header().Set("ETag", `"`+strconv.FormatUint(modified, 10)+`"`)
}
