package filewatch

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// must fails the test on any error.
func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A rig is a follower at work in a bubble, where time is fake. It takes every
// content that does not begin with "bad".
type rig struct {
	t     *testing.T
	dir   string
	paths []string
	f     *Follower
	stop  func()

	mu      sync.Mutex
	during  func() error // guarded by mu; called by Take after reading, if not nil
	taken   []string     // guarded by mu
	reports []string     // guarded by mu
}

// inRig runs test in a bubble with a follower of the files names, which must be
// made first by prepare.
func inRig(t *testing.T, prepare func(r *rig), test func(r *rig), names ...string) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, dir: dir}
		for _, name := range names {
			r.paths = append(r.paths, filepath.Join(dir, name))
		}
		prepare(r)
		r.f = New(Config{Paths: r.paths, Take: r.take, Report: r.report})
		must(t, r.f.Load(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { must(t, r.f.Run(ctx)) })
		r.stop = func() { cancel(); running.Wait() }
		test(r)
		r.stop()
	})
}

func (r *rig) take(ctx context.Context, content ...io.Reader) error {
	var texts []string
	for _, c := range content {
		text, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		texts = append(texts, string(text))
	}
	r.mu.Lock()
	during := r.during
	r.mu.Unlock()
	if during != nil {
		if err := during(); err != nil {
			return err
		}
	}
	text := strings.Join(texts, "+")
	if strings.HasPrefix(text, "bad") {
		return errors.New("it is " + text)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = append(r.taken, text)
	return nil
}

func (r *rig) report(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.reports = append(r.reports, "good")
		return
	}
	r.reports = append(r.reports, err.Error())
}

// write writes content into the file name in place.
func (r *rig) write(name, content string) {
	r.t.Helper()
	must(r.t, os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o600))
}

// replace renames a file with content over the file name.
func (r *rig) replace(name, content string) {
	r.t.Helper()
	r.write(name+".new", content)
	must(r.t, os.Rename(filepath.Join(r.dir, name+".new"), filepath.Join(r.dir, name)))
}

func (r *rig) remove(name string) {
	r.t.Helper()
	must(r.t, os.Remove(filepath.Join(r.dir, name)))
}

func (r *rig) whileReading(f func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.during = f
}

// looks waits for n looks.
func (r *rig) looks(n int) {
	time.Sleep(time.Duration(n)*Interval + time.Millisecond)
	synctest.Wait()
}

// want compares what was taken and reported since the last call.
func (r *rig) want(taken, reports string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := strings.Join(r.taken, " "); got != taken {
		r.t.Errorf("taken: %q, want %q", got, taken)
	}
	if got := strings.Join(r.reports, "\n"); (reports == "") != (got == "") || !strings.Contains(got, reports) {
		r.t.Errorf("reported: %q, want %q", got, reports)
	}
	r.taken, r.reports = nil, nil
}

func (r *rig) wantStatus(loads, failures uint64, lastError string) {
	r.t.Helper()
	s := r.f.Status()
	if s.Loads != loads || s.Failures != failures || !strings.Contains(s.LastError, lastError) || (lastError == "") != (s.LastError == "") {
		r.t.Errorf("status is %+v, want %d loads, %d failures, the error %q", s, loads, failures, lastError)
	}
}

func one(r *rig) { r.write("file", "1") }

// configMap lays a directory out as Kubernetes mounts a ConfigMap: the file is
// a link through ..data, which is a link to the directory of one version.
func configMap(r *rig) {
	must(r.t, os.Mkdir(filepath.Join(r.dir, "..v1"), 0o755), os.Symlink("..v1", filepath.Join(r.dir, "..data")),
		os.Symlink(filepath.Join("..data", "file"), filepath.Join(r.dir, "file")))
	r.write("..v1/file", "1")
}

