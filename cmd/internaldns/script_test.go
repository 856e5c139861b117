package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write golden files anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"internaldns": main,
		"get":         get,
	})
}

// The scripts in testdata/script run the program as users do. Each has org.json,
// the sample registry, in its directory. Forwarding is off unless the script turns it on.
// Beside testscript's own commands there are:
//
//	serve ARGS…        start internaldns serve, wait until it serves; $DNS, $ADMIN
//	                   and $API are then its addresses
//	log PATTERN        wait for a log line, later than the last one waited for
//	signal NAME        send HUP, INT, TERM or KILL
//	halt               send TERM, and expect exit status 0 (stop is testscript's own)
//	gone STATUS        wait for the end, and expect this exit status
//	try PREFIX         run each line of serve.out with this prefix, and expect an answer
//	metric PATTERN     scrape $ADMIN until a line matches; if negated, expect no match
//	dawdle             connect to $ADMIN, and send nothing
//	upstream NAME FILE [HOST:PORT]
//	                   start a server of the records in FILE; $NAME is its address
//	certificate CERT KEY
//	                   make a self-signed certificate for 127.0.0.1
//	heard NAME PATTERN expect that it was asked "TYPE name." that matches; if negated, not
//	exec get URL       print status and body of an HTTP response
//
// When the server has ended, its output is in serve.out and serve.err.
func TestScripts(t *testing.T) {
	runScripts(t, testscript.Params{Dir: "testdata/script"})
}

// runScripts runs the scripts of p.
func runScripts(t *testing.T, p testscript.Params) {
	p.UpdateScripts = *update
	p.RequireUniqueNames = true
	p.RequireExplicitExec = true
	p.Setup = func(env *testscript.Env) error {
		// Built with the race detector, a program lingers for a second.
		env.Setenv("GORACE", "atexit_sleep_ms=0")
		// No test asks the nameservers of this machine.
		env.Setenv("INTERNALDNS_UPSTREAM", "off")
		return os.WriteFile(filepath.Join(env.WorkDir, "org.json"), sampleJSON, 0o644)
	}
	p.Cmds = map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"serve":    scriptServe,
		"log":      scriptLog,
		"signal":   scriptSignal,
		"halt":     scriptHalt,
		"gone":     scriptGone,
		"try":      scriptTry,
		"metric":   scriptMetric,
		"dawdle":   scriptDawdle,
		"upstream": scriptUpstream,
		"heard":    scriptHeard,

		"certificate": scriptCertificate,
	}
	testscript.Run(t, p)
}

// patience is the time that one step of a script waits for an event. Only a program that hangs
// takes as long, even on a busy machine.
const patience = 2 * time.Minute

// A serving is one internaldns serve that a script started.
type serving struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process has ended and its logs are read
	mu     sync.Mutex
	lines  []string      // guarded by mu; its log so far
	more   chan struct{} // guarded by mu; closed when there is more
	next   int           // the first line that log has not passed
	status int           // after ended; -1 if a signal ended it
}

var (
	servingsMu sync.Mutex
	servings   = map[*testscript.TestScript]*serving{}
)

func servingOf(ts *testscript.TestScript) *serving {
	servingsMu.Lock()
	defer servingsMu.Unlock()
	s := servings[ts]
	if s == nil {
		ts.Fatalf("nothing is being served")
	}
	return s
}

func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("for a serve that fails, use ! exec internaldns serve")
	}
	path, err := exec.LookPath("internaldns")
	ts.Check(err)
	cmd := exec.Command(path, append([]string{"serve"}, args...)...)
	cmd.Dir = ts.Getenv("WORK")
	cmd.Env = append(cmd.Environ(), strings.Split(scriptEnviron(ts), "\n")...)
	out, err := os.Create(ts.MkAbs("serve.out"))
	ts.Check(err)
	cmd.Stdout = out
	stderr, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())

	s := &serving{cmd: cmd, ended: make(chan struct{}), more: make(chan struct{})}
	go s.follow(stderr, ts.MkAbs("serve.err"))
	servingsMu.Lock()
	servings[ts] = s
	servingsMu.Unlock()
	ts.Defer(func() {
		out.Close()
		cmd.Process.Kill()
		<-s.ended
		servingsMu.Lock()
		delete(servings, ts)
		servingsMu.Unlock()
	})

	var line struct {
		DNS   []string
		Admin string
		API   string
	}
	ts.Check(json.Unmarshal([]byte(s.await(ts, `"msg":"listening"`)), &line))
	s.await(ts, `"msg":"serving"`)
	ts.Setenv("DNS", line.DNS[len(line.DNS)-1])
	ts.Setenv("ADMIN", line.Admin)
	ts.Setenv("API", line.API)
}

