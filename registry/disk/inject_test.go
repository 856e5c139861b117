//go:build linux

package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/internaldns/internaldns/registry"
)

// When a disk fails now and then, writes are refused for a moment, and none that was
// acknowledged is lost.
func TestADiskThatFailsNowAndThen(t *testing.T) {
	needProgram(t, "strace")
	for _, fault := range []string{
		"fdatasync:error=EIO:when=8+7",
		"pwrite64:error=ENOSPC:when=21+11",
		"pwrite64:error=EIO:when=22+17",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			dir, out := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "trace")
			name, _, _ := strings.Cut(fault, ":")
			cmd := child(t, "retry", dir, "strace", "-f", "-o", out, "-e", "trace="+name, "-e", "inject="+fault)
			said, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(said, []byte("fail ")); n == 0 {
				t.Error("no write failed")
			}
			trace, err := os.ReadFile(out)
			if err != nil || !bytes.Contains(trace, []byte("INJECTED")) {
				t.Errorf("strace injected nothing, %v", err)
			}
			s := load(t, dir)
			defer s.close()
			for w := range childWriters {
				if n := bytes.Count(said, fmt.Appendf(nil, "ack %d ", w)); n != childSteps {
					t.Errorf("writer %d had %d writes acknowledged, want %d", w, n, childSteps)
				}
				if got, want := listed(s.store.Snapshot(), w), after(w, childSteps); got != want {
					t.Errorf("of writer %d there is\n%swant\n%s", w, got, want)
				}
			}
		})
	}
}

// A file that cannot be read is not served, and the error does not call it damaged.
func TestADiskThatCannotBeRead(t *testing.T) {
	needProgram(t, "strace")
	dir, _ := sampleDir(t, 100)
	for when := 1; when <= 13; when += 3 {
		trace := filepath.Join(t.TempDir(), "trace")
		cmd := child(t, "write", dir, "strace", "-f", "-o", trace, "-P", filepath.Join(dir, fileName),
			"-e", "trace=pread64", "-e", fmt.Sprintf("inject=pread64:error=EIO:when=%d+", when))
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.Output()
		// strace counts the calls of each thread, and reads may be spread over so many
		// threads that none makes that many.
		calls, traceErr := os.ReadFile(trace)
		if !bytes.Contains(calls, []byte("INJECTED")) {
			if when == 1 {
				t.Errorf("strace injected nothing, %v", traceErr)
			}
			continue
		}
		if err == nil || len(out) > 0 {
			t.Errorf("with read %d failing, the registry is served", when)
		}
		if s := said.String(); !strings.Contains(s, "input/output error") || strings.Contains(s, "damaged") {
			t.Errorf("with read %d failing, Load says %s", when, s)
		}
	}
	load(t, dir).close()
}

func init() {
	children["fill"] = childFills
	children["readonly"] = childReadsOnly
}

// mounted runs a task in a child with a mount namespace of its own.
func mounted(t *testing.T, task string) {
	if os.Getuid() != 0 {
		need(t, errors.New("mounting a small file system takes root"))
	}
	cmd := child(t, task, t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		t.Fatalf("%v\n%s", err, out)
	} else if err != nil {
		need(t, fmt.Errorf("no mount namespace here: %w", err))
	}
	t.Logf("%s", out)
}

// mount mounts a tmpfs of that size in a child.
func mount(dir, size string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
}

// On a full tmpfs of 64 KiB writes are refused, and the registry is served. When there
// is more room, writes are made again.
func TestAFullDisk(t *testing.T) { mounted(t, "fill") }

