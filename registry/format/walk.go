package format

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
)

// A walk goes through a registry file once, from its first octet to its last,
// and takes it apart: machines go to the pool, everything else is decoded on
// the spot. It stops at the first error of syntax.
type walk struct {
	in       *counter
	dec      *jsontext.Decoder
	cursor   cursor
	pool     *pool
	progress func(machines int)

	apps   []app
	facts  registry.Facts  // what is not in apps
	faults registry.Faults // of what is not in apps
	end    *registry.Fault // why the walk stopped early; else nil

	// Where the walk is, to say where it stopped.
	app     *app   // nil outside the list apps
	machine int    // position in the app's machines; -1 outside
	list    string // the list outside apps; "" outside
	item    int    // position in list
}

// An app is one entry of the list apps.
type app struct {
	position int
	name     string           // lower case; "" if it has no usable one
	network  registry.Network // 0 if not given or not understood
	flycast  []netip.Addr
	first    int             // the number of its first machine in the pool
	machines int             // how many it has
	faults   registry.Faults // Object is empty
}

// object names the app in faults: by its position if it has no name.
func (a *app) object() string {
	if a.name == "" {
		return fmt.Sprintf("apps[%d]", a.position)
	}
	return "app " + quote(a.name)
}

// newWalk prepares to walk through r. The pool's workers run from here on.
func newWalk(r io.Reader, progress func(int)) *walk {
	in := &counter{r: r}
	return &walk{
		in:       in,
		dec:      jsontext.NewDecoder(in, jsontext.AllowDuplicateNames(true)),
		pool:     newPool(),
		progress: progress,
		machine:  -1,
	}
}

// file walks through the whole file.
func (w *walk) file() {
	if k := w.dec.PeekKind(); k != jsontext.KindBeginObject && k != jsontext.KindInvalid {
		w.faults = append(w.faults, registry.Fault{
			Problem: "want an object with the key apps, got " + KindName(k),
		})
		return
	}
	w.token()
	seen := make(map[string]bool)
	for w.more(jsontext.KindEndObject) {
		switch key := w.key(seen, &w.faults); key {
		case "apps":
			w.items("apps", &w.faults, w.appItem)
			w.app = nil
		case "peers":
			w.values("peers", w.fact(registry.KindPeer))
		case "networks":
			w.values("networks", w.fact(registry.KindNetwork))
		case "regions":
			w.values("regions", w.fact(registry.KindRegion))
		case "rtt_ms":
			w.rtts(w.value())
		default:
			w.unread(key, &w.faults)
		}
	}
	if w.end != nil {
		return
	}
	if !seen["apps"] {
		w.faults = append(w.faults, registry.Fault{Field: "apps", Problem: isMissing})
	}
	if _, err := w.dec.ReadToken(); !errors.Is(err, io.EOF) {
		w.stop(errors.New("there is more after the end of the object"))
	}
}

// appItem reads one entry of apps.
func (w *walk) appItem(i int) {
	w.apps = append(w.apps, app{position: i, first: w.pool.count})
	a := &w.apps[i]
	w.app = a
	if k := w.dec.PeekKind(); k != jsontext.KindBeginObject {
		w.wants(&a.faults, "", "an object", w.value())
		return
	}
	w.token()
	seen := make(map[string]bool)
	for w.more(jsontext.KindEndObject) {
		switch key := w.key(seen, &a.faults); key {
		case "name":
			if s, ok := w.text("name", &a.faults); ok {
				a.name = registry.Fold(s)
			}
		case "network":
			if s, ok := w.text("network", &a.faults); ok {
				n, err := registry.ParseNetwork(s)
				if err != nil {
					a.fault("network", err.Error())
				}
				a.network = n
			}
		case "flycast":
			w.items("flycast", &a.faults, func(int) {
				if s, ok := w.text("flycast", &a.faults); ok {
					addr, err := netip.ParseAddr(s)
					if err != nil {
						a.fault("flycast", quote(s)+" is no address")
						return
					}
					a.flycast = append(a.flycast, addr)
				}
			})
		case "machines":
			w.items("machines", &a.faults, w.machineItem)
			w.machine = -1
		default:
			w.unread(key, &a.faults)
		}
	}
	if a.name == "" && w.end == nil && !a.faulted("name") {
		a.fault("name", isMissing)
	}
}

