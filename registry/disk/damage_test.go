package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/internaldns/internaldns/registry"
)

// sampleDir makes a database with facts of all kinds, in several transactions. It
// returns the directory, and the description of what is in it.
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

// outcome serves octets as a database. If they are refused it returns why. If not,
// everything in want must be there, and stay there while more is written: damage
// must not wait for a write to destroy something.
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
	if got := describe(s.store.Snapshot()); got != want {
		t.Fatalf("%s: not refused, and there is\n%s", what, got)
	}
	s.run()
	for n := range 4 {
		events := []registry.Event{putMachine(9000+n, "started")}
		for i := n * 3; i < 300; i += 25 {
			events = append(events, putMachine(i, "started"))
		}
		if _, err := s.try(nil, events...); err != nil {
			t.Fatalf("%s: not refused, and a write ends with %v", what, err)
		}
	}
	want = describe(s.store.Snapshot())
	s.stop(t)
	again := load(t, dir)
	defer again.close()
	if got := describe(again.store.Snapshot()); got != want {
		t.Fatalf("%s: not refused, and after some writes and a restart there is\n%s", what, got)
	}
	return nil
}

// Files with flipped bits, lost sectors and misplaced pages, and files that were
// cut, are refused, or all that they held is there and stays there.
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
			for i := range 950 {
				broken := bytes.Clone(octets)
				if err := outcome(t, dir, broken, d.damage(broken, i%4), want); err != nil {
					refused++
				} else {
					whole++
				}
			}
			if refused < 100 || whole < 100 {
				t.Errorf("%d files were refused and %d were not, want 100 of each", refused, whole)
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

// What bbolt takes for granted is checked: read by bbolt alone, each of these files
// loses records in one of the next writes, or ends the process.
func TestDamageThatBboltDoesNotSee(t *testing.T) {
	source, want := sampleDir(t, 300)
	octets, err := os.ReadFile(filepath.Join(source, fileName))
	if err != nil {
		t.Fatal(err)
	}
	p := openOctets(t, octets)
	values, err := p.buckets()
	if err != nil {
		t.Fatal(err)
	}
	branch := native.Uint64(values[bMachines])
	if native.Uint16(octets[branch*pageSize+8:]) != kindBranch {
		t.Fatal("there are too few machines for a branch page")
	}
	children := leaves(octets, branch)
	leaf := slices.Min(children) // there are pages behind it
	type edit = func(page []byte)
	set16 := func(at int, v uint16) edit { return func(page []byte) { native.PutUint16(page[at:], v) } }
	set32 := func(at int, v uint32) edit { return func(page []byte) { native.PutUint32(page[at:], v) } }
	set64 := func(at int, v uint64) edit { return func(page []byte) { native.PutUint64(page[at:], v) } }
	const second = pageHeader + elementLen
	for _, tt := range []struct {
		name string
		page uint64
		edit edit
		want string
	}{
		{"a leaf with a further page", leaf, set32(12, 1), "used twice"},
		{"a leaf with 2^20 further pages", leaf, set32(12, 1<<20), "page "},
		{"a leaf with 2^32-1 further pages", leaf, set32(12, 1<<32-1), "page "},
		{"a root with further pages", p.root, set32(12, 2), "page "},
		{"a list of free pages without any", p.free, set16(10, 0), "is neither used nor in it"},
		{"a list of free pages with one in use", p.free, set64(pageHeader, leaf), "used twice"},
		{"a list of free pages with a meta page", p.free, set64(pageHeader, 1), "is not in the file"},
		{"a list of free pages with one beyond the file", p.free, set64(pageHeader, 1<<40), "is not in the file"},
		{"a list of free pages that says it is longer", p.free, set16(10, 600), "do not fit into it"},
		{"a list of free pages that says it is much longer", p.free, set16(10, 0xffff), "list of free pages"},
		{"a list of free pages with further pages", p.free, set32(12, 5), "page "},
		{"a branch that is its own first child", branch, set64(pageHeader+8, branch), "used twice"},
		{"a branch that is its own second child", branch, set64(second+8, branch), "used twice"},
		{"a branch with a child twice", branch, set64(second+8, children[0]), "used twice"},
		{"a branch with a child beyond the file", branch, set64(second+8, 1<<40), "is not in the file"},
		{"a branch with another key", branch, func(page []byte) {
			at := second + int(native.Uint32(page[second:]))
			page[at+int(native.Uint32(page[second+4:]))-1] ^= 8
		}, "not in order"},
		{"a branch with a key of 2 GiB", branch, set32(second+4, 1<<31), "lies outside"},
		{"a leaf with two records swapped", leaf, func(page []byte) {
			one, two := bytes.Clone(page[pageHeader:second]), bytes.Clone(page[second:second+elementLen])
			native.PutUint32(one[4:], native.Uint32(one[4:])-elementLen)
			native.PutUint32(two[4:], native.Uint32(two[4:])+elementLen)
			copy(page[second:], one)
			copy(page[pageHeader:], two)
		}, "not in order"},
		{"a leaf with a record that is a bucket", leaf, set32(pageHeader, 1), "is no value"},
		{"a leaf with a value of 2 GiB", leaf, set32(pageHeader+12, 1<<31), "lies outside"},
		{"a leaf that says it holds more", leaf, set16(10, 0xffff), "do not fit into it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broken := bytes.Clone(octets)
			tt.edit(broken[tt.page*pageSize:][:pageSize])
			if err := outcome(t, memoryDir(t), broken, tt.name, want); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Load says\n%v\nwant %q in it", err, tt.want)
			}
		})
	}
}

