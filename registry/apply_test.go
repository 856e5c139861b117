package registry

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

const acme = `
	app 1/web
	app 1/db
	app 2/web
	network 1 acme
	machine 1/web/m1 ams fdaa:0:1::1:5 started role=primary
	machine 1/web/m2 iad fdaa:0:1::2:5 stopped
	machine 1/db/m3 ams fdaa:0:1::3:5 started skip
	machine 2/web/m4 ams fdaa:0:2::1:5 started
	peer 1/laptop fdaa:0:1::a:102 ams
	peer 1/phone fdaa:0:1::a:103
	flycast fdaa:0:1::9 1/web
	flycast fdaa:0:2::9 1/web
	region moon 1 2
	rtt moon ams 1300
`

// What each batch of events does to acme.
func TestApply(t *testing.T) {
	for _, tt := range []struct{ name, do, want string }{
		{"nothing", ``, `no commit since 1`},
		{"an app is added", `app 1/api`, `
			app 1/api: none -> there
			in networks 1`},
		{"an app of a new network is added", `app 7/api`, `
			app 7/api: none -> there
			in networks 7`},
		{"an app is deleted with its machines and its addresses in all networks", `-app 1/web`, `
			app 1/web: there -> none
			flycast fdaa:0:1::9: 1/web -> none
			flycast fdaa:0:2::9: 1/web -> none
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> none
			machine 1/web/m2: iad fdaa:0:1::2:5 stopped -> none
			in networks 1 2`},
		{"an app deleted and put in one batch loses its machines", `app 1/db
			-app 1/db`, `
			machine 1/db/m3: ams fdaa:0:1::3:5 started -> none
			in networks 1`},
		{"an app deleted and put with its machines is as it was", `-app 1/db
			app 1/db
			machine 1/db/m3 ams fdaa:0:1::3:5 started skip`, `no commit since 1`},
		{"an app deleted and put with another machine", `-app 1/db
			app 1/db
			machine 1/db/m3 ams fdaa:0:1::3:5 started skip
			machine 1/db/m5 ams fdaa:0:1::5:5 started`, `
			machine 1/db/m5: none -> ams fdaa:0:1::5:5 started
			in networks 1`},
		{"a machine without its app is refused, also if the batch deletes it", `-app 1/db
			machine 1/db/m9 ams fdaa:0:1::9:5 started
			flycast fdaa:0:1::8 1/db
			machine 1/nope/m8 ams fdaa:0:1::8:5 started`, `
			fault app "db": app: fdaa:0:1::/48 has no app "db"
			fault machine "m8" of app "nope": app: fdaa:0:1::/48 has no app "nope"
			fault machine "m9" of app "db": app: fdaa:0:1::/48 has no app "db"`},

		{"a machine is added", `machine 1/web/m9 ord fdaa:0:1::9:5 created`, `
			machine 1/web/m9: none -> ord fdaa:0:1::9:5 created
			in networks 1`},
		{"a machine starts", `machine 1/web/m2 iad fdaa:0:1::2:5 started`, `
			machine 1/web/m2: iad fdaa:0:1::2:5 stopped -> iad fdaa:0:1::2:5 started
			in networks 1`},
		{"answers are the same for stopped and suspended", `machine 1/web/m2 iad fdaa:0:1::2:5 suspended`, `
			machine 1/web/m2: iad fdaa:0:1::2:5 stopped -> iad fdaa:0:1::2:5 suspended`},
		{"no answer depends on the rest of the object", `machine 1/web/m1 ams fdaa:0:1::1:5 started role=primary raw:{"id":"m1"}`, `
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> ams fdaa:0:1::1:5 started`},
		{"answers are the same for metadata in upper and lower case", `machine 1/web/m1 ams fdaa:0:1::1:5 started Role=PRIMARY`, `
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> ams fdaa:0:1::1:5 started`},
		{"metadata changes", `machine 1/web/m1 ams fdaa:0:1::1:5 started role=replica`, `
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> ams fdaa:0:1::1:5 started
			in networks 1`},
		{"a skipped machine's metadata is in no answer", `machine 1/db/m3 ams fdaa:0:1::3:5 started skip role=x`, `
			machine 1/db/m3: ams fdaa:0:1::3:5 started -> ams fdaa:0:1::3:5 started`},
		{"a skipped machine's start is in no answer", `machine 1/db/m3 ams fdaa:0:1::3:5 stopped skip`, `
			machine 1/db/m3: ams fdaa:0:1::3:5 started -> ams fdaa:0:1::3:5 stopped`},
		{"a skipped machine's region is that of a client", `machine 1/db/m3 iad fdaa:0:1::3:5 started skip`, `
			machine 1/db/m3: ams fdaa:0:1::3:5 started -> iad fdaa:0:1::3:5 started
			in networks 1`},
		{"a machine is skipped no more", `machine 1/db/m3 ams fdaa:0:1::3:5 started`, `
			machine 1/db/m3: ams fdaa:0:1::3:5 started -> ams fdaa:0:1::3:5 started
			in networks 1`},
		{"a machine is put as it was", `machine 1/web/m1 ams fdaa:0:1::1:5 started role=primary`, `no commit since 1`},
		{"a machine is deleted and put as it was", `machine 1/web/m1 ams fdaa:0:1::1:5 started role=primary
			-machine 1/web/m1`, `no commit since 1`},
		{"the last put of a machine counts", `machine 1/web/m1 ams fdaa:0:1::2:5 started
			machine 1/web/m1 ams fdaa:0:1::1:5 stopped`, `
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> ams fdaa:0:1::1:5 stopped
			in networks 1`},
		{"a machine is deleted", `-machine 1/web/m1`, `
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> none
			in networks 1`},
		{"deleting what does not exist does nothing", `-app 1/nope
			-app 9/web
			-machine 1/db/m1
			-machine 9/web/m1
			-peer 1/nope
			-peer 2/laptop
			-flycast fdaa:0:1::8
			-network 2
			-region ams
			-rtt ams moon`, `no commit since 1`},
		{"two machines exchange their addresses", `machine 1/web/m1 ams fdaa:0:1::2:5 started role=primary
			machine 1/web/m2 iad fdaa:0:1::1:5 stopped`, `
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> ams fdaa:0:1::2:5 started
			machine 1/web/m2: iad fdaa:0:1::2:5 stopped -> iad fdaa:0:1::1:5 stopped
			in networks 1`},
		{"a machine, a peer and a Flycast address exchange their addresses", `machine 1/web/m1 ams fdaa:0:1::a:102 started role=primary
			peer 1/laptop fdaa:0:1::9 ams
			-flycast fdaa:0:1::9
			flycast fdaa:0:1::1:5 1/web`, `
			flycast fdaa:0:1::1:5: none -> 1/web
			flycast fdaa:0:1::9: 1/web -> none
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> ams fdaa:0:1::a:102 started
			peer 1/laptop: fdaa:0:1::a:102 ams -> fdaa:0:1::9 ams
			in networks 1`},
		{"a machine takes the address of a peer that moves away", `machine 1/web/m9 ams fdaa:0:1::a:102 started
			peer 1/laptop fdaa:0:1::a:104 ams`, `
			machine 1/web/m9: none -> ams fdaa:0:1::a:102 started
			peer 1/laptop: fdaa:0:1::a:102 ams -> fdaa:0:1::a:104 ams
			in networks 1`},
		{"two machines of two apps exchange their ids", `-machine 1/web/m1
			-machine 2/web/m4
			machine 1/web/m4 ams fdaa:0:1::1:5 started
			machine 2/web/m1 ams fdaa:0:2::1:5 started`, `
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> none
			machine 1/web/m4: none -> ams fdaa:0:1::1:5 started
			machine 2/web/m1: none -> ams fdaa:0:2::1:5 started
			machine 2/web/m4: ams fdaa:0:2::1:5 started -> none
			in networks 1 2`},
		{"a machine moves to another app", `machine 1/db/m1 ams fdaa:0:1::1:5 started
			-machine 1/web/m1`, `
			machine 1/db/m1: none -> ams fdaa:0:1::1:5 started
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> none
			in networks 1`},
		{"a machine's id is another's", `machine 1/db/m1 ams fdaa:0:1::8:5 started`, `
			fault machine "m1" of app "db": id: is already the id of machine "m1" of app "web" in fdaa:0:1::/48`},

		{"a machine is destroyed", `machine 1/web/m1 ams fdaa:0:1::1:5 destroyed`, `
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> ams fdaa:0:1::1:5 destroyed
			in networks 1`},
		{"a machine is destroyed and another has its id and address", `machine 1/web/m1 ams fdaa:0:1::1:5 destroyed
			machine 1/db/m1 ams fdaa:0:1::1:5 started`, `
			machine 1/db/m1: none -> ams fdaa:0:1::1:5 started
			machine 1/web/m1: ams fdaa:0:1::1:5 started -> ams fdaa:0:1::1:5 destroyed
			in networks 1`},
		{"gone machines may have any id and address", `machine 1/web/m1 ams fdaa:0:1::1:5 started role=primary
			machine 1/web/m1 ams fdaa:0:1::1:5 destroyed
			machine 1/web/m1 iad fdaa:0:1::1:5 replaced
			machine 1/db/m1 AMS fdaa:0:1::1:5 migrated
			machine 1/db/M.1 - 10.0.0.1 destroying`, `
			machine 1/db/M.1: none -> - 10.0.0.1 destroying
			machine 1/db/m1: none -> AMS fdaa:0:1::1:5 migrated
			machine 1/web/m1: none -> ams fdaa:0:1::1:5 destroyed
			machine 1/web/m1: none -> iad fdaa:0:1::1:5 replaced`},

		{"a peer is added", `peer 2/laptop fdaa:0:2::a:102`, `
			peer 2/laptop: none -> fdaa:0:2::a:102
			in networks 2`},
		{"a peer moves", `peer 1/laptop fdaa:0:1::a:102 iad`, `
			peer 1/laptop: fdaa:0:1::a:102 ams -> fdaa:0:1::a:102 iad
			in networks 1`},
		{"two peers exchange their addresses", `peer 1/laptop fdaa:0:1::a:103 ams
			peer 1/phone fdaa:0:1::a:102`, `
			peer 1/laptop: fdaa:0:1::a:102 ams -> fdaa:0:1::a:103 ams
			peer 1/phone: fdaa:0:1::a:103 -> fdaa:0:1::a:102
			in networks 1`},
		{"a peer is put twice, first at the address of another put", `peer 1/laptop fdaa:0:1::a:105 ams
			peer 1/tablet fdaa:0:1::a:105
			peer 1/laptop fdaa:0:1::a:106 ams`, `
			peer 1/laptop: fdaa:0:1::a:102 ams -> fdaa:0:1::a:106 ams
			peer 1/tablet: none -> fdaa:0:1::a:105
			in networks 1`},
		{"a peer is deleted", `-peer 1/phone`, `
			peer 1/phone: fdaa:0:1::a:103 -> none
			in networks 1`},
		{"a peer is put as it was", `peer 1/phone fdaa:0:1::a:103`, `no commit since 1`},

		{"a Flycast address is in the network of its bits, not in its app's", `flycast fdaa:0:3::9 1/web`, `
			flycast fdaa:0:3::9: none -> 1/web
			in networks 3`},
		{"a Flycast address changes its app", `flycast fdaa:0:2::9 1/db`, `
			flycast fdaa:0:2::9: 1/web -> 1/db
			in networks 2`},
		{"answers are the same for two apps of one name", `flycast fdaa:0:2::9 2/web`, `
			flycast fdaa:0:2::9: 1/web -> 2/web`},
		{"a Flycast address is put twice, the last counts", `flycast fdaa:0:2::9 1/db
			flycast fdaa:0:2::9 1/web`, `no commit since 1`},
		{"a Flycast address is deleted", `-flycast fdaa:0:2::9`, `
			flycast fdaa:0:2::9: 1/web -> none
			in networks 2`},
		{"an address outside fdaa::/16 is no Flycast address", `-flycast 2001:0:2::9`, `no commit since 1`},

		{"a network gets a name, which is in no answer", `network 2 other`, `network 2: none -> other`},
		{"a network is renamed", `network 1 acme-2`, `network 1: acme -> acme-2`},
		{"a network is renamed twice, the last counts", `network 1 other
			network 1 acme`, `no commit since 1`},
		{"a network's name is deleted and put again", `network 1 acme
			-network 1`, `no commit since 1`},
		{"a name moves to another network", `network 2 acme
			network 1 other`, `
			network 1: acme -> other
			network 2: none -> acme`},
		{"a name is another network's", `network 2 acme`, `fault network "acme": name: is already the name of fdaa:0:1::/48`},
		{"two networks get one name", `network 2 x
			network 3 x`, `fault network "x": name: is already the name of fdaa:0:2::/48`},
		{"a network's name is deleted", `-network 1`, `network 1: acme -> none`},

		{"a region is added", `region mars 3 4`, `geography`},
		{"a region moves", `region moon 1 2.5`, `geography`},
		{"a region is put as it was", `region moon 1 2`, `no commit since 1`},
		{"a region is deleted", `-region moon`, `geography`},
		{"a round trip is measured", `rtt ams moon 1200`, `geography`},
		{"a round trip is measured again, the same", `rtt moon ams 1300`, `no commit since 1`},
		{"a round trip is deleted", `-rtt moon ams`, `geography`},
		{"a round trip is deleted and measured again", `-rtt moon ams
			rtt moon ams 1300`, `no commit since 1`},

		{"all faults at once", `app 1/-web
			app 0/web
			network 0 a_b
			network 3 acme
			machine 1/web/M_1 all fdaa:0:1::3 started
			machine 1/web/m9 ams fdaa:0:2::1:9 started
			machine 1/web/m8 AMS fdaa:0:1::8:5 started
			machine 1/db/m1 ams fdaa:0:1::8:5 started
			machine 1/nope/m7 a-b none started
			peer 1/_ 10.0.0.1 zz_z
			peer 1/tablet fdaa:0:1::1:5
			flycast fdaa:0:1::8:5 1/nope
			flycast fdaa::9 1/web
			region of 91 -181
			rtt kv AMS 5
			app 1/fine
			machine 1/fine/m77 ams fdaa:0:1::77:5 started`, `
			fault app "-web": name: "-web" is no name: want 1 to 63 letters, digits and inner hyphens
			fault app "nope": app: fdaa:0:1::/48 has no app "nope"
			fault app "nope": flycast: fdaa:0:1::8:5 is already the address of machine "m8" of app "web"
			fault app "web": flycast: fdaa::9 is in no network: want an address in fdaa::/16, outside fdaa::/48
			fault app "web": network: is missing, and no machine names it
			fault machine "M_1" of app "web": id: "M_1" is no machine id: want 1 to 63 letters, digits and hyphens
			fault machine "M_1" of app "web": private_ip: fdaa:0:1::3 is the network's own DNS server
			fault machine "M_1" of app "web": region: "all" cannot be a region: the word has another meaning in names
			fault machine "m1" of app "db": id: is already the id of machine "m1" of app "web" in fdaa:0:1::/48
			fault machine "m1" of app "db": private_ip: fdaa:0:1::8:5 is already the address of machine "m8" of app "web"
			fault machine "m7" of app "nope": app: fdaa:0:1::/48 has no app "nope"
			fault machine "m7" of app "nope": private_ip: is missing
			fault machine "m7" of app "nope": region: "a-b" is no region code: want 1 to 63 letters and digits
			fault machine "m8" of app "web": region: "AMS" is no region code: want 1 to 63 letters and digits
			fault machine "m9" of app "web": private_ip: fdaa:0:2::1:9 is outside the app's network fdaa:0:1::/48
			fault network "a_b": name: "a_b" is no name: want 1 to 63 letters, digits and inner hyphens
			fault network "a_b": prefix: is missing
			fault network "acme": name: is already the name of fdaa:0:1::/48
			fault peer "_": address: 10.0.0.1 is in no network: want an address in fdaa::/16, outside fdaa::/48
			fault peer "_": name: "_" is no name: want 1 to 63 letters, digits and inner hyphens
			fault peer "_": region: "zz_z" is no region code: want 1 to 63 letters and digits
			fault peer "tablet": address: fdaa:0:1::1:5 is already the address of machine "m1" of app "web"
			fault region "of": code: "of" cannot be a region: the word has another meaning in names
			fault region "of": latitude: must be from -90 to 90 degrees, got 91
			fault region "of": longitude: must be from -180 to 180 degrees, got -181
			fault rtt_ms "kv" to "AMS": "AMS" is no region code: want 1 to 63 letters and digits
			fault rtt_ms "kv" to "AMS": "kv" cannot be a region: the word has another meaning in names`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			published := 0
			s := NewStore(func(*Snapshot, *Changes) { published++ })
			if _, err := s.Apply(script(t, acme)); err != nil {
				t.Fatal(err)
			}
			before, was := s.Snapshot(), dump(s.Snapshot())
			got := outcome(s.Apply(script(t, tt.do)))
			if want := trimmed(tt.want); got != want {
				t.Errorf("the events\n%s\ngave\n%s\n\nwant\n%s", trimmed(tt.do), got, want)
			}
			if strings.HasPrefix(got, "fault") || strings.HasPrefix(got, "no commit") {
				if s.Snapshot() != before || published != 1 {
					t.Errorf("nothing should have changed, but the index is %d and %d commits were published", s.Snapshot().Index, published)
				}
				// The next commit must have nothing of the refused batch.
				if _, err := s.Apply(script(t, `network 9 next`)); err != nil {
					t.Fatal(err)
				}
				s.Apply(script(t, `-network 9`))
				after := strings.Replace(dump(s.Snapshot()), "3 {", "1 {", 1)
				if after != was {
					t.Errorf("after it the registry is\n%s\nwant\n%s", after, was)
				}
			} else if s.Snapshot().Index != 2 || published != 2 {
				t.Errorf("the index is %d and %d commits were published, want 2 and 2", s.Snapshot().Index, published)
			}
			if dump(before) != was {
				t.Error("the snapshot from before has changed")
			}
		})
	}
}

