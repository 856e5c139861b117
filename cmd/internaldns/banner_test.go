package main

import (
	"bytes"
	"net/netip"
	"os"
	"testing"

	"github.com/internaldns/internaldns/registry"
)

// What a first run prints, with the ports that it has when nobody says where to
// listen.
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