// childFills is TestAFullDisk in a mount namespace of its own.
func childFills(dir string) error {
	if err := mount(dir, "64k"); err != nil {
		return err
	}
	store := registry.NewStore(nil)
	k := New(dir, store, zap.NewNop())
	if err := k.Load(context.Background()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error)
	go func() { ended <- k.Run(ctx) }()
	put := func(n int) error {
		_, err := k.Write(ctx, func(*registry.Snapshot) (registry.Write, error) {
			return registry.Write{Events: []registry.Event{app, putMachine(n, "started")}}, nil
		})
		return err
	}
	acked := 0
	var err error
	for err == nil {
		if err = put(acked); err == nil {
			acked++
		}
	}
	fmt.Printf("after %d machines: %v\n", acked, err)
	if !errors.Is(err, registry.ErrFull) {
		return fmt.Errorf("the full disk is reported as %w", err)
	}
	for range 20 { // nor is a write lost when the disk is tried again and again
		if put(acked) == nil {
			acked++ // pages may have become free
		}
		time.Sleep(firstRetry / 5) // the real clock is meant: the Keeper tries the disk again in between
	}
	if n := store.Snapshot().Stats().Total(); n != acked {
		return fmt.Errorf("%d machines were acknowledged, and %d are served", acked, n)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=1m"); err != nil {
		return err
	}
	begun := time.Now()
	if err := untilWritten(k, func() error { return put(acked) }); err != nil {
		return fmt.Errorf("with more room %w", err)
	}
	acked++
	fmt.Printf("with more room, a write was made after %v\n", time.Since(begun))
	cancel()
	if err := <-ended; err != nil {
		return err
	}
	if _, err := Check(dir, nil); err != nil {
		return err
	}
	again := registry.NewStore(nil)
	k = New(dir, again, zap.NewNop())
	if err := k.Load(context.Background()); err != nil {
		return err
	}
	defer k.close()
	if n := again.Snapshot().Stats().Total(); n != acked {
		return fmt.Errorf("%d machines were acknowledged, and after a restart there are %d", acked, n)
	}
	return nil
}

// patience bounds how long a test waits for the Keeper. Only one that never recovers
// takes that long.
const patience = time.Minute

// untilWritten repeats a write until it is made. The real clock is meant: the Keeper
// tries the disk again by itself.
func untilWritten(k *Keeper, write func() error) error {
	for end := time.Now().Add(patience); write() != nil; time.Sleep(firstRetry / 5) {
		if time.Now().After(end) {
			return fmt.Errorf("writes still fail: %+v", k.Status())
		}
	}
	return nil
}

// A registry on a read-only disk is served. Writes are made when the disk can be written.
func TestAReadOnlyDisk(t *testing.T) { mounted(t, "readonly") }

// childReadsOnly is TestAReadOnlyDisk in a mount namespace of its own.
func childReadsOnly(dir string) error {
	if err := errors.Join(mount(dir, "4m"), childWrites(dir, 0)); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "size=4m"); err != nil {
		return err
	}
	if _, err := Check(dir, nil); err != nil {
		return err
	}
	store := registry.NewStore(nil)
	k := New(dir, store, zap.NewNop())
	if err := k.Load(context.Background()); err != nil {
		return err
	}
	for w := range childWriters {
		if got, want := listed(store.Snapshot(), w), after(w, childSteps); got != want {
			return fmt.Errorf("of writer %d there is\n%swant\n%s", w, got, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error)
	go func() { ended <- k.Run(ctx) }()
	put := func() error {
		_, err := k.Write(ctx, func(*registry.Snapshot) (registry.Write, error) {
			return registry.Write{Events: []registry.Event{putMachine(9999, "started")}}, nil
		})
		return err
	}
	if err := put(); !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "read-only file system") {
		return fmt.Errorf("on a read-only disk a write ends with: %w", err)
	}
	if st := k.Status(); st.Writable || st.NotSince.IsZero() {
		return fmt.Errorf("the status is %+v", st)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=4m"); err != nil {
		return err
	}
	begun := time.Now()
	if err := untilWritten(k, put); err != nil {
		return fmt.Errorf("on a disk that can be written %w", err)
	}
	fmt.Printf("on a disk that can be written again, a write was made after %v\n", time.Since(begun))
	cancel()
	return errors.Join(<-ended)
}