// The order of events matters only among puts of one key.
func TestEventsApplyInAnyOrder(t *testing.T) {
	text := `
		-app 1/db
		app 1/db
		app 3/api
		-machine 2/web/m4
		machine 3/api/m4 ams fdaa:0:3::1:5 started
		machine 1/web/m1 ams fdaa:0:1::a:102 started
		machine 1/web/m2 iad fdaa:0:1::1:5 destroyed
		machine 1/db/m2 iad fdaa:0:1::3:5 started role=x
		peer 1/laptop fdaa:0:1::2:5
		-flycast fdaa:0:1::9
		flycast fdaa:0:1::1:5 3/api
		network 2 acme
		network 1 other
		-region moon
		region sun 5 5`
	r := rand.New(rand.NewPCG(1, 1))
	var want string
	for range 50 {
		s := NewStore(nil)
		if _, err := s.Apply(script(t, acme)); err != nil {
			t.Fatal(err)
		}
		events := script(t, text)
		r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		c, err := s.Apply(events)
		if err != nil {
			t.Fatalf("in the order\n%s\nthe events are refused: %v", eventLines(events), err)
		}
		got := outcome(c, err) + "\n" + dump(s.Snapshot())
		if want == "" {
			want = got
		}
		if got != want {
			t.Fatalf("in the order\n%s\nthe events give\n%s\nwant\n%s", eventLines(events), got, want)
		}
	}
}

