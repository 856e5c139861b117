package api

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"testing"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// fill puts apps, each in a network of its own, with so many machines each.
func (w *world) fill(b *testing.B, networks, machines int) {
	var events []registry.Event
	for i := range networks {
		n := registry.Network(0x100 + i)
		events = append(events, registry.Put(&registry.App{Network: n, Name: fmt.Sprintf("app%d", i)}))
		for j := range machines {
			octets := n.Prefix().Addr().As16()
			octets[8], octets[9], octets[12], octets[13], octets[15] = 1, 1, byte(j>>8), byte(j), 2
			events = append(events, registry.Put(&registry.Machine{
				Network: n, App: fmt.Sprintf("app%d", i), ID: fmt.Sprintf("%07x%07x", i, j), State: "started", Region: "ams", Address: netip.AddrFrom16(octets),
				Raw: registry.NewRaw(fmt.Appendf(nil, `{"id":"%07x%07x","state":"started","region":"ams","private_ip":"%v"}`, i, j, netip.AddrFrom16(octets))),
			}))
		}
	}
	if _, err := w.store.Apply(events); err != nil {
		b.Fatal(err)
	}
}

func (w *world) bench(b *testing.B, method, path, body string) {
	b.ReportAllocs()
	for b.Loop() {
		if _, rec := w.send(method, path, body); rec.Code >= http.StatusBadRequest {
			b.Fatal(shown(rec))
		}
	}
}

// BenchmarkRequest measures a request without sockets and without a keeper's disk.
func BenchmarkRequest(b *testing.B) {
	w := newWorld(b)
	w.keeper.again = 0
	w.fill(b, 1, 10000)
	const machine = "/v1/apps/app0/machines/00000000000000"
	b.Run("GetMachine", func(b *testing.B) { w.bench(b, "GET", machine, "") })
	b.Run("StopAndStart", func(b *testing.B) {
		for b.Loop() {
			w.send("POST", machine+"/stop", "")
			w.send("POST", machine+"/start", "")
		}
	})
	b.Run("CreateAndDestroyAmong10000", func(b *testing.B) {
		for b.Loop() {
			_, rec := w.send("POST", "/v1/apps/app0/machines", `{}`)
			made, err := format.ParseObject(bytes.TrimSpace(rec.Body.Bytes()))
			if err != nil {
				b.Fatal(err)
			}
			if _, rec = w.send("DELETE", "/v1/apps/app0/machines/"+made.Text("id"), ""); rec.Code != http.StatusOK {
				b.Fatal(shown(rec))
			}
		}
	})
	b.Run("List10000", func(b *testing.B) { w.bench(b, "GET", "/v1/apps/app0/machines", "") })
	b.Run("Export10000", func(b *testing.B) { w.bench(b, "GET", "/v1/export", "") })
}

// BenchmarkListApps lists apps, of which each has its machines counted.
func BenchmarkListApps(b *testing.B) {
	w := newWorld(b)
	w.fill(b, 1000, 100)
	w.bench(b, "GET", "/v1/apps", "")
}

// BenchmarkNameIn100000Networks finds an app by its name alone.
func BenchmarkNameIn100000Networks(b *testing.B) {
	w := newWorld(b)
	w.fill(b, 100000, 0)
	b.Run("Alone", func(b *testing.B) { w.bench(b, "GET", "/v1/apps/app7", "") })
	b.Run("WithItsNetwork", func(b *testing.B) { w.bench(b, "GET", "/v1/apps/app7?network=fdaa:0:107::/48", "") })
}