func TestChangeTakesEffectAtTheSecondLook(t *testing.T) {
	for _, tt := range []struct {
		name            string
		prepare, change func(r *rig)
	}{
		{"written in place", one, func(r *rig) { r.write("file", "2") }},
		{"replaced", one, func(r *rig) { r.replace("file", "2") }},
		{"removed and made again", one, func(r *rig) { r.remove("file"); r.write("file", "2") }},
		{"of the same size and modification time", one, func(r *rig) {
			info, err := os.Stat(r.paths[0])
			must(r.t, err)
			for len(r.paths) > 0 { // until the clock of change times has gone on
				r.write("file", "2")
				must(r.t, os.Chtimes(r.paths[0], info.ModTime(), info.ModTime()))
				if now, err := os.Stat(r.paths[0]); err != nil || changeTime(now) != changeTime(info) || changeTime(now).IsZero() {
					break
				}
			}
		}},
		{"a ConfigMap's next version", configMap, func(r *rig) {
			must(r.t, os.Mkdir(filepath.Join(r.dir, "..v2"), 0o755))
			r.write("..v2/file", "2")
			must(r.t, os.Symlink("..v2", filepath.Join(r.dir, "..data_tmp")),
				os.Rename(filepath.Join(r.dir, "..data_tmp"), filepath.Join(r.dir, "..data")), os.RemoveAll(filepath.Join(r.dir, "..v1")))
		}},
		{"a link changed", func(r *rig) {
			r.write("a", "1")
			must(r.t, os.Symlink("a", r.paths[0]))
		}, func(r *rig) {
			r.write("b", "2")
			must(r.t, os.Remove(r.paths[0]), os.Symlink("b", r.paths[0]))
		}},
		{"written behind a link", configMap, func(r *rig) { r.write("..v1/file", "2") }},
		{"a directory replaced", func(r *rig) {
			must(r.t, os.Mkdir(filepath.Join(r.dir, "sub"), 0o755), os.Symlink("sub/file", r.paths[0]))
			r.write("sub/file", "1")
		}, func(r *rig) {
			must(r.t, os.Rename(filepath.Join(r.dir, "sub"), filepath.Join(r.dir, "old")), os.Mkdir(filepath.Join(r.dir, "sub"), 0o755))
			r.write("sub/file", "2")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inRig(t, tt.prepare, func(r *rig) {
				r.want("1", "")
				tt.change(r)
				r.looks(1)
				r.want("", "")
				r.looks(1)
				r.want("2", "")
				r.wantStatus(2, 0, "")
				r.looks(10)
				r.want("", "")
			}, "file")
		})
	}
}

func TestLoadReturnsTheError(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "bad"), []byte("bad"), 0o600))
	for name, want := range map[string]string{"bad": "it is bad", "missing": "no such file or directory", "": "is not a regular file"} {
		synctest.Test(t, func(t *testing.T) {
			r := &rig{t: t}
			f := New(Config{Paths: []string{filepath.Join(dir, name)}, Take: r.take, Report: r.report})
			if err := f.Load(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: got %v, want %s", name, err, want)
			}
			r.want("", "")
			if s := f.Status(); s.Failures != 1 || !strings.Contains(s.LastError, want) {
				t.Errorf("%q: status is %+v", name, s)
			}
		})
	}
}

// Files that have not been modified lately are loaded without waiting.
func TestLoadWaitsOnlyForAFileThatMayBeHalfWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, []byte("1"), 0o600))
	synctest.Test(t, func(t *testing.T) {
		for _, age := range []time.Duration{0, Interval, -time.Hour} {
			must(t, os.Chtimes(path, time.Time{}, time.Now().Add(-age)))
			begin := time.Now()
			r := &rig{t: t}
			must(t, New(Config{Paths: []string{path}, Take: r.take}).Load(t.Context()))
			if took := time.Since(begin); (age < Interval) != (took == Interval) || age >= Interval && took != 0 {
				t.Errorf("a file modified %v ago is loaded after %v", age, took)
			}
		}
	})
}

func TestFileIsNotReadWhileItIsWritten(t *testing.T) {
	inRig(t, one, func(r *rig) {
		r.want("1", "")
		for n := range 10 { // truncated, then written bit by bit
			r.write("file", strings.Repeat("2", n))
			time.Sleep(Interval * 7 / 10)
		}
		r.want("", "")
		r.looks(2)
		r.want(strings.Repeat("2", 9), "")
		r.wantStatus(2, 0, "")
	}, "file")
}

