package zone_test

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone"
)

// DNS answers from a commit before the store shows it, so that a client of the API, which
// reads the store, finds in DNS what it has read.
func TestACommitIsAnsweredBeforeTheStoreShowsIt(t *testing.T) {
	p := zone.NewPublisher(zone.Options{TTL: 5})
	s := registry.NewStore(p.Commit)
	const commits = 2000
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for shown := uint64(0); shown < commits && t.Context().Err() == nil; {
				shown = s.Snapshot().Index
				if answered := p.Table().Index(); answered < shown {
					t.Errorf("the store shows commit %d, and DNS answers from %d", shown, answered)
					return
				}
			}
		})
	}
	m := registry.Machine{
		Network: 1, App: "web", ID: "a", Region: "ams", Address: netip.MustParseAddr("fdaa:0:1:a7b:1::2"),
	}
	events := []registry.Event{registry.Put(&registry.App{Network: 1, Name: "web"}), registry.Put(&m)}
	for i := range commits {
		m.State = [...]string{"started", "stopped"}[i%2]
		if _, err := s.Apply(events); err != nil {
			t.Fatal(err)
		}
	}
	readers.Wait()
}
