package dnsload

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/internaldns/internaldns/bench/load"
)

// server answers every query with NOERROR and nothing else.
func server(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		w.WriteMsg(new(dns.Msg).SetReply(r))
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ActivateAndServe()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return conn.LocalAddr().String()
}

func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := Command("dnsload")
	cmd.SetArgs(append(args, "--duration", "50ms", "--window", "4", "--sockets", "2"))
	cmd.SetOut(&out)
	cmd.SetErr(&bytes.Buffer{})
	err := cmd.ExecuteContext(context.Background())
	return out.String(), err
}

func TestQueriesOfAFileAreSent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "names")
	if err := os.WriteFile(file, []byte("web.internal. AAAA\nweb.internal. A\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, server(t), "--queries", file, "--format", "json")
	if err != nil {
		t.Fatal(err)
	}
	var r load.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Answered == 0 || r.RCodes["NOERROR"] != r.Answered {
		t.Errorf("%v: %s", err, out)
	}
}

func TestMadeUpQueriesFindWrongAnswers(t *testing.T) {
	out, err := run(t, server(t), "--machines", "100", "--count", "100")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "wrong:") || !strings.Contains(out, "closed loop") {
		t.Errorf("an empty answer to everything is not shown as wrong:\n%s", out)
	}
}

func TestBenchmarkLinesHaveTheirName(t *testing.T) {
	out, err := run(t, server(t), "--machines", "100", "--format", "benchmark", "--name", "Ours")
	if err != nil || !strings.HasPrefix(out, "BenchmarkOurs/") {
		t.Errorf("%v: %q", err, out)
	}
}

func TestFaultsOfTheCommandLineAreErrors(t *testing.T) {
	for _, args := range [][]string{
		{"nowhere"}, {"127.0.0.1:53", "--transport", "smoke"}, {"127.0.0.1:53", "--queries", "/does/not/exist"}, {server(t), "--machines", "10", "--format", "none"},
	} {
		if _, err := run(t, args...); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

func TestHelpShowsTheNameThatTheCommandIsCalledBy(t *testing.T) {
	cmd := Command("internaldns bench")
	if !strings.Contains(cmd.Example, "internaldns bench [::1]:53") || cmd.Name() != "bench" {
		t.Errorf("%s: %s", cmd.Name(), cmd.Example)
	}
}
