package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// machineAddr is the address of the namespace: that of the sample's first machine.
const machineAddr = "fdaa:0:18:a7b:7d:f066:b83b:2"

// inNamespace runs the test t in a process of its own, in a new network namespace. The namespace
// has only loopback, with the address machineAddr and a route for all of fdaa::/16: every port
// is free, and queries can come from any 6PN address. inNamespace returns true in that process.
// Outside it waits for the process, and returns false. It needs no root where users may make
// namespaces. others are flags of clone(2) for namespaces of other kinds.
func inNamespace(t *testing.T, others ...uintptr) bool {
	t.Helper()
	const inside = "INTERNALDNS_TEST_NAMESPACE"
	if os.Getenv(inside) == t.Name() {
		for _, args := range []string{
			"link set lo up",
			"-6 addr add " + machineAddr + "/128 dev lo",
			"-6 route add local fdaa::/16 dev lo",
		} {
			if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
				t.Fatalf("ip %s: %v\n%s", args, err, out)
			}
		}
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		lacks(t, "there is no ip here, of iproute2")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.run=^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$", "-test.v"}
	if *update {
		args = append(args, "-update")
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	for _, flag := range others {
		cmd.SysProcAttr.Cloneflags |= flag
	}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOSPC) {
		lacks(t, fmt.Sprintf("the system lets us make no network namespace: %v", err))
	}
	if err != nil {
		t.Errorf("in the namespace: %v\n%s", err, out)
	} else if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in the namespace, the test did not run:\n%s", out)
	}
	return false
}

// lacks skips a test that cannot run here. In CI it fails the test, since all can run there.
func lacks(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// The scripts in testdata/6pn are like those in testdata/script, but each runs in a network of
// its own, in which queries can come from 6PN addresses and port 53 is free.
func TestScriptsInA6PN(t *testing.T) {
	files, err := filepath.Glob("testdata/6pn/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			if inNamespace(t) {
				runScripts(t, testscript.Params{Files: []string{file}})
			}
		})
	}
}
