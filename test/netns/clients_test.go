//go:build linux

package netns

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	fly "github.com/azazeal/fly/dns"
)

var update = flag.Bool("update", false, "write what the clients print to testdata")

// programs are DNS clients, with their packages in Debian.
var programs = map[string]string{
	"dig": "bind9-dnsutils", "nslookup": "bind9-dnsutils", "host": "bind9-host", "getent": "libc-bin",
}

// The files in testdata are terminal sessions: commands, their output, and the exit
// status if it is not 0. The programs are those of Debian, and read
// /etc/resolv.conf.
func TestClients(t *testing.T) {
	for name := range programs {
		t.Run(name, func(t *testing.T) {
			hasProgram(t, name)
			serve(t, "[fdaa::3]:53")
			path := filepath.Join("testdata", name+".txt")
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for line := range strings.Lines(string(want)) {
				if command, ok := strings.CutPrefix(line, "$ "); ok {
					got += line + run(t, strings.TrimSuffix(command, "\n")) + "\n"
				}
			}
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			wants := strings.Split(string(want), "$ ")
			for i, session := range strings.Split(got, "$ ") {
				if session != wants[i] && !*update {
					t.Errorf("got  $ %s\nwant $ %s", session, wants[i])
				}
			}
		})
	}
}

// hasProgram skips the test if the program is not installed, or fails it in CI.
func hasProgram(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		need(t, fmt.Errorf("%s is not installed: apt-get install -y %s", name, programs[name]))
	}
}

// changing matches output that differs between runs or versions.
var changing = regexp.MustCompile(`(?m), id: \d+|^; <<>> DiG .* <<>>|^;; Query time: .*|^;; WHEN: .*| in \d+ ms$`)

// run runs a command and returns what it printed and its exit status.
func run(t testing.TB, command string) string {
	t.Helper()
	args := strings.Fields(command)
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	text := changing.ReplaceAllString(string(out), "")
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return text + fmt.Sprintf("exit status %d\n", exit.ExitCode())
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// For a name that exists, no client prints what users read as "it does not exist".
// They did when A records of an app were answered with NXDOMAIN.
func TestNoClientReportsAnExistingNameAsAbsent(t *testing.T) {
	for _, command := range []string{"host", "nslookup"} {
		hasProgram(t, command)
	}
	serve(t, "[fdaa::3]:53")
	for _, name := range []string{"web.internal", "asleep.internal", "_apps.internal", "vm.web.internal", "web.flycast"} {
		for _, command := range []string{"host", "nslookup"} {
			out := run(t, command+" "+name)
			for _, bad := range []string{"not found", "NXDOMAIN", "Non-authoritative", "SERVFAIL", "REFUSED", "exit status"} {
				if strings.Contains(out, bad) {
					t.Errorf("%s %s prints %q:\n%s", command, name, bad, out)
				}
			}
		}
	}
}

// A program on a machine uses a library for Fly's names, with the resolver of Go and
// with that of the system. Both read /etc/resolv.conf.
func TestFlyLibraryOnAMachine(t *testing.T) {
	serve(t, "[fdaa::3]:53")
	for name, r := range map[string]*net.Resolver{
		"Go's resolver": {PreferGo: true}, "the system's resolver": {},
	} {
		d, ctx := fly.New(r), context.Background()
		apps, err := d.Apps(ctx)
		if got := strings.Join(apps, " "); got != "asleep fly-builder-quiet-sun-7 pg web" || err != nil {
			t.Errorf("%s: Apps() is %s, %v", name, got, err)
		}
		if own, err := d.PrivateIP(ctx); own.String() != machine || err != nil {
			t.Errorf("%s: PrivateIP() is %v, %v; want %s", name, own, err, machine)
		}
		if peer, err := d.Peer(ctx, "my-peer"); peer.String() != "fdaa:0:18:a7b:d6b:0:a:102" || err != nil {
			t.Errorf("%s: Peer(my-peer) is %v, %v", name, peer, err)
		}
		if ips, err := d.Instances(ctx, "web", ""); len(ips) != 3 || err != nil {
			t.Errorf("%s: Instances(web) is %v, %v", name, ips, err)
		}
		if names, err := r.LookupAddr(ctx, machine); len(names) != 1 || names[0] != "148e21dad76789.vm.web.internal." || err != nil {
			t.Errorf("%s: the name of %s is %v, %v", name, machine, names, err)
		}
	}
}
