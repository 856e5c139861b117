package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/internaldns/internaldns/registry"
)

// sampleDir makes a database with some of everything, of several transactions,
// and returns its directory and what is in it.
func sampleDir(t testing.TB, machines int) (dir, want string) {
	t.Helper()
	dir = t.TempDir()
	s := serve(t, dir)
	s.put(t, app,
		registry.Put(&registry.NetworkName{Network: network, Name: "default"}),
		registry.Put(&registry.Peer{Name: "laptop", Address: network.Server().Next(), Region: "ams"}),
		registry.Put(&registry.Flycast{Address: network.Server().Next().Next(), App: "web", Owner: network}),
		registry.Put(&registry.Region{Code: "xyz", Name: "Nowhere", Latitude: 1, Longitude: 2}),
		registry.Put(&registry.RTT{From: "ams", To: "xyz", MS: 7}),
	)
	var events []registry.Event
	for n := range machines {
		events = append(events, putMachine(n, "started"))
	}
	s.put(t, events...)
	for n := range min(machines, 20) {
		s.put(t, putMachine(n*7%machines, "stopped"), putMachine(n*5%machines, "destroyed"))
	}
	s.lease(t, ttl(100*365*24*time.Hour), putMachine(1, "started"))
	s.put(t, registry.Delete(registry.Key{Kind: registry.KindMachine, Network: network, Name: "web", ID: machine(3, "").ID}))
	want = describe(s.store.Snapshot())
	s.stop(t)
	return dir, want
}

// outcome loads octets as a database and says what came of it. It fails the test
// if something was served that is not want.
func outcome(t testing.TB, dir string, octets []byte, what, want string) error {
	t.Helper()
	writeDir(t, dir, octets)
	s, err := tryLoad(dir)
	if err != nil {
		if got := s.store.Snapshot().Index; got != 0 {
			t.Fatalf("%s: refused, and commit %d is served", what, got)
		}
		if _, err := s.try(nil); !errors.Is(err, registry.ErrUnavailable) {
			t.Fatalf("%s: refused, and a write ends with %v", what, err)
		}
		return err
	}
	defer s.close()
	if got := describe(s.store.Snapshot()); got != want {
		t.Fatalf("%s: not refused, and there is\n%s", what, got)
	}
	return nil
}

// Flipped bits and cut files are refused, or what they held is all there.
func TestDamageIsFoundAndNeverServed(t *testing.T) {
	source, want := sampleDir(t, 300)
	octets, err := os.ReadFile(filepath.Join(source, fileName))
	if err != nil {
		t.Fatal(err)
	}
	for seed := range seeds(1) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			d, dir := newDraw(seed), memoryDir(t)
			refused, whole := 0, 0
			for i := range 240 {
				broken := bytes.Clone(octets)
				if err := outcome(t, dir, broken, d.damage(broken, i%4), want); err != nil {
					refused++
				} else {
					whole++
				}
			}
			if refused < 10 || whole < 10 {
				t.Errorf("%d files were refused and %d were not; does this test still damage what matters?", refused, whole)
			}
			for i := range 50 {
				n := d.IntN(len(octets))
				if i < 40 {
					n = i * 100
				}
				err := outcome(t, dir, octets[:n], fmt.Sprintf("a file cut to %d octets", n), want)
				if err == nil && n < len(octets)/2 {
					t.Errorf("a file cut from %d to %d octets was not refused", len(octets), n)
				}
			}
		})
	}
}

// damage damages octets in one of four ways, and says how.
func (d draw) damage(octets []byte, way int) string {
	page := func() int { return d.IntN(len(octets)/pageSize) * pageSize }
	switch way {
	case 0:
		at := d.IntN(len(octets))
		octets[at] ^= 1 << d.IntN(8)
		return fmt.Sprintf("a bit of octet %d flipped", at)
	case 1: // where it hurts: at the beginning of a page
		at := page() + d.IntN(96)
		octets[at] ^= 1 << d.IntN(8)
		return fmt.Sprintf("a bit of octet %d flipped", at)
	case 2:
		at, fill := d.IntN(len(octets)/sector)*sector, pick(d, byte(0), 0xff)
		copy(octets[at:], bytes.Repeat([]byte{fill}, sector))
		return fmt.Sprintf("a sector at %d of %#x", at, fill)
	default:
		from, to := page(), page()
		copy(octets[to:to+pageSize], octets[from:from+pageSize])
		return fmt.Sprintf("the page at %d in the place of that at %d", from, to)
	}
}

// sector is what a disk writes whole, in octets.
const sector = 512

