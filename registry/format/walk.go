package format

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
)

// A walk reads a registry file once, from its first octet to its last: machines
// go to the pool, everything else is decoded at once. It stops at the first
// error of syntax.
type walk struct {
	reader   // of the file; its faults are those of the app or the list at hand
	in       *counter
	object   objectReader // of items that are decoded at once
	pool     *pool
	progress func(machines int)

	apps    []app
	facts   registry.Facts  // except apps, with their machines and Flycast addresses
	problem *registry.Fault // why the walk has stopped early; else nil

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
	return "app " + registry.Quote(a.name)
}

// newWalk prepares to walk through r. It starts the pool's workers.
func newWalk(r io.Reader, progress func(int)) *walk {
	in := &counter{r: r}
	w := &walk{in: in, pool: newPool(), progress: progress, machine: -1}
	w.reader = reader{dec: jsontext.NewDecoder(in, jsontext.AllowDuplicateNames(true)), unique: true, onEnd: w.stop}
	return w
}

// file reads the whole file.
func (w *walk) file() {
	if k := w.peek(); k != jsontext.KindBeginObject && k != jsontext.KindInvalid {
		w.faultf("", "want an object with the key apps, got %s", KindName(k))
		return
	}
	apps := false
	w.fields("", func(name []byte) {
		switch string(name) {
		case "apps":
			apps = true
			if w.peek() == jsontext.KindNull { // not an empty list: the file may be a mistake
				w.faultf("apps", "want a list, got null")
			}
			w.items("apps", w.appItem)
			w.app = nil
		case "peers":
			w.objects("peers", w.fact(registry.KindPeer))
		case "networks":
			w.objects("networks", w.fact(registry.KindNetwork))
		case "regions":
			w.objects("regions", w.fact(registry.KindRegion))
		case "rtt_ms":
			w.rtts()
		default:
			w.unread(string(name))
		}
	})
	if w.err != nil {
		return
	}
	if !apps {
		w.faultf("apps", isMissing)
	}
	if _, err := w.dec.ReadToken(); !errors.Is(err, io.EOF) {
		w.end(errors.New("there is more after the end of the object"))
	}
}

// appItem reads one entry of apps.
func (w *walk) appItem(i int) {
	w.apps = append(w.apps, app{position: i, first: w.pool.count})
	a := &w.apps[i]
	w.app = a
	outside := w.faults
	w.faults = nil
	defer func() { a.faults, w.faults = w.faults, outside }()

	if w.peek() == jsontext.KindNull {
		w.skip()
		w.wants("", "an object", jsontext.KindNull)
		return
	}
	ok := w.fields("", func(name []byte) {
		switch string(name) {
		case "name":
			a.name = cmp.Or(w.lower("name"), a.name)
		case "network":
			w.parsed("network", func(s string) (err error) {
				a.network, err = registry.ParseNetwork(s)
				return err
			})
		case "flycast":
			w.items("flycast", func(int) {
				w.parsed("flycast", func(s string) error {
					addr, err := parseAddress(s)
					if err == nil {
						a.flycast = append(a.flycast, addr)
					}
					return err
				})
			})
		case "machines":
			w.items("machines", w.machineItem)
			w.machine = -1
		default:
			w.unread(string(name))
		}
	})
	if ok && w.err == nil && a.name == "" {
		w.missing("name")
	}
}

// progressEvery is how many machines are read between two calls of progress:
// some milliseconds.
const progressEvery = 4096

// machineItem gives one entry of the app's machines to the pool.
func (w *walk) machineItem(i int) {
	w.machine = i
	v := w.next()
	if w.err != nil {
		return
	}
	w.app.machines++
	if n := w.pool.add(v) + 1; n%progressEvery == 0 {
		w.progress(n)
	}
}

// unread passes over a field that is not read. Keys that are given twice in it
// are faults all the same.
func (w *walk) unread(key string) {
	for _, f := range duplicates(w.next()) {
		f.Field = below(join("", key), f.Field)
		w.faults = append(w.faults, f)
	}
}

// objects calls item for each value of a list of the file.
func (w *walk) objects(list string, item func(i int, v jsontext.Value)) {
	w.items(list, func(i int) {
		w.list, w.item = list, i
		if v := w.next(); w.err == nil {
			item(i, v)
		}
	})
	w.list = ""
}

// isEmpty is the problem of a file that holds nothing, or only white space or
// comments.
const isEmpty = "the file is empty"

// stop notes that the walk has ended because of err, and where.
func (w *walk) stop(err error) {
	w.problem = &registry.Fault{}
	switch {
	case w.app != nil && w.machine >= 0:
		w.problem.Object = fmt.Sprintf("machines[%d] of %s", w.machine, w.app.object())
	case w.app != nil:
		w.problem.Object = w.app.object()
	case w.list != "":
		w.problem.Object = fmt.Sprintf("%s[%d]", w.list, w.item)
	}
	offset := w.dec.InputOffset()
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		offset, err = syntax.ByteOffset, syntax.Err
	}
	switch {
	case errors.Is(err, io.EOF): // before the first token
		w.problem.Problem = isEmpty
	case errors.Is(err, io.ErrUnexpectedEOF):
		w.problem.Problem = fmt.Sprintf("the file is cut off, in line %d after %d octets", w.line(w.in.octets), w.in.octets)
	default:
		w.problem.Problem = fmt.Sprintf("line %d, octet %d: %s", w.line(offset), offset+1,
			strings.TrimPrefix(err.Error(), "jsontext: "))
	}
}

// line returns the line, counted from 1, of an octet that the decoder has read
// but not passed.
func (w *walk) line(offset int64) int {
	unread := w.dec.UnreadBuffer()
	if passed := offset - w.dec.InputOffset(); passed > 0 {
		unread = unread[min(passed, int64(len(unread))):]
	}
	return 1 + w.in.lines - bytes.Count(unread, []byte{'\n'})
}

// A counter counts what is read through it.
type counter struct {
	r      io.Reader
	octets int64
	lines  int   // ended lines
	err    error // that ended the reading; nil at the end of the file
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.octets += int64(n)
	c.lines += bytes.Count(p[:n], []byte{'\n'})
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}
