package crash

import (
	"fmt"
	"sync"
)

// A history is what the test has seen of the writes, by machine id. An object is as
// it was sent, "" if there is none.
type history struct {
	mu       sync.Mutex
	machines map[string]*expected // guarded by mu, with what is in it
	index    uint64               // the highest that was acknowledged; guarded by mu
	sent     int                  // guarded by mu
	acked    int                  // guarded by mu
	lines    []string             // what happened last; guarded by mu
}

// expected is what a machine may be.
type expected struct {
	acked   string // the object of the last write that was acknowledged
	sent    string // the object of a write that was sent and not answered
	pending bool   // there is such a write
}

// maxLines bounds the lines of a history.
const maxLines = 200

func (h *history) note(format string, args ...any) {
	if len(h.lines) == maxLines {
		h.lines = h.lines[1:]
	}
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

func (h *history) machine(id string) *expected {
	k := h.machines[id]
	if k == nil {
		k = new(expected)
		h.machines[id] = k
	}
	return k
}

// send notes that a write is about to be sent.
func (h *history) send(id, object string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.machine(id)
	k.sent, k.pending = object, true
	h.sent++
	h.note("send %s %s", id, object)
}

// ack notes that the last write of a machine was acknowledged, in the commit of that
// index.
func (h *history) ack(id string, index uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.machine(id)
	k.acked, k.sent, k.pending = k.sent, "", false
	h.index = max(h.index, index)
	h.acked++
	h.note("ack  %s, commit %d", id, index)
}

// current returns the acknowledged object of a machine, "" if there is none.
func (h *history) current(id string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.machine(id).acked
}

// compare returns what is wrong with the machines that a server has at an index,
// after a crash. From then on, they are the acknowledged ones.
func (h *history) compare(got map[string]string, index uint64) (faults []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, k := range h.machines {
		object := got[id]
		switch {
		case object == k.acked:
		case k.pending && object == k.sent:
		case k.acked != "" && object == "":
			faults = append(faults, fmt.Sprintf("%s is lost: acknowledged as\n%s", id, k.acked))
		default:
			faults = append(faults, fmt.Sprintf("%s is\n%s\nacknowledged was\n%s\nand sent (%v)\n%s", id, object, k.acked, k.pending, k.sent))
		}
		k.acked, k.sent, k.pending = object, "", false
	}
	for id, object := range got {
		if h.machines[id] == nil {
			faults = append(faults, fmt.Sprintf("%s was never sent:\n%s", id, object))
		}
	}
	if index < h.index {
		faults = append(faults, fmt.Sprintf("the registry is at %d, and %d was acknowledged", index, h.index))
	}
	h.note("a server has %d machines at %d", len(got), index)
	return faults
}
