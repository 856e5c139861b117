package api

import (
	"fmt"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// listMetadata is GET …/metadata.
func (c *call) listMetadata() error {
	m, err := c.liveMachine()
	if err != nil {
		return err
	}
	all := make(map[string]string, len(m.Metadata))
	for _, p := range m.Metadata {
		all[p.Key] = p.Value
	}
	c.etag(m.Modified)
	return c.answer(http.StatusOK, all)
}

// liveMachine returns the machine of the path, which must be there.
func (c *call) liveMachine() (*registry.Machine, error) {
	k, err := c.machineKey()
	if err != nil {
		return nil, err
	}
	return existing(c.snap, k, precondition{})
}

type valueBody struct {
	Value string `json:"value"`
}

// getMetadata is GET …/metadata/{key}.
func (c *call) getMetadata() error {
	m, err := c.liveMachine()
	if err != nil {
		return err
	}
	key := c.r.PathValue("key")
	for _, p := range m.Metadata {
		if p.Key == key {
			c.etag(m.Modified)
			return c.answer(http.StatusOK, valueBody{p.Value})
		}
	}
	return failf(http.StatusNotFound, "machine %s has no metadata %s", quote(m.ID), quote(key))
}

// setMetadata is POST …/metadata/{key}.
func (c *call) setMetadata() error {
	f, err := c.readForm("metadata " + quote(c.r.PathValue("key")))
	if err != nil {
		return err
	}
	value := f.text("value")
	if f.Value("value") == nil {
		f.faultf("value", "is missing")
	}
	if err := f.err(); err != nil {
		return err
	}
	return c.editMetadata(func(metadata *format.Object, key string) { metadata.Set(key, format.Quote(value)) })
}

// deleteMetadata is DELETE …/metadata/{key}.
func (c *call) deleteMetadata() error {
	return c.editMetadata((*format.Object).Drop)
}

// editMetadata changes one key of the machine's metadata and answers 204.
func (c *call) editMetadata(edit func(metadata *format.Object, key string)) error {
	k, err := c.machineKey()
	if err != nil {
		return err
	}
	cond, err := c.precondition()
	if err != nil {
		return err
	}
	key, now := c.r.PathValue("key"), time.Now().UTC()
	if !utf8.ValidString(key) { // it could not be kept as it is
		return failf(http.StatusBadRequest, "the key %s is no UTF-8", quote(key))
	}
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		old, err := existing(s, k, cond)
		if err != nil {
			return w, err
		}
		object, err := objectOf(old)
		if err != nil {
			return w, err
		}
		before := len(object.JSON())
		config := object.Object("config")
		metadata := config.Object("metadata")
		edit(metadata, key)
		config.Set("metadata", metadata.JSON())
		object.Set("config", config.JSON())
		after := len(object.JSON())
		touch(object, now)
		m, err := parseMachine(k, object.JSON())
		if err != nil {
			return w, err
		}
		if after > maxBody && after > before { // it grows with each key, though each body is small
			return w, registry.Faults{{Object: m.String(), Field: "config", Problem: fmt.Sprintf(
				"the machine's object would be larger than %d octets, the most that can be sent", maxBody)}}
		}
		if slices.Equal(m.Metadata, old.Metadata) {
			return w, nil
		}
		w.Events = []registry.Event{registry.Put(m)}
		return w, nil
	})
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
