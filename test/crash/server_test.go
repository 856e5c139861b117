package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/internaldns/internaldns/registry/api"
	"github.com/internaldns/internaldns/test/internal/program"
)

// patience bounds how long a request may take. Only a server that hangs takes that
// long.
const patience = 30 * time.Second

// A server is a running internaldns serve --data, with a client of its API.
type server struct {
	*program.Server
	client *http.Client
}

// start starts a server that stores its registry in dir.
func start(t testing.TB, dir string) *server {
	t.Helper()
	socket := filepath.Join(dir, "api")
	return &server{
		program.Start(t, "--data", filepath.Join(dir, "data"), "--api", "unix:"+socket, "--api-local",
			"--listen", "127.0.0.1:0", "--network", network, "--admin", "off", "--upstream", "off"),
		&http.Client{Timeout: patience, Transport: &http.Transport{
			MaxIdleConnsPerHost: writers,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			},
		}},
	}
}

// serving waits until the server answers queries, and returns its address.
func (s *server) serving(t testing.TB) (addr string) {
	t.Helper()
	s.Wait(t)
	return s.Addrs[0].String()
}

// kill ends the server as a crash does.
func (s *server) kill() {
	s.Kill()
	s.client.CloseIdleConnections()
}

// do makes a request. It returns an error if there was no response.
func (s *server) do(method, path, body string) (status int, response []byte, index uint64, err error) {
	req, err := http.NewRequest(method, "http://api"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, 0, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, 0, err
	}
	defer resp.Body.Close()
	if response, err = io.ReadAll(resp.Body); err != nil {
		return 0, nil, 0, err
	}
	index, _ = strconv.ParseUint(resp.Header.Get(api.IndexHeader), 10, 64)
	return resp.StatusCode, response, index, nil
}

// machines returns the objects of all machines, by id.
func (s *server) machines(t testing.TB) (objects map[string]string, index uint64) {
	t.Helper()
	status, body, index, err := s.do("GET", "/v1/apps/web/machines", "")
	if err != nil || status != http.StatusOK {
		t.Fatalf("the machines are answered with %d %s, %v", status, body, err)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatal(err)
	}
	objects = make(map[string]string)
	for _, object := range list {
		var m struct{ ID string }
		if err := json.Unmarshal(object, &m); err != nil {
			t.Fatal(err)
		}
		objects[m.ID] = string(object)
	}
	return objects, index
}

// addresses asks a server for the addresses of the started machines of the app.
func addresses(t testing.TB, server string) []string {
	t.Helper()
	q := new(dns.Msg).SetQuestion("web.internal.", dns.TypeAAAA)
	c := dns.Client{Net: "tcp", Timeout: patience} // there may be more than a datagram holds
	resp, _, err := c.Exchange(q, server)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, rr := range resp.Answer {
		out = append(out, netip.AddrFrom16([16]byte(rr.(*dns.AAAA).AAAA)).String())
	}
	slices.Sort(out)
	return out
}

// started returns the addresses of the started machines among objects.
func started(t testing.TB, objects map[string]string) []string {
	t.Helper()
	var out []string
	for _, object := range objects {
		var m struct {
			State   string
			Address netip.Addr `json:"private_ip"`
		}
		if err := json.Unmarshal([]byte(object), &m); err != nil {
			t.Fatal(err)
		}
		if m.State == "started" {
			out = append(out, m.Address.String())
		}
	}
	slices.Sort(out)
	return out
}

const network = "fdaa:0:18::/48"

// object returns the id and the object that a writer puts in its nth request.
func object(writer, machine, n int) (id, text string) {
	id = fmt.Sprintf("%07x%07x", writer, machine)
	state := []string{"started", "started", "stopped"}[n%3]
	return id, fmt.Sprintf(`{"id":%q, "state":%q,"region":"ams","private_ip":"fdaa:0:18:a::%x:%x:2","config":{"metadata":{"n":"%d"}}}`,
		id, state, writer+1, machine+1, n)
}
