package e2e

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/internaldns/internaldns/test/internal/program"
)

// mixAnswers is how many answers the test below checks.
var mixAnswers = flag.Int64("e2e.answers", 200_000, "answers to check while an app changes all of its machines")

// mixMachines is the number of machines in each of the two sets.
const mixMachines = 20

// An answer has one version of the registry, whole. A writer replaces all machines of
// an app with another set, again and again, in one write each. Every answer has all
// machines of one set and none of the other, over every transport and for every
// type.
func TestAnAnswerNeverMixesTwoVersions(t *testing.T) {
	server := program.Serve(t, "--data", filepath.Join(t.TempDir(), "d"), "--api", "127.0.0.1:0", "--api-local",
		"--listen", "127.0.0.1:0", "--admin", "off", "--network", "fdaa:0:18::/48", "--upstream", "off")
	sets := [2]string{mixSet(0), mixSet(1)}
	put := func(i int) error {
		resp, err := http.Post("http://"+server.API+"/v1/import?force=true", "application/json", strings.NewReader(sets[i%2]))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("import: %s", resp.Status)
		}
		return nil
	}
	if err := put(0); err != nil {
		t.Fatal(err)
	}

	var seen [2]atomic.Int64
	left := atomic.Int64{}
	left.Store(*mixAnswers)
	var readers sync.WaitGroup
	for _, r := range []mixReader{
		{"udp", "web.internal.", dns.TypeAAAA},
		{"udp", "vms.web.internal.", dns.TypeTXT},
		{"tcp", "web.internal.", dns.TypeAAAA},
		{"tcp", "_instances.internal.", dns.TypeTXT},
	} {
		readers.Go(func() {
			if err := r.read(server.Addrs[0], &left, &seen); err != nil {
				t.Errorf("%s %s over %s: %v", dns.TypeToString[r.qtype], r.name, r.network, err)
				left.Store(0)
			}
		})
	}
	done := make(chan struct{})
	go func() { readers.Wait(); close(done) }()
	writes := 1
	for running := true; running; writes++ {
		if err := put(writes); err != nil {
			t.Error(err)
			left.Store(0)
			<-done
			break
		}
		select {
		case <-done:
			running = false
		default:
		}
	}
	t.Logf("%d answers of one set and %d of the other, during %d writes", seen[0].Load(), seen[1].Load(), writes)
	if !t.Failed() && (seen[0].Load() == 0 || seen[1].Load() == 0) {
		t.Error("only one set was ever seen: this test shows nothing")
	}
}

// mixSet returns a registry file with one of the two sets.
func mixSet(set int) string {
	var machines []string
	for i := range mixMachines {
		machines = append(machines, fmt.Sprintf(`{"id": "%c%02d", "state": "started", "region": "ams", "private_ip": "fdaa:0:18:%x:%x::2"}`,
			'a'+set, i, 0xa+set, i+1))
	}
	return `{"apps": [{"name": "web", "network": "fdaa:0:18::/48", "machines": [` + strings.Join(machines, ",\n") + `]}]}`
}

// A mixReader sends one question again and again.
type mixReader struct {
	network, name string
	qtype         uint16
}

// mixWindow is the number of queries that a reader has outstanding.
const mixWindow = 16

// read checks answers until left is used up.
func (r mixReader) read(server netip.AddrPort, left *atomic.Int64, seen *[2]atomic.Int64) error {
	conn, err := dns.Dial(r.network, server.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.UDPSize = 4096
	q := new(dns.Msg).SetQuestion(r.name, r.qtype).SetEdns0(4096, false)
	for left.Add(-mixWindow) >= -mixWindow {
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		for range mixWindow {
			if err := conn.WriteMsg(q); err != nil {
				return err
			}
		}
		for range mixWindow {
			m, err := conn.ReadMsg()
			if err != nil {
				if e, ok := err.(net.Error); ok && e.Timeout() && r.network == "udp" {
					return fmt.Errorf("a response is lost: %w", err)
				}
				return err
			}
			set, err := mixOf(m)
			if err != nil {
				return err
			}
			seen[set].Add(1)
		}
	}
	return nil
}

// mixOf returns which set an answer has.
func mixOf(m *dns.Msg) (set int, err error) {
	if m.Rcode != dns.RcodeSuccess || m.Truncated {
		return 0, fmt.Errorf("want all machines, got\n%v", m)
	}
	var count [2]int
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.AAAA:
			a, _ := netip.AddrFromSlice(rr.AAAA)
			count[a.As16()[7]-0xa]++
		case *dns.TXT:
			for item := range strings.FieldsFuncSeq(strings.Join(rr.Txt, ""), func(c rune) bool { return c == ',' || c == ';' }) {
				item, is := strings.CutPrefix(item, "instance=")
				if is || strings.HasSuffix(item, " ams") {
					count[item[0]-'a']++
				}
			}
		}
	}
	switch count {
	case [2]int{mixMachines, 0}:
		return 0, nil
	case [2]int{0, mixMachines}:
		return 1, nil
	}
	return 0, fmt.Errorf("%d machines of one set and %d of the other in\n%v", count[0], count[1], m)
}
