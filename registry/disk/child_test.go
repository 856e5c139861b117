package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
)

// Some tests need a further process, which is traced or has a file system of its own.
// It is this program, with the task in this variable of the environment.
const childEnv = "INTERNALDNS_DISK_TEST"

func TestMain(m *testing.M) {
	if task := os.Getenv(childEnv); task != "" {
		if err := children[task](os.Getenv(childEnv + "_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

var children = map[string]func(dir string) error{
	"write": func(dir string) error { return childWrites(dir, 0) },
	"retry": func(dir string) error { return childWrites(dir, 100*time.Millisecond) },
}

// child returns the command that does a task in dir. wrap, such as strace, comes
// before it.
func child(t testing.TB, task, dir string, wrap ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(wrap, self)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childEnv+"="+task, childEnv+"_DIR="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// need skips the test if something is missing. In CI it fails the test.
func need(t testing.TB, missing error) {
	t.Helper()
	switch {
	case missing == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(missing)
	default:
		t.Skip(missing)
	}
}

func needProgram(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		need(t, fmt.Errorf("there is no %s here: apt-get install -y %s", name, name))
	}
}

const (
	childWriters = 4
	childSteps   = 15 // of each writer
)

// step returns the event of the nth step of a writer.
func step(writer, n int) registry.Event {
	if n%5 == 4 {
		m := machine(writer*1000+n-2, "")
		return registry.Delete(registry.Key{Kind: registry.KindMachine, Network: network, Name: "web", ID: m.ID})
	}
	if n%5 == 3 {
		return putMachine(writer*1000+n-3, "stopped")
	}
	return putMachine(writer*1000+n, "started")
}

// after returns what listed returns after so many steps of a writer.
func after(writer, steps int) string {
	key := [2]int{writer, steps}
	if out, ok := afters.Load(key); ok {
		return out.(string)
	}
	s := registry.NewStore(nil)
	s.Apply([]registry.Event{app})
	for n := range steps {
		s.Apply([]registry.Event{step(writer, n)})
	}
	out := listed(s.Snapshot(), writer)
	afters.Store(key, out)
	return out
}

var afters sync.Map // what after returned

// memoryDir returns a directory in memory, where a sync takes no time, or, where there
// is none, on the disk.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "internaldns-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// listed returns the machines of a writer, one a line.
func listed(s *registry.Snapshot, writer int) string {
	var b strings.Builder
	if a := s.App(network, "web"); a != nil {
		for m := range s.Machines(a) {
			if n, _ := strconv.ParseUint(m.ID, 16, 64); int(n)/1000 == writer {
				fmt.Fprintln(&b, n, m.State)
			}
		}
	}
	return b.String()
}

// childWrites has all writers do their steps. A line on standard output shows each
// step that is sent, and each that is acknowledged. With retry, a step that fails is
// repeated after that time.
func childWrites(dir string, retry time.Duration) error {
	k := New(dir, registry.NewStore(nil), zap.NewNop())
	if err := k.Load(context.Background()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var run, writers sync.WaitGroup
	run.Go(func() { k.Run(ctx) })
	write := func(e registry.Event) error {
		_, err := k.Write(ctx, func(*registry.Snapshot) (registry.Write, error) {
			return registry.Write{Events: []registry.Event{e}}, nil
		})
		return err
	}
	print := func(format string, args ...any) { os.Stdout.WriteString(fmt.Sprintf(format, args...)) }
	for retry > 0 && write(app) != nil {
		time.Sleep(retry) // the real clock is meant, here and below: the Keeper tries the disk again in between
	}
	if err := write(app); err != nil {
		return err
	}
	failed := make([]error, childWriters)
	for w := range childWriters {
		writers.Go(func() {
			for n := range childSteps {
				print("send %d %d\n", w, n)
				err := write(step(w, n))
				for err != nil && retry > 0 && (errors.Is(err, registry.ErrUnavailable) || errors.Is(err, registry.ErrFull)) {
					print("fail %d %d\n", w, n)
					time.Sleep(retry)
					err = write(step(w, n))
				}
				if err != nil {
					failed[w] = err
					return
				}
				print("ack %d %d\n", w, n)
			}
		})
	}
	writers.Wait()
	cancel()
	run.Wait()
	return errors.Join(failed...)
}