// progressEvery is how many machines are read between two calls of progress:
// some milliseconds.
const progressEvery = 4096

// machineItem hands one entry of the app's machines to the pool.
func (w *walk) machineItem(i int) {
	w.machine = i
	v := w.value()
	if w.end != nil {
		return
	}
	w.app.machines++
	if n := w.pool.add(v) + 1; n%progressEvery == 0 {
		w.progress(n)
	}
}

func (a *app) fault(field, problem string) {
	a.faults = append(a.faults, registry.Fault{Field: field, Problem: problem})
}

func (a *app) faulted(field string) bool {
	for _, f := range a.faults {
		if f.Field == field {
			return true
		}
	}
	return false
}

// The steps of the walk. After the walk has stopped they do nothing.

// more reports whether another key or item comes, and consumes the end if not.
func (w *walk) more(end jsontext.Kind) bool {
	if w.end != nil {
		return false
	}
	if w.dec.PeekKind() != end {
		return true
	}
	w.token()
	return false
}

func (w *walk) token() jsontext.Token {
	t, err := w.dec.ReadToken()
	if err != nil {
		w.stop(err)
	}
	return t
}

// value reads a value, which is good until the next step; null if there is none.
func (w *walk) value() jsontext.Value {
	v, err := w.dec.ReadValue()
	if err != nil {
		w.stop(err)
		return jsontext.Value("null")
	}
	return v
}

// key reads a key of an object of which seen are the keys before.
func (w *walk) key(seen map[string]bool, faults *registry.Faults) string {
	t, err := w.dec.ReadToken()
	if err != nil {
		w.stop(err)
		return ""
	}
	key := t.String()
	if seen[key] {
		*faults = append(*faults, registry.Fault{Problem: fmt.Sprintf("the key %s is given twice", quote(key))})
	}
	seen[key] = true
	return key
}

// items calls item at the beginning of each item of a list. null is an empty
// list, except in place of the apps.
func (w *walk) items(field string, faults *registry.Faults, item func(i int)) {
	if k := w.dec.PeekKind(); k != jsontext.KindBeginArray {
		if v := w.value(); k != jsontext.KindNull || field == "apps" {
			w.wants(faults, field, "a list", v)
		}
		return
	}
	w.token()
	for i := 0; w.more(jsontext.KindEndArray); i++ {
		item(i)
	}
}

// values calls item with each value of a list of the file.
func (w *walk) values(list string, item func(i int, v jsontext.Value)) {
	w.items(list, &w.faults, func(i int) {
		w.list, w.item = list, i
		if v := w.value(); w.end == nil {
			item(i, v)
		}
	})
	w.list = ""
}

// text reads a string. It reports false, with a fault, if the value is something
// else, and without one if it is null.
func (w *walk) text(field string, faults *registry.Faults) (string, bool) {
	v := w.value()
	if k := v.Kind(); k != jsontext.KindString {
		if k != jsontext.KindNull {
			w.wants(faults, field, "a string", v)
		}
		return "", false
	}
	s, _ := jsontext.AppendUnquote(nil, v)
	return string(s), true
}

// unread passes over a field that is not read; keys given twice in it are faults
// all the same.
func (w *walk) unread(key string, faults *registry.Faults) {
	for _, f := range duplicates(w.value()) {
		f.Field = below(join("", key), f.Field)
		*faults = append(*faults, f)
	}
}

func (w *walk) wants(faults *registry.Faults, field, want string, got jsontext.Value) {
	if w.end == nil {
		*faults = append(*faults, registry.Fault{
			Field: field, Problem: fmt.Sprintf("want %s, got %s", want, KindName(got.Kind())),
		})
	}
}
