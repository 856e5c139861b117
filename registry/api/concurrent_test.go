package api

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/internaldns/internaldns/registry/format"
	"github.com/miekg/dns"

	"github.com/internaldns/internaldns/registry/etcd/etcdtest"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
)

// addresses asks for AAAA of a name from an address in fdaa:0:18::/48, and returns
// the addresses of the answer in order.
func (w *world) addresses(t testing.TB, name string) []string {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeAAAA)
	query, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var q wire.Query
	if v := q.Parse(query); v != wire.Answer {
		t.Fatalf("%s: verdict %v", name, v)
	}
	view := w.names.Table().For(netip.MustParseAddr("fdaa:0:18::99"), netip.MustParseAddr("fdaa::3"))
	var a zone.Answer
	view.Lookup(&q, wire.MaxMessageLen, &a)
	response, _ := a.AppendTo(nil, &q, zone.Frame{Limit: wire.MaxMessageLen})
	if err := m.Unpack(response); err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, rr := range m.Answer {
		found = append(found, rr.(*dns.AAAA).AAAA.String())
	}
	return found
}

// Of many clients that change the same version of a machine, one succeeds. The
// others get 412.
func TestOfManyCompareAndSwapsExactlyOneWins(t *testing.T) {
	eachKeeper(t, ofManyCompareAndSwapsExactlyOneWins)
}

func ofManyCompareAndSwapsExactlyOneWins(t *testing.T, w *world) { swap(t, w) }

// This holds for clients of different nodes, which get each other's commits late.
func TestOfManyCompareAndSwapsOnTwoNodesExactlyOneWins(t *testing.T) {
	server := etcdtest.Start(t)
	swap(t, newEtcdWorld(t, server), newEtcdWorld(t, server))
}

// swap has writers change one version of a machine, at nodes in turn.
func swap(t *testing.T, nodes ...*world) {
	const writers, rounds = 8, 30
	w := nodes[0]
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	w.do("PUT", "/v1/apps/web/machines/m1", m1)
	for _, w := range nodes {
		w.until(t, func() bool { return w.store.Snapshot().Machine("m1") != nil })
	}
	for round := range rounds {
		_, got := w.send("GET", "/v1/apps/web/machines/m1", "")
		tag := got.Header().Get("ETag")
		var wg sync.WaitGroup
		var won, lost atomic.Int32
		winner := make([]string, writers)
		for i := range writers {
			wg.Go(func() {
				body := fmt.Sprintf(`{"id":"m1","state":"started","region":"ams","private_ip":"fdaa:0:18:%x::%x"}`, round+1, i+1)
				_, rec := nodes[i%len(nodes)].send("PUT", "/v1/apps/web/machines/m1", body, "If-Match: "+tag)
				switch rec.Code {
				case http.StatusOK:
					won.Add(1)
					winner[i] = body
				case http.StatusPreconditionFailed:
					lost.Add(1)
				default:
					t.Error(shown(rec))
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != writers-1 {
			t.Fatalf("round %d: %d won and %d lost", round, won.Load(), lost.Load())
		}
		// The next round begins when the first node has this one's commit.
		w.until(t, func() bool {
			_, got := w.send("GET", "/v1/apps/web/machines/m1", "")
			return slices.Contains(winner, got.Body.String())
		})
	}
}

// until waits for commits until a condition is true.
func (w *world) until(t *testing.T, so func() bool) {
	t.Helper()
	for {
		next := w.feed.Next()
		if so() {
			return
		}
		select {
		case <-next:
		case <-t.Context().Done():
			t.Fatal("the condition does not become true")
		}
	}
}

// Machines that are created at the same time get different ids and addresses.
func TestIDsAndAddressesOfConcurrentCreationsDiffer(t *testing.T) {
	eachKeeper(t, whatIsAllocatedAtOnceIsEachItsOwn)
}

func whatIsAllocatedAtOnceIsEachItsOwn(t *testing.T, w *world) {
	const creators, each = 8, 40
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	var wg sync.WaitGroup
	for range creators {
		wg.Go(func() {
			for range each {
				if _, rec := w.send("POST", "/v1/apps/web/machines", `{"config":{}}`); rec.Code != http.StatusOK {
					t.Error(shown(rec))
				}
			}
		})
	}
	wg.Wait()
	s := w.store.Snapshot()
	n := 0
	for m := range s.MachinesIn(0x18) {
		n++
		if len(m.ID) != 14 || strings.Trim(m.ID, "0123456789abcdef") != "" {
			t.Errorf("id %s", m.ID)
		}
		beside := 0
		for range s.MachinesBeside(m.Address) {
			beside++
		}
		if octets := m.Address.As16(); beside != 1 || octets[14] != 0 || octets[15] != 2 || octets[6] == 0 && octets[7] == 0 {
			t.Errorf("address %v, with %d in its /112", m.Address, beside)
		}
	}
	if n != creators*each {
		t.Errorf("%d machines, want %d", n, creators*each)
	}
}

// Imports replace an app's machines by one set or another in turn. Every answer and
// every list has exactly one of the sets.
func TestAnAnswerNeverMixesTwoCommits(t *testing.T) {
	const machines, flips, readers = 20, 40, 2
	w := newWorld(t)
	var files, lists [2]string
	var sets [2][]string
	for set := range 2 {
		var objects []string
		for i := range machines {
			addr := fmt.Sprintf("fdaa:0:18:%x::%x", set+1, i+1)
			sets[set] = append(sets[set], addr)
			objects = append(objects, fmt.Sprintf(`{"id":"s%dm%02d","state":"started","region":"ams","private_ip":"%s"}`, set, i, addr))
		}
		lists[set] = "[" + strings.Join(objects, ",") + "]\n"
		files[set] = `{"apps":[{"name":"web","network":"fdaa:0:18::/48","machines":` + lists[set] + `}]}`
	}
	w.do("POST", "/v1/import?force=true", files[0])

	done := make(chan bool)
	var wg sync.WaitGroup
	var seen [2]atomic.Int64
	for range readers {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				got := w.addresses(t, "web.internal.")
				switch {
				case slices.Equal(got, sets[0]):
					seen[0].Add(1)
				case slices.Equal(got, sets[1]):
					seen[1].Add(1)
				default:
					t.Errorf("an answer has neither set: %v", got)
					return
				}
				if _, rec := w.send("GET", "/v1/apps/web/machines", ""); !slices.Contains(lists[:], rec.Body.String()) {
					t.Errorf("a list has neither set: %s", rec.Body)
					return
				}
			}
		})
	}
	for i := range flips {
		if _, rec := w.send("POST", "/v1/import?force=true", files[(i+1)%2]); rec.Code != http.StatusOK {
			t.Fatal(shown(rec))
		}
	}
	close(done)
	wg.Wait()
	t.Logf("%d flips; %d and %d answers", flips, seen[0].Load(), seen[1].Load())
}

// A machineOp is an operation on one machine, with its result.
type machineOp struct {
	kind string // register, stop, start, delete, lookup or show
	id   string
}

// The states of machineModel: absent, or the state of the machine.
const absent = ""

// machineModel gives the result of each operation, if they come one after the other.
var machineModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make(map[string][]porcupine.Operation)
		for _, op := range history {
			id := op.Input.(machineOp).id
			parts[id] = append(parts[id], op)
		}
		var out [][]porcupine.Operation
		for _, p := range parts {
			out = append(out, p)
		}
		return out
	},
	Init: func() any { return absent },
	Step: func(state, input, output any) (bool, any) {
		is, out := state.(string), output.(string)
		live := is == "started" || is == "stopped"
		switch input.(machineOp).kind {
		case "register":
			return live && out == "200" || !live && out == "201", "started"
		case "stop", "start":
			next := map[string]string{"stop": "stopped", "start": "started"}[input.(machineOp).kind]
			switch {
			case live:
				return out == "200", next
			case is == absent:
				return out == "404", is
			}
			return out == "412", is
		case "delete":
			if is == absent {
				return out == "404", is
			}
			return out == "200", "destroyed"
		case "lookup":
			return out == map[bool]string{true: "found", false: "none"}[is == "started"], is
		default:
			return out == is, is
		}
	},
	DescribeOperation: func(input, output any) string {
		op := input.(machineOp)
		return fmt.Sprintf("%s %s: %v", op.kind, op.id, output)
	},
}

