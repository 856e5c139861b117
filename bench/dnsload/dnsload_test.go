package dnsload

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/internaldns/internaldns/bench/load"
)

// server answers every query over UDP with NOERROR, or the RCODE given, and
// nothing else.
func server(t *testing.T, rcode ...int) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		w.WriteMsg(new(dns.Msg).SetRcode(r, append(rcode, dns.RcodeSuccess)[0]))
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

// unused returns an address at which no server listens: one that was free before.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// run runs the command with a sample, and returns what it writes to standard
// output and to standard error.
func run(t *testing.T, sample string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	var lines []byte
	if sample != "" {
		lines = []byte(sample)
	}
	cmd := Command("dnsload", lines)
	cmd.SetArgs(append([]string{"--duration", "50ms", "--window", "4", "--sockets", "2"}, args...))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err = cmd.ExecuteContext(context.Background())
	return out.String(), errs.String(), err
}

func TestQueriesOfAFileAreSent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "names")
	if err := os.WriteFile(file, []byte("web.internal. AAAA\nweb.internal. A\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, _, err := run(t, "", server(t), "--queries", file, "--format", "json")
	if err != nil {
		t.Fatal(err)
	}
	var r load.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Answered == 0 || r.RCodes["NOERROR"] != r.Answered {
		t.Errorf("%v: %s", err, out)
	}
}

func TestTheSampleIsSentUnlessTheUserNamesQueries(t *testing.T) {
	out, stderr, err := run(t, "web.internal AAAA NOERROR 1 1\n", server(t), "--sample", "1")
	if err != nil || !strings.Contains(out, "wrong: web.internal. AAAA: wanted NOERROR and 1 answers") {
		t.Errorf("%v: the query of the sample was not sent:\n%s", err, out)
	}
	if stderr != "" {
		t.Errorf("a server that has the names gets a hint: %s", stderr)
	}
}

func TestMadeUpQueriesFindWrongAnswers(t *testing.T) {
	out, _, err := run(t, "web.internal AAAA\n", server(t), "--machines", "100", "--count", "100")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "wrong:") || !strings.Contains(out, "closed loop") {
		t.Errorf("an empty answer to everything is not shown as wrong:\n%s", out)
	}
}

func TestBenchmarkLinesHaveTheirName(t *testing.T) {
	out, _, err := run(t, "", server(t), "--machines", "100", "--format", "benchmark", "--name", "Ours")
	if err != nil || !strings.HasPrefix(out, "BenchmarkOurs/") {
		t.Errorf("%v: %q", err, out)
	}
}

// A server that refuses the queries does not have the names of the sample.
func TestAServerWithoutTheSampleIsReported(t *testing.T) {
	out, stderr, err := run(t, "web.internal AAAA\n", server(t, dns.RcodeRefused))
	if err != nil || !strings.Contains(out, "REFUSED") || !strings.Contains(stderr, "--queries FILE") {
		t.Errorf("%v\n%s%s", err, out, stderr)
	}
}

// Over TCP, connecting to a closed port is refused at once; over UDP the kernel
// reports it after the query was sent.
func TestAServerThatIsNotThereIsReported(t *testing.T) {
	for _, transport := range []string{"udp", "tcp", "tcp-once"} {
		addr := unused(t)
		start := time.Now()
		out, _, err := run(t, "web.internal AAAA\n", addr, "--transport", transport, "--duration", "1h")
		if err == nil || !strings.Contains(err.Error(), "ask "+addr+" over "+transport) || !strings.Contains(err.Error(), "is the server running") || out != "" {
			t.Errorf("%s: after %v: %v\n%s", transport, time.Since(start), err, out)
		}
	}
}

func TestAServerThatIsSilentIsReported(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0") // and is not read
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, timeout := range []string{"5ms", "1ns"} { // in 1 ns, no socket is connected
		_, _, err = run(t, "web.internal AAAA\n", conn.LocalAddr().String(), "--timeout", timeout, "--deadline", timeout, "--duration", "1h")
		if err == nil || !strings.Contains(err.Error(), "no response within "+timeout) || !strings.Contains(err.Error(), "--timeout") {
			t.Errorf("%v", err)
		}
	}
}

