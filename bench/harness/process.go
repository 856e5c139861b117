//go:build linux

package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/internaldns/internaldns/bench/load"
)

// A Process is a program that a scenario started, with its descendants.
type Process struct {
	Loaded time.Duration // from its start until it was ready

	cmd    *exec.Cmd
	output string        // the file of what it printed
	exited chan struct{} // closed when the process has ended
}

const (
	// stopTime is how long a process may take to stop after SIGTERM, before it is
	// killed. No server here has anything to save.
	stopTime = 5 * time.Second

	// askEvery is the time between two checks whether a process is ready.
	askEvery = 20 * time.Millisecond
)

// Start starts the command in dir, an existing directory, with all its threads on
// that CPU, or on any if cpu is negative. It calls ready until that returns nil. If
// the process ends before, or ctx is done, the error has the end of its output.
func Start(ctx context.Context, dir string, cpu int, argv []string, ready func() error) (*Process, error) {
	p := &Process{cmd: exec.Command(argv[0], argv[1:]...), output: filepath.Join(dir, "output"), exited: make(chan struct{})}
	out, err := os.Create(p.output)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the process has its own descriptor
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of the terminal is for this program; see Stop
	began := time.Now()
	if err := startOn(cpu, p.cmd); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		close(p.exited)
	}()
	for {
		err := ready()
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			err = fmt.Errorf("%s is not ready: %w: %w", filepath.Base(argv[0]), context.Cause(ctx), err)
		case <-p.exited:
			err = fmt.Errorf("%s ended: %v", filepath.Base(argv[0]), p.cmd.ProcessState)
		case <-time.After(askEvery):
			continue
		}
		p.Stop()
		return nil, fmt.Errorf("%w\n%s", err, p.tail())
	}
	p.Loaded = time.Since(began)
	for _, pid := range p.PIDs() { // some servers choose CPUs for their threads themselves
		if cpu >= 0 && err == nil {
			err = Bind(pid, cpu)
		}
	}
	if err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// startNice is the niceness that this program was started with. The system call
// returns 20 minus the niceness.
var startNice = func() int {
	n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return 0
	}
	return 20 - n
}()

// startOn starts the command with its threads on the CPU, or on every CPU.
func startOn(cpu int, cmd *exec.Cmd) error {
	// A child inherits affinity and niceness of the thread that forks it.
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		// A server in this process can have reniced its other threads, which a child
		// inherits too: the load generator would be disturbed by other programs. Only
		// root may undo it; others measure on a quiet machine.
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, startNice)
		if err := bindThread(cpu); err != nil {
			done <- err
			return
		}
		done <- cmd.Start()
	}()
	return <-done
}

// PIDs returns the process and all its descendants.
func (p *Process) PIDs() []int { return descendants(p.cmd.Process.Pid) }

// Stop ends the process and its descendants, and waits until it is gone.
func (p *Process) Stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopTime):
	}
	// The process group holds what is left, such as children of a process that
	// ended without them.
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.exited
}

// tail returns the last lines that the process printed.
func (p *Process) tail() string {
	b, err := os.ReadFile(p.output)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// A Server is a running "internaldns serve".
type Server struct {
	*Process
	DNS   netip.AddrPort // the first address that it answers at
	Admin string         // HOST:PORT; "" if it is off
	API   string         // HOST:PORT; "" if it is off
}

// Serve starts "program serve" with args in a new directory below dir, and returns
// when it answers queries. Its addresses may have port 0.
func Serve(ctx context.Context, dir, program string, args ...string) (*Server, error) {
	dir, err := os.MkdirTemp(dir, "serve-")
	if err != nil {
		return nil, err
	}
	s := new(Server)
	s.Process, err = Start(ctx, dir, -1, append([]string{program, "serve"}, args...), func() error {
		log, err := os.ReadFile(filepath.Join(dir, "output"))
		if err != nil {
			return err
		}
		for line := range bytes.Lines(log) {
			var l struct {
				Msg, Admin, API string
				DNS             []netip.AddrPort
			}
			json.Unmarshal(line, &l) // a line that is not JSON has no Msg
			switch l.Msg {
			case "listening":
				s.DNS, s.Admin, s.API = l.DNS[0], l.Admin, l.API
			case "serving":
				return nil
			}
		}
		return errors.New("it does not serve yet")
	})
	return s, err
}

// OK returns nil if a GET of the URL is answered with 200 within 5 s.
func OK(url string) error {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// FreePort returns an address of the host whose port is free for UDP and TCP now.
// A server that finds it taken fails to start.
func FreePort(host netip.Addr) (netip.AddrPort, error) {
	var err error
	for range 100 {
		l, e := net.Listen("tcp", netip.AddrPortFrom(host, 0).String())
		if e != nil {
			return netip.AddrPort{}, e
		}
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		u, e := net.ListenPacket("udp", addr.String())
		if e == nil {
			e = u.Close()
		}
		if err = errors.Join(e, l.Close()); err == nil {
			return addr, nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("no port of %v is free for UDP and TCP: %w", host, err)
}

// Load sends queries from a process of its own, so that the generator does not
// wait where this process waits. args are those of the command "bench load".
func Load(ctx context.Context, args ...string) (*load.Result, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"load", "--format", "json"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = startOn(-1, cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return nil, fmt.Errorf("bench load: %w: %s", err, OneLine(errs.String()))
	}
	r := new(load.Result)
	return r, json.Unmarshal(out.Bytes(), r)
}