// The index of a network changes only when its own answers change.
func TestNetworkIndexIsThatOfTheLastAnswerChanged(t *testing.T) {
	s := NewStore(nil)
	for i, tt := range []struct {
		do   string
		want []uint64 // of networks 1, 2, 3
	}{
		{acme, []uint64{1, 1, 0}},
		{`flycast fdaa:0:3::9 1/web`, []uint64{1, 1, 2}},
		{`machine 2/web/m4 ams fdaa:0:2::1:5 stopped`, []uint64{1, 3, 2}},
		{`machine 2/web/m4 ams fdaa:0:2::1:5 suspended`, []uint64{1, 3, 2}},
		{`region mars 7 7`, []uint64{1, 3, 2}},
		{`-network 1`, []uint64{1, 3, 2}},
		{`-app 1/web`, []uint64{7, 7, 7}}, // with its Flycast addresses
		{`-app 2/web`, []uint64{7, 8, 7}},
		{`app 2/web`, []uint64{7, 9, 7}},
	} {
		if _, err := s.Apply(script(t, tt.do)); err != nil {
			t.Fatal(err)
		}
		snap := s.Snapshot()
		if got := []uint64{snap.NetworkIndex(1), snap.NetworkIndex(2), snap.NetworkIndex(3)}; !slices.Equal(got, tt.want) || snap.Index != uint64(i+1) {
			t.Errorf("after %s\nthe networks' indexes are %d at %d, want %d at %d", tt.do, got, snap.Index, tt.want, i+1)
		}
	}
}