func TestFaultsOfTheCommandLineAreErrors(t *testing.T) {
	server := unused(t) // faults are reported before the first query
	bad := filepath.Join(t.TempDir(), "names")
	if err := os.WriteFile(bad, []byte("# fine\nweb.internal. BBBB\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args string
		want string // of each line of the error, how it begins
	}{
		{"", "want the server to ask, such as: dnsload 127.0.0.1:5300"},
		{"--seed 2 --count 5 --queries " + bad + " " + server, "seed: is about made-up machines; want --machines NUMBER, too|count: is about made-up machines; want --machines NUMBER, too|queries: " + bad + ": "},
		{"127.0.0.1:53 127.0.0.2:53", "want one server to ask"},
		{"ns.example:53", "server: want an IP address"},
		{"127.0.0.1:0", "server: port must be from 1 to 65535"},
		{"[fe80::1%lo]:53", "server: addresses with a zone"},
		{server + " --transport smoke", "transport: must be"},
		{server + " --format none", "format: must be one of text, json, benchmark"},
		{server + " --queries /does/not/exist", "queries: open /does/not/exist: no such file"},
		{server + " --queries " + os.DevNull, "queries: /dev/null: there are none; write a line"},
		{server + " --queries " + bad, "queries: " + bad + ": line 2: QTYPE"},
		{server + " --queries x --machines 5", "queries: either"},
		{server + " --machines -5", "machines: "},
		{"nowhere --queries /does/not/exist --format none --rate -1 --timeout 0s",
			"server: |format: |queries: open |rate: |timeout: |deadline: "},
	} {
		out, _, err := run(t, "web.internal AAAA\n", strings.Fields(tt.args)...)
		if err == nil || out != "" {
			t.Errorf("%q: error %v, and wrote %q", tt.args, err, out)
			continue
		}
		got, want := strings.Split(err.Error(), "\n"), strings.Split(tt.want, "|")
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%q\n got %q\nwant %q", tt.args, got, want)
				break
			}
		}
	}
}

func TestWithoutASampleTheUserMustNameQueries(t *testing.T) {
	if _, _, err := run(t, "", unused(t)); err == nil || !strings.Contains(err.Error(), "queries: want --queries FILE or --machines NUMBER") {
		t.Errorf("%v", err)
	}
}

func TestAnAddressWithoutAPortIsAskedAtPort53(t *testing.T) {
	for s, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:53", "2001:db8::1": "[2001:db8::1]:53", "[2001:db8::1]": "[2001:db8::1]:53", "[::1]:5300": "[::1]:5300",
	} {
		if got, err := parseServer(s); err != nil || got.String() != want {
			t.Errorf("%s is %v, %v; want %s", s, got, err, want)
		}
	}
}

func TestProgressShowsTheStateOfTheRun(t *testing.T) {
	o := load.Options{Server: netip.MustParseAddrPort("192.0.2.1:53"), Transport: load.UDP, Warmup: 2 * time.Second, Duration: 5 * time.Second}
	for since, want := range map[time.Duration]string{
		1100 * time.Millisecond: "asking 192.0.2.1:53 over udp: warming up, 1s of 2s",
		5 * time.Second:         "asking 192.0.2.1:53 over udp: 3s of 5s",
		7 * time.Second:         "asking 192.0.2.1:53 over udp: waiting for the last responses",
	} {
		if got := progress(&o, since); got != want {
			t.Errorf("after %v\n got %s\nwant %s", since, got, want)
		}
	}
}

func TestHelpShowsTheNameThatTheCommandIsCalledBy(t *testing.T) {
	cmd := Command("internaldns bench", nil)
	if !strings.Contains(cmd.Example, "internaldns bench 127.0.0.1:5300") || cmd.Name() != "bench" {
		t.Errorf("%s: %s", cmd.Name(), cmd.Example)
	}
}