// However often a reload is asked for, two looks are an interval apart.
func TestReloadDoesNotReadAFileThatIsWritten(t *testing.T) {
	inRig(t, one, func(r *rig) {
		r.want("1", "")
		for n := range 10 {
			r.write("file", strings.Repeat("2", n))
			r.f.Reload()
			time.Sleep(Interval / 5)
			r.f.Reload()
			time.Sleep(Interval / 5)
		}
		r.want("", "")
		r.looks(2)
		r.want(strings.Repeat("2", 9), "")
	}, "file")
}

// Files in the place of others are whole, however often they are replaced.
func TestFileThatIsReplacedAllTheTimeIsTaken(t *testing.T) {
	inRig(t, one, func(r *rig) {
		r.want("1", "")
		for n := 0; n < 100; n++ {
			r.replace("file", strings.Repeat("2", n))
			time.Sleep(30 * time.Millisecond)
		}
		r.mu.Lock()
		taken := len(r.taken)
		r.mu.Unlock()
		if taken < 3 {
			t.Errorf("taken %d times in 3 s, want at least once a second", taken)
		}
		r.looks(2)
		r.mu.Lock()
		defer r.mu.Unlock()
		if n := len(r.taken); n == 0 || r.taken[n-1] != strings.Repeat("2", 99) {
			t.Errorf("at last %q was taken", r.taken)
		}
	}, "file")
}

func TestFileThatIsWrittenAllTheTimeIsAnError(t *testing.T) {
	inRig(t, one, func(r *rig) {
		r.want("1", "")
		for n := 0; n < 35; n++ {
			r.write("file", strings.Repeat("2", n%7))
			time.Sleep(Interval * 7 / 10)
		}
		r.want("", "has been changing for 10s without a pause of 500ms")
		r.write("file", "3")
		r.looks(2)
		r.want("3", "")
		r.wantStatus(2, 1, "")
	}, "file")
}

// A file that is written while it is read is read again.
func TestFileThatIsWrittenWhileItIsRead(t *testing.T) {
	inRig(t, one, func(r *rig) {
		r.want("1", "")
		r.write("file", "bad")
		r.looks(1)
		written := false
		r.whileReading(func() error {
			if !written {
				r.write("file", "good")
			}
			written = true
			return nil
		})
		r.looks(1)
		r.want("", "") // though what was read is refused
		r.looks(2)
		r.want("good", "")
		r.wantStatus(2, 0, "")

		file, err := os.Open(r.paths[0])
		must(t, err)
		defer file.Close()
		o := open(r.paths)
		defer o.close()
		r.write("file", "another")
		if _, err := io.ReadAll(o.readers()[0]); err != ErrChanged {
			t.Errorf("reading a file that was written meanwhile returns %v, want ErrChanged", err)
		}
	}, "file")
}

func TestTakeCanSeeThatTheFileChanged(t *testing.T) {
	inRig(t, one, func(r *rig) {
		r.want("1", "")
		var changed []bool
		r.whileReading(func() error {
			changed = append(changed, r.f.Changed())
			if len(changed) == 1 {
				r.replace("file", "3")
			}
			changed = append(changed, r.f.Changed())
			return nil
		})
		r.write("file", "2")
		r.looks(2)
		r.want("2", "")
		r.looks(2)
		r.want("3", "")
		if !slices.Equal(changed, []bool{false, true, false, false}) {
			t.Errorf("changed: %v", changed)
		}
	}, "file")
}

func TestTakeMayAskForALaterLook(t *testing.T) {
	inRig(t, one, func(r *rig) {
		r.want("1", "")
		asked := 0
		r.whileReading(func() error {
			if asked++; asked < 3 {
				return ErrChanged
			}
			return nil
		})
		r.write("file", "2")
		r.looks(3)
		r.want("", "")
		r.looks(1)
		r.want("2", "")
		r.wantStatus(2, 0, "")
	}, "file")
}

