package zone

import (
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
	labels string // wire form, what stands left of the app's label
	inner  bool   // only something below it follows from the machine
}

// ownersOf appends the owners that follow from m, each once, and returns how
// many entries give no name because they cannot form labels.
func ownersOf(dst []owner, m *registry.Machine) (owners []owner, unnamed int) {
	room := wire.MaxNameLen - len("\x08internal\x00") - 1 - len(m.App)
	if g := m.Group(); g != "" {
		dst, unnamed = appendOwner(dst, unnamed, room, g, "", underProcess)
	}
	for _, p := range m.Metadata {
		dst, unnamed = appendOwner(dst, unnamed, room, p.Value, p.Key, underMetadata)
	}
	return dst, unnamed
}

// appendOwner appends the owner value.key.suffix and the names between it and
// the app. key may be "".
func appendOwner(dst []owner, unnamed, room int, value, key, suffix string) ([]owner, int) {
	text := value
	if suffix == underMetadata {
		text = value + "." + key
	}
	var buf [wire.MaxNameLen]byte
	name, ok := appendLabels(buf[:0], text)
	if !ok || len(name)+len(suffix) > room {
		return dst, unnamed + 1
	}
	labels := string(append(name, suffix...))
	dst = addOwner(dst, owner{labels: labels})
	for rest := labels[1+int(labels[0]):]; rest != ""; rest = rest[1+int(rest[0]):] {
		dst = addOwner(dst, owner{labels: rest, inner: true})
	}
	return dst, unnamed
}

// addOwner adds o, or joins it with the owner of the same labels.
func addOwner(dst []owner, o owner) []owner {
	if i := slices.IndexFunc(dst, func(x owner) bool { return x.labels == o.labels }); i >= 0 {
		dst[i].inner = dst[i].inner && o.inner
		return dst
	}
	return append(dst, o)
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
