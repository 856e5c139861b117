//go:build linux

package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/bench/internal/affinity"
)

// process is one server running.
type process struct {
	peer   Peer
	site   Site
	argv   []string
	addr   netip.AddrPort // what to ask
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended
	loaded time.Duration // from its start to the first right answer
	log    string
	asked  uint32 // new names so far
}

// start starts the server on that CPU and waits until it answers the probe
// right. Its processes must be stopped by stop, whatever start returned
// besides an error.
func start(ctx context.Context, p Peer, site Site, cpu int, probe *dataset.Query) (*process, error) {
	site.Dir = filepath.Join(site.Dir, p.Name)
	if err := os.MkdirAll(site.Dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if site.Listen, err = freePort(site.Listen.Addr()); err != nil {
		return nil, err
	}
	if site.Admin, err = freePort(site.Listen.Addr()); err != nil {
		return nil, err
	}
	argv, err := p.Command(&site)
	if err != nil {
		return nil, err
	}
	pr := &process{peer: p, site: site, argv: argv, addr: site.Listen, exited: make(chan struct{}), log: filepath.Join(site.Dir, "output")}
	out, err := os.Create(pr.log)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the server has its own descriptor
	pr.cmd = exec.Command(argv[0], argv[1:]...)
	pr.cmd.Dir = site.Dir
	pr.cmd.Stdout, pr.cmd.Stderr = out, out
	pr.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for us to pass on; see stop
	began := time.Now()
	if err := affinity.Start(pr.cmd, cpu); err != nil {
		return nil, err
	}
	go func() {
		pr.cmd.Wait()
		close(pr.exited)
	}()
	if err := pr.ready(ctx, probe); err != nil {
		pr.stop()
		return nil, fmt.Errorf("%w\n%s", err, pr.tail())
	}
	pr.loaded = time.Since(began)
	if cpu >= 0 { // some servers choose CPUs for their threads themselves
		err = pin(pr.pids(), cpu)
	}
	return pr, err
}

// ready asks the probe until it is answered right, the server ends or the
// context is done.
func (pr *process) ready(ctx context.Context, probe *dataset.Query) error {
	conn, err := net.Dial("udp", pr.addr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	buf := make([]byte, 65535)
	last := errors.New("no response")
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w (%w)", pr.peer.Name, context.Cause(ctx), last)
		case <-pr.exited:
			return fmt.Errorf("%s ended: %v", pr.peer.Name, pr.cmd.ProcessState)
		case <-time.After(20 * time.Millisecond):
		}
		conn.Write(probe.Message)
		conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := conn.Read(buf)
		switch {
		case err != nil || n < 12:
		case pr.peer.Echo && bytes.HasPrefix(buf[:n], probe.Message):
			return nil
		case buf[2]&0x80 != 0 && buf[3]&0xf == probe.Want.RCode && uint16(buf[6])<<8|uint16(buf[7]) == probe.Want.Answers:
			return nil
		default:
			last = fmt.Errorf("last response had RCODE %d and %d answers", buf[3]&0xf, uint16(buf[6])<<8|uint16(buf[7]))
		}
	}
}

// patience is how long a server may take to stop by itself. It has nothing to
// save.
const patience = 5 * time.Second

// stop ends the server and waits until it is gone.
func (pr *process) stop() {
	pr.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-pr.exited:
	case <-time.After(patience):
	}
	// The group is the server's own: what is left of it, children of one that
	// ended without them included, ends now.
	syscall.Kill(-pr.cmd.Process.Pid, syscall.SIGKILL)
	<-pr.exited
}

// tail returns the end of what the server printed.
func (pr *process) tail() string {
	b, err := os.ReadFile(pr.log)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// shown returns the command with the names of files only: their directories
// say nothing about the measurement.
func (pr *process) shown() string {
	var words []string
	for _, w := range pr.argv {
		if i := strings.LastIndexByte(w, filepath.Separator); i >= 0 && filepath.IsAbs(strings.TrimLeft(w[:i+1], "-=abcdefghijklmnopqrstuvwxyz")) {
			flag := ""
			if eq := strings.IndexByte(w, '='); eq >= 0 && eq < i {
				flag = w[:eq+1]
			}
			w = flag + w[i+1:]
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

// freePort returns an address whose port is free for UDP and TCP now. A server
// that finds it taken fails to start, and says so.
func freePort(host netip.Addr) (netip.AddrPort, error) {
	for range 100 {
		l, err := net.Listen("tcp", netip.AddrPortFrom(host, 0).String())
		if err != nil {
			return netip.AddrPort{}, err
		}
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		u, err := net.ListenPacket("udp", addr.String())
		if err == nil {
			err = u.Close()
		}
		if errors.Join(err, l.Close()) == nil {
			return addr, nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("no port of %v is free for UDP and TCP: %w", host, io.ErrNoProgress)
}