// While the file is refused or missing, the content before stays in effect, and
// each fault is reported once.
func TestFaultsAreReportedOnce(t *testing.T) {
	inRig(t, one, func(r *rig) {
		r.want("1", "")
		checked := r.f.Status().CheckedAt
		r.write("file", "bad")
		r.looks(5)
		r.want("", "it is bad")
		r.wantStatus(1, 1, "it is bad")
		r.replace("file", "bad") // another file of the same content
		r.looks(5)
		r.want("", "")
		r.wantStatus(1, 1, "it is bad")
		r.f.Reload()
		r.f.Reload()
		r.looks(3)
		r.want("", "it is bad")
		r.wantStatus(1, 2, "it is bad")

		r.remove("file")
		r.looks(5)
		r.want("", "no such file or directory")
		r.wantStatus(1, 3, "no such file or directory")
		r.write("file", "bad")
		r.looks(5)
		r.want("", "")
		r.wantStatus(1, 3, "it is bad")
		if got := r.f.Status().CheckedAt; got.After(checked.Add(Interval)) {
			t.Error("a refused file was counted as checked")
		}
		r.write("file", "1")
		r.looks(5)
		r.want("", "good")
		r.wantStatus(1, 3, "")
		if age := time.Since(r.f.Status().CheckedAt); age > Interval {
			t.Errorf("the good file was checked %v ago", age)
		}
		r.write("file", "2")
		r.looks(5)
		r.want("2", "")
	}, "file")
}

func TestFileGoneForAMomentIsNotMissing(t *testing.T) {
	inRig(t, one, func(r *rig) {
		r.want("1", "")
		r.remove("file")
		r.looks(1)
		r.write("file", "2")
		r.looks(2)
		r.want("2", "")
		r.wantStatus(2, 0, "")
	}, "file")
}

func TestReloadTakesTheSameContentAgain(t *testing.T) {
	inRig(t, one, func(r *rig) {
		r.want("1", "")
		r.f.Reload()
		r.looks(2)
		r.want("1", "")
		r.wantStatus(2, 0, "")
	}, "file")
}

// Of a certificate and its key, one is renewed before the other.
func TestSeveralFilesAreTakenTogether(t *testing.T) {
	for name, change := range map[string]func(r *rig, name, content string){
		"written": (*rig).write, "replaced": (*rig).replace,
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, func(r *rig) { r.write("a", "1"); r.write("b", "1") }, func(r *rig) {
				r.want("1+1", "")
				change(r, "a", "2")
				r.looks(1)
				change(r, "b", "2")
				r.looks(2)
				r.want("2+2", "")
				r.remove("a")
				r.looks(2)
				r.want("", "no such file or directory")
				change(r, "a", "2")
				r.looks(2)
				r.want("", "good")
			}, "a", "b")
		})
	}
}

// Octets that move from one file to the next are a change.
func TestSumsKeepFilesApart(t *testing.T) {
	dir := t.TempDir()
	var sums []sum
	for _, c := range [][2]string{{"ab", "c"}, {"a", "bc"}, {"abc", ""}, {"ab", "c"}} {
		paths := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}
		must(t, os.WriteFile(paths[0], []byte(c[0]), 0o600), os.WriteFile(paths[1], []byte(c[1]), 0o600))
		o := open(paths)
		s, err := o.sum()
		must(t, err)
		o.close()
		sums = append(sums, s)
	}
	if sums[0] == sums[1] || sums[1] == sums[2] || sums[0] == sums[2] || sums[0] != sums[3] {
		t.Errorf("sums %x", sums)
	}
}

// Nothing stays open when Run ends.
func TestRunClosesTheFiles(t *testing.T) {
	inRig(t, one, func(r *rig) {
		r.write("file", "2")
		r.looks(1)
		held := r.f.held
		r.stop()
		if held == nil || r.f.held != nil || !slices.ContainsFunc(held.files, func(f *os.File) bool { return f.Close() != nil }) {
			t.Error("Run ended and left a file open")
		}
	}, "file")
}
