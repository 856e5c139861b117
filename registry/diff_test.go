package registry

import "testing"

// sameFacts fails the test unless a snapshot holds exactly the facts of f.
func sameFacts(t testing.TB, s *Snapshot, f *Facts) {
	t.Helper()
	tw := newTwin()
	tw.apps, tw.machines, tw.peers, tw.flycast = f.Apps, f.Machines, f.Peers, f.Flycast
	for _, n := range f.Networks {
		tw.names[n.Network] = n.Name
	}
	for _, r := range f.Regions {
		tw.regions[r.Code] = r
	}
	for _, r := range f.RTTs {
		tw.rtts[[2]string{r.From, r.To}] = r.MS
	}
	got := newTwin()
	for n := range s.Networks() {
		if n.Name != "" {
			got.names[n.Network] = n.Name
		}
	}
	for a := range s.Apps() {
		got.apps = append(got.apps, *a)
		for m := range s.Machines(a) {
			got.machines = append(got.machines, m)
		}
	}
	for p := range s.Peers() {
		got.peers = append(got.peers, *p)
	}
	for c := range s.Flycast() {
		got.flycast = append(got.flycast, *c)
	}
	for r := range s.Regions() {
		got.regions[r.Code] = *r
	}
	for r := range s.RTTs() {
		got.rtts[[2]string{r.From, r.To}] = r.MS
	}
	if changes := s.Diff(s.Facts()); len(changes) > 0 {
		t.Errorf("the registry differs from its own facts: %v", changes)
	}
	if got, want := got.contents(), tw.contents(); got != want {
		t.Errorf("the registry is\n%s\n\nwant\n%s", got, want)
	}
}

func TestDiffMakesAnyRegistryAnyOther(t *testing.T) {
	for seed := range uint64(60 * *soak) {
		d := newDraw(seed)
		s := NewStore(nil)
		for range 3 {
			f := d.facts()
			was := dump(s.Snapshot())
			events := s.Snapshot().Diff(f)
			if _, err := s.Apply(events); err != nil {
				t.Fatalf("from\n%s\nthe events\n%s\nare refused: %v", was, eventLines(events), err)
			}
			sameFacts(t, s.Snapshot(), f)
			if t.Failed() {
				t.Fatalf("the registry was\n%s\nand the events were\n%s", was, eventLines(events))
			}
			if again := s.Snapshot().Diff(f); len(again) > 0 {
				t.Fatalf("when the registry is\n%s\nDiff still returns\n%s", dump(s.Snapshot()), eventLines(again))
			}
		}
	}
}