// scriptEnviron returns the variables that the script has set for the program.
func scriptEnviron(ts *testscript.TestScript) string {
	var vars []string
	for i := range settings {
		name := settings[i].env()
		if v := ts.Getenv(name); v != "" {
			vars = append(vars, name+"="+v)
		}
	}
	for _, name := range []string{"PATH", "GORACE", "INTERNALDNS_PORT", "INTERNALDNS_SERVICE_HOST"} {
		vars = append(vars, name+"="+ts.Getenv(name))
	}
	return strings.Join(vars, "\n")
}

// follow collects the log until it ends, and waits for the process.
func (s *serving) follow(stderr io.Reader, path string) {
	defer close(s.ended)
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		s.mu.Lock()
		s.lines = append(s.lines, lines.Text())
		close(s.more)
		s.more = make(chan struct{})
		s.mu.Unlock()
	}
	s.cmd.Wait()
	s.status = s.cmd.ProcessState.ExitCode()
	os.WriteFile(path, []byte(strings.Join(s.lines, "\n")+"\n"), 0o644)
}

// await returns the next line of the log that matches.
func (s *serving) await(ts *testscript.TestScript, pattern string) string {
	re, err := regexp.Compile(pattern)
	ts.Check(err)
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		for s.next < len(s.lines) {
			line := s.lines[s.next]
			s.next++
			if re.MatchString(line) {
				s.mu.Unlock()
				ts.Logf("%s", line)
				return line
			}
		}
		more := s.more
		s.mu.Unlock()
		select {
		case <-more:
			continue
		case <-s.ended:
			ts.Fatalf("the server ended with status %d without logging %s:\n%s", s.status, pattern, strings.Join(s.lines, "\n"))
		case <-timeout:
			ts.Fatalf("no log line matches %s after %v", pattern, patience)
		}
	}
}

func scriptLog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: log PATTERN")
	}
	servingOf(ts).await(ts, args[0])
}

func scriptSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
	if neg || len(args) != 1 || signals[args[0]] == nil {
		ts.Fatalf("usage: signal HUP|INT|TERM|KILL")
	}
	ts.Check(servingOf(ts).cmd.Process.Signal(signals[args[0]]))
}

func scriptHalt(ts *testscript.TestScript, _ bool, _ []string) {
	scriptSignal(ts, false, []string{"TERM"})
	scriptGone(ts, false, []string{"0"})
}

func scriptGone(ts *testscript.TestScript, _ bool, args []string) {
	s := servingOf(ts)
	select {
	case <-s.ended:
	case <-time.After(patience):
		ts.Fatalf("the server is still there after %v", patience)
	}
	if got := fmt.Sprint(s.status); len(args) != 1 || got != args[0] {
		ts.Fatalf("the server ended with status %s, want %v:\n%s", got, args, strings.Join(s.lines, "\n"))
	}
}

// scriptTry runs the commands that the program suggests.
func scriptTry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: try PREFIX")
	}
	prefix, tried := strings.Join(args, " "), 0
	for line := range strings.Lines(ts.ReadFile("serve.out")) {
		words := strings.Fields(line)
		if !strings.HasPrefix(strings.TrimSpace(line), prefix+" ") {
			continue
		}
		tried++
		ts.Check(ts.Exec(words[0], words[1:]...))
		if out := ts.ReadFile("stdout"); !strings.Contains(out, "status: NOERROR") || !strings.Contains(out, "ANSWER: ") || strings.Contains(out, "ANSWER: 0") {
			ts.Fatalf("%s\ngave no answer:\n%s", line, out)
		}
	}
	if tried != len(tryThese) {
		ts.Fatalf("%d lines begin with %q, want %d", tried, prefix, len(tryThese))
	}
}

// scriptDawdle opens a connection and sends nothing.
func scriptDawdle(ts *testscript.TestScript, _ bool, _ []string) {
	conn, err := net.Dial("tcp", ts.Getenv("ADMIN"))
	ts.Check(err)
	ts.Defer(func() { conn.Close() })
}

// scriptMetric waits, because a response is counted after it is sent.
func scriptMetric(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] metric PATTERN")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var body []byte
	for start := time.Now(); time.Since(start) < patience; {
		resp, err := http.Get("http://" + ts.Getenv("ADMIN") + "/metrics")
		ts.Check(err)
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		ts.Check(err)
		switch found := re.Find(body); {
		case neg && found != nil:
			ts.Fatalf("metric %q matches %s", found, args[0])
		case neg || found != nil:
			return
		}
	}
	ours := regexp.MustCompile(`(?m)^internaldns_.*\n`).FindAll(body, -1)
	ts.Fatalf("no metric matches %s after %v:\n%s", args[0], patience, bytes.Join(ours, nil))
}

// get is the program get of the scripts.
func get() {
	resp, err := http.Get(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	io.Copy(os.Stdout, resp.Body)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