// Each of these was a bug once.

func TestAGoneMachineComesBack(t *testing.T) {
	s := NewStore(nil)
	for _, do := range []string{acme, `machine 1/web/m1 ams fdaa:0:1::1:5 destroyed`} {
		if _, err := s.Apply(script(t, do)); err != nil {
			t.Fatal(err)
		}
	}
	snap := s.Snapshot()
	if m := snap.Machine("m1"); m != nil {
		t.Fatalf("the destroyed machine is found as %s", show(m))
	}
	for m := range snap.Machines(snap.App(1, "web")) {
		if m.ID == "m1" { // put as the store returned it, with the fields that the store has set
			back := *m
			back.State = StateStarted
			if _, err := s.Apply([]Event{Put(&back)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	snap = s.Snapshot()
	if m := snap.Machine("m1"); m == nil || m.State != StateStarted {
		t.Errorf("the machine that came back is found as %s", show(m))
	}
	if n := len(slices.Collect(snap.Machines(snap.App(1, "web")))); n != 2 {
		t.Errorf("the app has %d machines, want 2", n)
	}
}

func TestDeletingAMachineLeavesGoneOnesWhoseIDsHaveItsIDAsAPrefix(t *testing.T) {
	s := NewStore(nil)
	gone := &Machine{Network: 1, App: "web", ID: "m1\x00x", State: "destroyed"}
	if _, err := s.Apply(append(script(t, acme), Put(gone))); err != nil {
		t.Fatal(err)
	}
	if got := outcome(s.Apply(script(t, `-machine 1/web/m1`))); strings.Count(got, "machine") != 1 {
		t.Errorf("deleting one machine gives\n%s", got)
	}
}

func TestAMachineIsListedOnceHoweverItsMetadataIsSpelled(t *testing.T) {
	s := NewStore(nil)
	m := &Machine{
		Network: 1, App: "web", ID: "m1", State: StateStarted, Region: "ams", Address: Network(1).address([]byte{9}),
		Metadata: []Pair{{"A", "b"}, {"a", "b"}, {"a", "b\x00c"}},
	}
	if _, err := s.Apply(append(script(t, `app 1/web`), Put(m))); err != nil {
		t.Fatal(err)
	}
	snap := s.Snapshot()
	if got := slices.Collect(snap.MachinesWhere(snap.App(1, "web"), Filter{Metadata: []Pair{{"a", "b"}}})); len(got) != 1 {
		t.Errorf("the machine is listed %d times, want once", len(got))
	}
}

func TestTheStoreSharesNoMetadataWithItsCaller(t *testing.T) {
	s := NewStore(nil)
	events := script(t, `app 1/web
		machine 1/web/m1 ams fdaa:0:1::1:5 started role=a
		machine 1/web/m2 ams fdaa:0:1::2:5 destroyed role=a`)
	if _, err := s.Apply(events); err != nil {
		t.Fatal(err)
	}
	was := dump(s.Snapshot())
	for _, e := range events[1:] {
		m := e.Fact.(*Machine)
		m.Metadata[0].Value = "b"
		m.State = "stopped"
	}
	if got := dump(s.Snapshot()); got != was {
		t.Errorf("the caller changed the registry to\n%s\nfrom\n%s", got, was)
	}
}

func TestAnEventWithoutAFactPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the event was ignored")
		}
	}()
	NewStore(nil).Apply([]Event{{}})
}

func TestMetadataRowsGoWithTheirLastMachine(t *testing.T) {
	s := NewStore(nil)
	rows := func() int {
		rows := inOrder(t, s.Snapshot().machines.metadata, compareRows)
		return len(rows)
	}
	for _, tt := range []struct {
		do   string
		rows int
	}{
		{acme, 1},
		{`machine 1/web/m2 iad fdaa:0:1::2:5 started role=primary`, 1},
		{`machine 1/web/m1 ams fdaa:0:1::1:5 started role=replica`, 2},
		{`machine 1/web/m1 ams fdaa:0:1::1:5 destroyed role=replica`, 1},
		{`machine 1/db/m2 iad fdaa:0:1::2:5 started role=primary
			-machine 1/web/m2`, 1},
		{`-app 1/db`, 0},
		{`app 1/db
			machine 1/db/m2 iad fdaa:0:1::2:5 started role=primary`, 1},
		{`-app 1/db
			app 1/db
			machine 1/db/m2 iad fdaa:0:1::2:5 stopped role=primary`, 1},
	} {
		if _, err := s.Apply(script(t, tt.do)); err != nil {
			t.Fatal(err)
		}
		if got := rows(); got != tt.rows {
			t.Errorf("after %s\nthere are %d metadata rows, want %d", tt.do, got, tt.rows)
		}
	}
}
