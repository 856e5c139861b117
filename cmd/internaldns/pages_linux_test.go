package main

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Every command that a page of docs shows prints what the page shows, if they run in its order.
// A command that ends in & runs until the page kills it, or until the page ends.
func TestWhatThePageOnClustersShowsIsSo(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for _, program := range []string{"etcd", "etcdctl"} {
		if _, err := exec.LookPath(program); err != nil {
			lacks(t, "there is no "+program+" here; it comes with: apt-get install etcd-server etcd-client")
		}
	}
	runPage(t, "../../docs/cluster.md")
}

// The page makes a namespace for a machine. It ends with the namespace of the test.
func TestWhatThePageOnLabsShowsIsSo(t *testing.T) {
	if os.Getuid() != 0 {
		lacks(t, "namespaces that have names need root")
	}
	if !inNamespace(t, syscall.CLONE_NEWNS) {
		return
	}
	if _, err := exec.LookPath("dig"); err != nil {
		lacks(t, "there is no dig here; it comes with: apt-get install bind9-dnsutils")
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", "/run", "tmpfs", 0, ""); err != nil { // where ip keeps names
		t.Fatal(err)
	}
	for _, args := range []string{"route del local fdaa::/16 dev lo", "addr del " + machineAddr + "/128 dev lo"} {
		if out, err := exec.Command("ip", append([]string{"-6"}, strings.Fields(args)...)...).CombinedOutput(); err != nil {
			t.Fatalf("ip -6 %s: %v\n%s", args, err, out)
		}
	}
	runPage(t, "../../docs/lab.md")
}

// pagePatience is the time in which a page's command must print what the page shows. A busy
// machine may need most of it to restart an etcd.
const pagePatience = 20 * time.Second

func runPage(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	t.Chdir(t.TempDir())
	var jobs []func() // what stops each
	defer func() {
		for i := range jobs { // the last first
			jobs[len(jobs)-1-i]()
		}
	}()
	for _, b := range blocks(string(text)) {
		if b.language == "yaml" {
			write(t, "shop.yaml", b.text)
		}
		for _, c := range b.commands() {
			line, background := strings.CutSuffix(c.line, " &")
			switch {
			case background && serves(line):
				jobs = append(jobs, serveLine(t, line))
			case background:
				jobs = append(jobs, etcdLine(t, line))
			case c.line == "kill %1":
				jobs[0]()
				jobs = jobs[1:]
			default:
				showLine(t, c)
			}
		}
	}
}

// showLine runs a line again and again until it prints what the page shows.
func showLine(t *testing.T, c shown) {
	t.Helper()
	deadline := time.Now().Add(pagePatience)
	for range time.Tick(50 * time.Millisecond) {
		out, err := exec.Command("sh", "-c", c.line).CombinedOutput()
		if err == nil && c.output == string(out) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("$ %s (%v)\n got\n%swant\n%s", c.line, err, out, c.output)
		}
	}
}

// etcdLine runs a line that starts etcd, and returns when etcd answers.
func etcdLine(t *testing.T, line string) (stop func()) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "exec "+line)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(pagePatience)
	for range time.Tick(50 * time.Millisecond) {
		conn, err := net.Dial("tcp", "127.0.0.1:2379")
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s\ndoes not answer: %v", line, err)
		}
	}
	return func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}
}