func openOctets(t testing.TB, octets []byte) *pages {
	t.Helper()
	p, err := openPages(bytes.NewReader(octets), int64(len(octets)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// leaves returns the ids of the leaf pages below page id of an undamaged file.
func leaves(octets []byte, id uint64) (ids []uint64) {
	page := octets[id*pageSize:]
	if native.Uint16(page[8:]) == kindLeaf {
		return []uint64{id}
	}
	for i := range int(native.Uint16(page[10:])) {
		ids = append(ids, leaves(octets, native.Uint64(page[pageHeader+i*elementLen+8:]))...)
	}
	return ids
}

// damage damages octets in one of four ways, and describes it.
func (d draw) damage(octets []byte, way int) string {
	page := func() int { return d.IntN(len(octets)/pageSize) * pageSize }
	switch way {
	case 0:
		at := d.IntN(len(octets))
		octets[at] ^= 1 << d.IntN(8)
		return fmt.Sprintf("a bit of octet %d flipped", at)
	case 1: // in the header or the first elements of a page
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

// sector is the number of octets that a disk writes whole.
const sector = 512

// An error about damage names the object, and what to do.
func TestDamageIsNamed(t *testing.T) {
	source, _ := sampleDir(t, 30)
	octets, err := os.ReadFile(filepath.Join(source, fileName))
	if err != nil {
		t.Fatal(err)
	}
	// edit changes a database without the Keeper.
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
		}), "some are missing, or of another commit"},
		{"a list of free pages that is cut", func(path string) error {
			p, broken := openOctets(t, octets), bytes.Clone(octets)
			native.PutUint16(broken[p.free*pageSize+10:], 1)
			return os.WriteFile(path, broken, 0o600)
		}, "is neither used nor in it (internaldns data compact makes a new one)"},
		{"a bucket that is missing", edit(func(tx *bbolt.Tx) error {
			return tx.DeleteBucket([]byte(bLeases))
		}), "there is no bucket leases"},
		{"a bucket of a later version", edit(func(tx *bbolt.Tx) error {
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

// All faults are listed at once, those of whole pages too.
func TestAllDamageIsNamed(t *testing.T) {
	dir, _ := sampleDir(t, 300)
	path := filepath.Join(dir, fileName)
	octets, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	values, err := openOctets(t, octets).buckets()
	if err != nil {
		t.Fatal(err)
	}
	ids := leaves(octets, native.Uint64(values[bMachines]))
	octets[ids[0]*pageSize+8] ^= 1
	list, err := elements(octets[ids[1]*pageSize:], nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	list[0].value[0] ^= 1
	octets[ids[2]*pageSize] ^= 1
	want := []string{
		fmt.Sprintf("page %d: it is of another kind", ids[0]),
		object(bMachines, list[0].key) + ": the checksum is wrong",
		fmt.Sprintf("page %d has the id of page %d", ids[2], ids[2]^1),
	}
	writeDir(t, dir, octets)
	_, err = Check(dir, nil)
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("Check says\n%v\nwant %q in it", err, w)
		}
	}
}

// One of the two meta pages can be lost without any record being lost. But it may have
// been that of the last write, so only the operator may go on without it.
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