func TestDiff(t *testing.T) {
	for _, tt := range []struct{ name, from, to, want string }{
		{"the same", acme, acme, `no commit since 1`},
		{"everything goes", acme, ``, `
			app 1/db: there -> none
			app 1/web: there -> none
			app 2/web: there -> none
			flycast fdaa:0:1::9: 1/web -> none
			flycast fdaa:0:2::9: 1/web -> none
			machine 1/db/m3: ams fdaa:0:1::3:5 started -> none
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> none
			machine 1/web/m2: iad fdaa:0:1::2:5 stopped -> none
			machine 2/web/m4: ams fdaa:0:2::1:5 started -> none
			network 1: acme -> none
			peer 1/laptop: fdaa:0:1::a:102 ams -> none
			peer 1/phone: fdaa:0:1::a:103 -> none
			geography
			in networks 1 2`},
		{"two machines exchange their addresses", `
			app 1/web
			machine 1/web/m1 ams fdaa:0:1::1:5 started
			machine 1/web/m2 ams fdaa:0:1::2:5 started`, `
			app 1/web
			machine 1/web/m1 ams fdaa:0:1::2:5 started
			machine 1/web/m2 ams fdaa:0:1::1:5 started`, `
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> ams fdaa:0:1::2:5 started
			machine 1/web/m2: ams fdaa:0:1::2:5 started -> ams fdaa:0:1::1:5 started
			in networks 1`},
		{"an id is listed under another app", `
			app 1/web
			app 1/db
			machine 1/web/m1 ams fdaa:0:1::1:5 started`, `
			app 1/web
			app 1/db
			machine 1/db/m1 ams fdaa:0:1::1:5 started`, `
			machine 1/db/m1: none -> ams fdaa:0:1::1:5 started
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> none
			in networks 1`},
		{"an id is listed under another app, in another network, and its old app has only a gone one", `
			app 1/web
			machine 1/web/m1 ams fdaa:0:1::1:5 started`, `
			app 1/web
			app 2/db
			machine 1/web/m1 ams fdaa:0:1::1:5 destroyed
			machine 2/db/m1 ams fdaa:0:2::1:5 started`, `
			app 2/db: none -> there
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> ams fdaa:0:1::1:5 destroyed
			machine 2/db/m1: none -> ams fdaa:0:2::1:5 started
			in networks 1 2`},
		{"an app moves to another network with its machines' ids", `
			app 1/web
			machine 1/web/m1 ams fdaa:0:1::1:5 started`, `
			app 2/web
			machine 2/web/m1 ams fdaa:0:2::1:5 started`, `
			app 1/web: there -> none
			app 2/web: none -> there
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> none
			machine 2/web/m1: none -> ams fdaa:0:2::1:5 started
			in networks 1 2`},
		{"two networks exchange their names", `
			network 1 a
			network 2 b`, `
			network 1 b
			network 2 a`, `
			network 1: a -> b
			network 2: b -> a`},
		{"a peer moves to another network and another takes its address", `
			peer 1/laptop fdaa:0:1::a:102`, `
			peer 2/laptop fdaa:0:2::a:102
			peer 1/phone fdaa:0:1::a:102`, `
			peer 1/laptop: fdaa:0:1::a:102 -> none
			peer 1/phone: none -> fdaa:0:1::a:102
			peer 2/laptop: none -> fdaa:0:2::a:102
			in networks 1 2`},
		{"one of two gone machines of an id is deleted", `
			app 1/web
			machine 1/web/m1 ams fdaa:0:1::1:5 destroyed raw:1
			machine 1/web/m1 ams fdaa:0:1::1:5 destroyed raw:2`, `
			app 1/web
			machine 1/web/m1 ams fdaa:0:1::1:5 destroyed raw:2`, `
			machine 1/web/m1: ams fdaa:0:1::1:5 destroyed -> none`},
		{"only the object changes", `
			app 1/web
			machine 1/web/m1 ams fdaa:0:1::1:5 started raw:1`, `
			app 1/web
			machine 1/web/m1 ams fdaa:0:1::1:5 started raw:2`, `
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> ams fdaa:0:1::1:5 started`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewStore(nil)
			if _, err := s.Apply(script(t, tt.from)); err != nil {
				t.Fatal(err)
			}
			to, faults := newTwin().apply(script(t, tt.to))
			if faults != nil {
				t.Fatal(faults)
			}
			if got, want := outcome(s.Apply(s.Snapshot().Diff(to.facts()))), trimmed(tt.want); got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
			sameFacts(t, s.Snapshot(), to.facts())
		})
	}
}

// The events of Diff must not depend on the order of a map, or the logs of two servers
// could not be compared.
func TestDiffReturnsTheSameEveryTime(t *testing.T) {
	d := newDraw(3)
	s := NewStore(nil)
	if _, err := s.Apply(s.Snapshot().Diff(d.facts())); err != nil {
		t.Fatal(err)
	}
	f := d.facts()
	want := eventLines(s.Snapshot().Diff(f))
	for range 20 {
		if got := eventLines(s.Snapshot().Diff(f)); got != want {
			t.Fatalf("Diff returns\n%s\nand then\n%s", want, got)
		}
	}
}