// Clients register, stop, start and delete machines and look them up at the same
// time. Some order of the operations, one after the other, gives the same results.
func TestWritesAndLookupsAreLinearizable(t *testing.T) {
	eachKeeper(t, writesAndLookupsAreLinearizable)
}

func writesAndLookupsAreLinearizable(t *testing.T, w *world) {
	const clients, each, machines = 6, 150, 3
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	begin := time.Now()
	histories := make([][]porcupine.Operation, clients)
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(client), uint64(begin.UnixNano())))
			for range each {
				op := machineOp{
					kind: []string{"register", "stop", "start", "delete", "lookup", "lookup", "show"}[random.IntN(7)],
					id:   fmt.Sprintf("m%d", random.IntN(machines)),
				}
				call := time.Since(begin)
				out := w.operate(t, op)
				histories[client] = append(histories[client], porcupine.Operation{
					ClientId: client, Input: op, Output: out, Call: int64(call), Return: int64(time.Since(begin)),
				})
			}
		})
	}
	wg.Wait()
	history := slices.Concat(histories...)
	if !porcupine.CheckOperations(machineModel, history) {
		t.Errorf("no order of the %d operations gives their results", len(history))
	}
	// The checker must refuse a history that is impossible: a lookup finds a machine
	// that was never registered.
	impossible := append(history, porcupine.Operation{
		Input: machineOp{"lookup", "m9"}, Output: "found", Call: 0, Return: 1,
	})
	if porcupine.CheckOperations(machineModel, impossible) {
		t.Error("the checker accepts an impossible history")
	}
}

// operate does op and returns its result.
func (w *world) operate(t testing.TB, op machineOp) string {
	path := "/v1/apps/web/machines/" + op.id
	method, body := "POST", ""
	switch op.kind {
	case "lookup":
		if len(w.addresses(t, op.id+".vm.web.internal.")) > 0 {
			return "found"
		}
		return "none"
	case "show":
		_, rec := w.send("GET", path, "")
		if rec.Code == http.StatusNotFound {
			return absent
		}
		m, err := format.ParseMachine(bytes.TrimSpace(rec.Body.Bytes()))
		if err != nil {
			t.Fatalf("%s: %v", rec.Body, err)
		}
		return m.State
	case "register":
		method, body = "PUT", fmt.Sprintf(`{"id":"%s","state":"started","region":"ams","private_ip":"fdaa:0:18::%s:1"}`, op.id, op.id[1:])
	case "delete":
		method = "DELETE"
	default:
		path += "/" + op.kind
	}
	_, rec := w.send(method, path, body)
	return fmt.Sprint(rec.Code)
}
