package zone

import (
	"bytes"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/wire"
)

// The labels between an app's name and the names made of process groups and of
// metadata, in wire form.
const (
	underProcess  = "\x07process"
	underMetadata = "\x02kv\x09_metadata"
)

// A metaName is a name that a machine's metadata gives rise to, or a name above
// such a name. The process group is metadata, too.
type metaName struct {
	labels []byte // wire form, the labels left of the app's label
	inner  bool   // the machine gives rise only to names below this one
}

// metaNames are the names that one machine's metadata gives rise to. It is meant to
// be reused.
type metaNames struct {
	list   []metaName // each once
	octets []byte     // the memory of all labels
}

// of replaces the list by the names of m. It returns how many of m's groups and
// metadata entries give no name, because they cannot form labels or the name would
// be too long.
func (w *metaNames) of(m *registry.Machine) (unnamed int) {
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

// name adds the name made of those texts and the suffix, and the names between it
// and the app. It reports false if there is no such name of at most room octets.
func (w *metaNames) name(room int, suffix string, texts ...string) bool {
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
	w.add(metaName{labels: labels})
	for rest := labels[1+int(labels[0]):]; len(rest) > 0; rest = rest[1+int(rest[0]):] {
		w.add(metaName{labels: rest, inner: true})
	}
	return true
}

// add adds n. If the list has its labels already, n is merged with that entry.
func (w *metaNames) add(n metaName) {
	if i := slices.IndexFunc(w.list, func(x metaName) bool { return bytes.Equal(x.labels, n.labels) }); i >= 0 {
		w.list[i].inner = w.list[i].inner && n.inner
		return
	}
	w.list = append(w.list, n)
}

// appendLabels appends text, cut into labels at its dots, in lower case and wire
// form. It reports false if a label is empty or too long.
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