// What is wrong is said so that one can do something about it.
func TestDamageIsNamed(t *testing.T) {
	source, _ := sampleDir(t, 30)
	octets, err := os.ReadFile(filepath.Join(source, fileName))
	if err != nil {
		t.Fatal(err)
	}
	// edit changes a database behind the Keeper's back.
	edit := func(change func(tx *bbolt.Tx) error) func(path string) error {
		return func(path string) error {
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				return err
			}
			return errors.Join(db.Update(change), db.Close())
		}
	}
	live := append(append(appKey(registry.AppKey{Network: network, Name: "web"}), keyLive), machine(1, "").ID...)
	for _, tt := range []struct {
		name   string
		damage func(path string) error
		want   string
	}{
		{"an empty file", func(path string) error { return os.Truncate(path, 0) }, "the file is empty"},
		{"half a file", func(path string) error { return os.Truncate(path, int64(len(octets)/3)) }, "the file is cut off"},
		{"another file", func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("x", 1<<14)), 0o600) }, "this is no database"},
		{"a machine that was changed", edit(func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(bMachines))
			v := append([]byte(nil), b.Get(live)...)
			v[len(v)-1] ^= 1
			return b.Put(live, v)
		}), `machine "00000000000001" of app "web" in fdaa:0:18::/48: the checksum is wrong`},
		{"a machine that is missing", edit(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(bMachines)).Delete(live)
		}), "some are of another time"},
		{"a list of free pages that is cut", func(path string) error {
			p, err := openPages(bytes.NewReader(octets), int64(len(octets)))
			if err != nil {
				return err
			}
			broken := bytes.Clone(octets)
			native.PutUint16(broken[p.freelist*pageSize+10:], 1)
			return os.WriteFile(path, broken, 0o600)
		}, "is neither used nor in it (internaldns data compact makes a new one)"},
		{"a bucket that is missing", edit(func(tx *bbolt.Tx) error {
			return tx.DeleteBucket([]byte(bLeases))
		}), "there is no bucket leases"},
		{"a record of later times", edit(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("volumes"))
			return err
		}), `bucket "volumes" is not known`},
		{"a later format", edit(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(bMeta)).Put([]byte(keyFormat), []byte("internaldns registry, format 2"))
		}), `the database is of "internaldns registry, format 2", and this version reads`},
		{"another dictionary", edit(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(bMeta)).Put([]byte(keySample), seal(bMeta, []byte(keySample), registry.NewRaw([]byte("{}"))))
		}), "compressed in a way that this version does not read"},
		{"another program's database", func(path string) error {
			os.Remove(path)
			return edit(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("x")); return err })(path)
		}, "it does not say its format"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			writeDir(t, dir, octets)
			if err := tt.damage(filepath.Join(dir, fileName)); err != nil {
				t.Fatal(err)
			}
			_, err := tryLoad(dir)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "internaldns data check") {
				t.Errorf("Load says\n%v\nwant %q in it, and what to do", err, tt.want)
			}
			if _, err := Check(dir, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Check says\n%v\nwant %q in it", err, tt.want)
			}
		})
	}
}

// All that is wrong is said at once, also if whole pages are.
func TestAllDamageIsNamed(t *testing.T) {
	dir, _ := sampleDir(t, 300)
	path := filepath.Join(dir, fileName)
	octets, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := openPages(bytes.NewReader(octets), int64(len(octets)))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	err = p.buckets(func(bucket string) bool { return bucket == bMachines }, func(_ string, page []byte) error {
		switch id := native.Uint64(page); len(want) {
		case 0:
			octets[id*pageSize+8] ^= 1
			want = append(want, fmt.Sprintf("page %d: it is of another kind", id))
		case 1:
			key, _, _ := first(page)
			octets[bytes.Index(octets[id*pageSize:], key)+int(id)*pageSize+len(key)] ^= 1
			want = append(want, object(bMachines, key)+": the checksum is wrong")
		case 2:
			octets[id*pageSize] ^= 1
			want = append(want, fmt.Sprintf("page %d says that it is page %d", id, id^1))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	writeDir(t, dir, octets)
	_, err = Check(dir, nil)
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("Check says\n%v\nwant %q in it", err, w)
		}
	}
	if len(want) != 3 {
		t.Errorf("there are too few pages to damage: %q", want)
	}
}

// first returns the first key of a leaf page.
func first(page []byte) (key []byte, at int, err error) {
	for key, at = range elements(page, flagLeaf, &err) {
		break
	}
	return key, at, err
}

// One of the two meta pages can be lost without any record being lost. But it
// may have been that of the last write, so nobody but the operator may say that
// it does not matter.
func TestADamagedMetaPageIsMendedOnlyWhenAsked(t *testing.T) {
	for page := range 2 {
		dir, _ := sampleDir(t, 10)
		path := filepath.Join(dir, fileName)
		octets, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		octets[page*pageSize+pageHeader+20] ^= 4
		writeDir(t, dir, octets)
		if _, err := tryLoad(dir); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("meta page %d is damaged", page)) {
			t.Errorf("with meta page %d damaged, Load says %v", page, err)
		}
		before, _, err := Compact(dir, nil)
		if err != nil || len(before.Warnings) != 1 {
			t.Errorf("Compact warns of %q, err %v", before.Warnings, err)
		}
		s := load(t, dir)
		if n := s.store.Snapshot().Stats().Total(); n < 9 {
			t.Errorf("afterwards there are %d machines", n)
		}
		s.close()
	}
}
