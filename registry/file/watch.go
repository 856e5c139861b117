package file

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// A watcher says when a file may have changed. It may say so for nothing.
type watcher interface {
	// arm follows the links to the file as they are now. The error says what
	// cannot be watched; the rest is.
	arm() error
	// changed receives after a change; several may come as one.
	changed() <-chan struct{}
	close()
}

// unwatched is the watcher of a file that cannot be watched.
type unwatched struct{}

func (unwatched) arm() error               { return nil }
func (unwatched) changed() <-chan struct{} { return nil }
func (unwatched) close()                   {}

// A fileWatcher watches the directory entries through which a path leads: each
// symbolic link on the way, and the file at its end. It watches directories,
// not the entries, and so sees a file that another is renamed over, one that
// appears again, and the swap of the link ..data by which Kubernetes changes a
// mounted ConfigMap.
//
// Directories on the way that are replaced and are no links are not seen; the
// poll is.
type fileWatcher struct {
	path    string // absolute
	notify  *fsnotify.Watcher
	change  chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	entries map[string]bool // guarded by mu; what matters in the directories
	dirs    map[string]bool // watched; arm's own
}

// watchFile starts to watch the file at path, which need not be there. close
// ends it.
func watchFile(path string) (watcher, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	w := &fileWatcher{path: path, notify: notify, change: make(chan struct{}, 1), dirs: make(map[string]bool)}
	w.running.Go(w.run)
	return w, nil
}

func (w *fileWatcher) changed() <-chan struct{} { return w.change }

func (w *fileWatcher) close() {
	w.notify.Close() // also closes what run receives from
	w.running.Wait()
}

func (w *fileWatcher) arm() (err error) {
	entries := make(map[string]bool)
	dirs := make(map[string]bool)
	for _, e := range entriesTo(w.path) {
		entries[e] = true
		dirs[filepath.Dir(e)] = true
	}
	w.mu.Lock()
	w.entries = entries
	w.mu.Unlock()
	for dir := range dirs {
		// Also if it is watched: it may be another by now.
		if e := w.notify.Add(dir); e != nil {
			err = fmt.Errorf("watch %s: %w", dir, e)
		}
	}
	for dir := range w.dirs {
		if !dirs[dir] {
			_ = w.notify.Remove(dir) // fails if the directory went away
		}
	}
	w.dirs = dirs
	return err
}

// run tells of changes until the watch is closed.
func (w *fileWatcher) run() {
	for {
		select {
		case e, ok := <-w.notify.Events:
			if !ok {
				return
			}
			w.mu.Lock()
			matters := w.entries[filepath.Clean(e.Name)]
			w.mu.Unlock()
			if !matters {
				continue
			}
		case _, ok := <-w.notify.Errors: // events were lost
			if !ok {
				return
			}
		}
		select {
		case w.change <- struct{}{}:
		default: // one waits to be received
		}
	}
}

// maxLinks bounds how many links a path is followed through, as Linux does.
const maxLinks = 40

// entriesTo returns the directory entries that decide which file the absolute
// path leads to: every symbolic link on the way, and the last entry, or the
// first that is missing. They contain no links but in their last element.
func entriesTo(path string) (entries []string) {
	root := filepath.VolumeName(path) + string(filepath.Separator)
	at, rest := root, split(path[len(root):])
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		entry := filepath.Join(at, name)
		info, err := os.Lstat(entry)
		if err != nil {
			return append(entries, entry)
		}
		if info.Mode()&os.ModeSymlink == 0 {
			at = entry
			continue
		}
		entries = append(entries, entry)
		target, err := os.Readlink(entry)
		if links++; err != nil || links > maxLinks {
			return entries
		}
		if filepath.IsAbs(target) {
			at, target = root, target[len(root):]
		}
		rest = append(split(target), rest...)
	}
	return append(entries, at)
}

// split returns the elements of a path.
func split(path string) []string {
	return strings.FieldsFunc(filepath.ToSlash(path), func(r rune) bool { return r == '/' })
}
