package zone

import (
	"bytes"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/wire"
)

// Wire forms of the labels that stand between an app and the names that follow
// from process groups and metadata.
const (
	underProcess  = "\x07process"
	underMetadata = "\x02kv\x09_metadata"
)

// An owner is a name that follows from a machine's process group or metadata,
// or one that exists because such a name is below it.
type owner struct {
	labels []byte // wire form, what stands left of the app's label
	inner  bool   // only something below it follows from the machine
}

// owners are those that follow from one machine. They are meant to be reused.
type owners struct {
	list   []owner // each once
	octets []byte  // of their labels
}

// of makes them those that follow from m, and returns how many entries give no
// name because they cannot form labels.
func (w *owners) of(m *registry.Machine) (unnamed int) {
	w.list, w.octets = w.list[:0], w.octets[:0]
	room := wire.MaxNameLen - len("\x08internal\x00") - 1 - len(m.App)
	if g := m.Group(); g != "" && !w.name(room, underProcess, g) {
		unnamed++
	}
	for _, p := range m.Metadata {
		if !w.name(room, underMetadata, p.Value, p.Key) {
			unnamed++
		}
	}
	return unnamed
}

// name adds the owner made of those texts and the suffix, and the names between
// it and the app. It reports false if there is no such name.
func (w *owners) name(room int, suffix string, texts ...string) bool {
	start := len(w.octets)
	for _, text := range texts {
		var ok bool
		if w.octets, ok = appendLabels(w.octets, text); !ok {
			return false
		}
	}
	w.octets = append(w.octets, suffix...)
	labels := w.octets[start:]
	if len(labels) > room {
		return false
	}
	w.add(owner{labels: labels})
	for rest := labels[1+int(labels[0]):]; len(rest) > 0; rest = rest[1+int(rest[0]):] {
		w.add(owner{labels: rest, inner: true})
	}
	return true
}

// add adds o, or joins it with the owner of the same labels.
func (w *owners) add(o owner) {
	if i := slices.IndexFunc(w.list, func(x owner) bool { return bytes.Equal(x.labels, o.labels) }); i >= 0 {
		w.list[i].inner = w.list[i].inner && o.inner
		return
	}
	w.list = append(w.list, o)
}

// appendLabels appends text, cut into labels at its dots, in lower case and wire
// form. It reports false for labels that are empty or too long.
func appendLabels(dst []byte, text string) ([]byte, bool) {
	if len(text) >= wire.MaxNameLen {
		return dst, false
	}
	for more := true; more; {
		var label string
		label, text, more = strings.Cut(text, ".")
		if label == "" || len(label) > wire.MaxLabelLen {
			return dst, false
		}
		dst = append(dst, byte(len(label)))
		dst = append(dst, registry.Fold(label)...)
	}
	return dst, true
}
