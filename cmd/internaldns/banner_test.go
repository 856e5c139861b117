package main

import (
	"bytes"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry"
)

// The banner of a first run, with the default ports.
func TestTheBannerSaysWhatIsServedAndWhatToAsk(t *testing.T) {
	const golden = "testdata/banner.txt"
	store := registry.NewStore(nil)
	if _, err := store.Apply(store.Snapshot().Diff(sampleFacts())); err != nil {
		t.Fatal(err)
	}
	listen, _ := new(config).listenOn(func(netip.Addr) bool { return true })
	var got bytes.Buffer
	if err := writeBanner(&got, store.Snapshot(), netip.MustParseAddrPort(listen[len(listen)-1]), programName); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}

// For a server at every address, the banner shows one that every client can reach.
func TestTheBannerNamesAnAddressThatCanBeAsked(t *testing.T) {
	for listen, want := range map[string]string{
		"[::]:5300":      "dig @::1 -p 5300 AAAA web.internal",
		"0.0.0.0:5300":   "dig @127.0.0.1 -p 5300 AAAA web.internal",
		"192.0.2.1:5300": "dig @192.0.2.1 -p 5300 AAAA web.internal",
	} {
		var got strings.Builder
		if err := writeBanner(&got, registry.NewStore(nil).Snapshot(), netip.MustParseAddrPort(listen), programName); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got.String(), want) {
			t.Errorf("listening at %s: got\n%swant %s", listen, got.String(), want)
		}
	}
}
