package disk

import (
	"bytes"
	"errors"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/internaldns/internaldns/registry"
)

// A file of any content is read without a panic. bbolt reads the same in a file that
// is accepted.
func FuzzRead(f *testing.F) {
	dir, _ := sampleDir(f, 60)
	sample, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		f.Fatal(err)
	}
	// An input is a list of changes: three octets for the place, one for the new
	// octet. The checksums of the meta pages are made right again, so that changes of
	// their fields get further than that.
	f.Add([]byte{})
	for at := 0; at < len(sample); at += pageSize {
		for _, field := range []int{0, 8, 10, 12, pageHeader, pageHeader + 4, pageHeader + 8, pageHeader + 12, pageHeader + 16, pageHeader + 32, pageHeader + 40} {
			f.Add([]byte{byte((at + field) >> 16), byte((at + field) >> 8), byte(at + field), 0xff})
		}
	}
	path := filepath.Join(memoryDir(f), fileName)
	f.Fuzz(func(t *testing.T, changes []byte) {
		octets := bytes.Clone(sample)
		for ; len(changes) >= 4; changes = changes[4:] {
			at := int(changes[0])<<16 | int(changes[1])<<8 | int(changes[2])
			octets[at%len(octets)] = changes[3]
		}
		for i := range 2 {
			meta := octets[i*pageSize+pageHeader:]
			sum := fnv.New64a()
			sum.Write(meta[:metaLen-8])
			native.PutUint64(meta[metaLen-8:], sum.Sum64())
		}
		if err := os.WriteFile(path, octets, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := readFile(path, readOptions{})
		if err != nil {
			return
		}
		if err := checkBolt(path, c.state); err != nil {
			t.Errorf("bbolt does not agree: %v", err)
		}
	})
}

// checkBolt has bbolt check the file, and read the records.
func checkBolt(path string, want state) (err error) {
	d := &database{path: path}
	if err := d.open(os.O_RDONLY); err != nil {
		return err
	}
	err = d.bolt.View(func(tx *bbolt.Tx) error {
		var faults Faults
		for err := range tx.Check() {
			faults.add("%v", err)
		}
		got := state{index: want.index}
		for _, name := range dataBuckets {
			b := tx.Bucket([]byte(name))
			if b == nil {
				faults.add("there is no bucket %s", name)
				continue
			}
			b.ForEach(func(_, v []byte) error {
				got.records++
				got.sum += uint64(sumOf(v))
				return nil
			})
		}
		if !got.same(want) {
			faults.add("bbolt finds %d records with checksums of %016x, want %d with %016x", got.records, got.sum, want.records, want.sum)
		}
		if len(faults) > 0 {
			return faults
		}
		return nil
	})
	return errors.Join(err, d.close(err))
}

// A record of any content is decoded without a panic. A fact that is decoded is the
// same after it is encoded and decoded once more.
func FuzzRecord(f *testing.F) {
	for _, m := range []*registry.Machine{machine(1, "started"), machine(2, "destroyed"), {App: "web", Network: 1}} {
		codec := &codecs[registry.KindMachine]
		f.Add(byte(registry.KindMachine), codec.key(m), codec.body(m))
	}
	r := leaseRecord(key(1), &registry.Lease{TTL: 1})
	f.Add(byte(len(codecs)), r.key, r.value[sumLen:])
	for _, fact := range []registry.Fact{
		&registry.NetworkName{Network: 1, Name: "default"}, &registry.App{Network: 1, Name: "web", Modified: 7},
		&registry.Peer{Name: "p", Address: machine(1, "").Address}, &registry.Flycast{Address: machine(1, "").Address, App: "web", Owner: 1},
		&registry.Region{Code: "ams", Name: "Amsterdam", Latitude: 1}, &registry.RTT{From: "a", To: "b", MS: 3},
	} {
		kind := fact.Key().Kind
		f.Add(byte(kind), codecs[kind].key(fact), codecs[kind].body(fact))
	}
	f.Fuzz(func(t *testing.T, which byte, key, octets []byte) {
		newBatch := func(bucket string) *batch {
			b := &batch{bucket: bucket}
			if i := slices.Index(dataBuckets, bucket); i < len(codecs) {
				b.codec = &codecs[i]
			}
			return b
		}
		bucket := dataBuckets[int(which)%len(dataBuckets)]
		b := newBatch(bucket)
		if b.add(new(decoder), key, octets) != nil {
			return
		}
		again := newBatch(bucket)
		for _, r := range encoded(b) {
			body, err := unseal(r.bucket, r.key, r.value)
			if err == nil {
				err = again.add(new(decoder), r.key, body)
			}
			if err != nil {
				t.Fatalf("a record that was decoded and encoded: %v", err)
			}
		}
		var got, want registry.Facts
		got.Add(again.facts...)
		want.Add(b.facts...)
		if got, want := describeFacts(&got), describeFacts(&want); got != want || len(again.leases) != len(b.leases) {
			t.Errorf("there is\n%swant\n%s", got, want)
		}
	})
}

// encoded returns the records of all that is in b.
func encoded(b *batch) []record {
	c := &registry.Changes{}
	for _, fact := range b.facts {
		if m, ok := fact.(*registry.Machine); ok {
			c.Machines = append(c.Machines, registry.MachineChange{After: m})
		} else {
			c.Others = append(c.Others, registry.Change{After: fact})
		}
	}
	list := records(c)
	for k, l := range b.leases {
		list = append(list, leaseRecord(k, &l))
	}
	return list
}
