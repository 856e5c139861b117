package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/internaldns/internaldns/registry"
)

// Keys of the bucket meta.
const (
	keyFormat = "format"
	keyState  = "state"
	keySample = "sample"
)

// format is what stands under keyFormat, for whoever looks into the file.
const format = "internaldns registry, format 1"

// A state says what a database should hold.
type state struct {
	index   uint64    // of the last commit
	records uint64    // in all buckets but meta
	sum     uint64    // of their checksums
	clock   time.Time // when that was written
}

func (s state) seal() []byte {
	b := binary.BigEndian.AppendUint64(nil, s.index)
	b = binary.BigEndian.AppendUint64(b, s.records)
	b = binary.BigEndian.AppendUint64(b, s.sum)
	b = binary.BigEndian.AppendUint64(b, uint64(s.clock.UnixNano()))
	return seal(bMeta, []byte(keyState), b)
}

func unsealState(value []byte) (s state, err error) {
	octets, err := unseal(bMeta, []byte(keyState), value)
	if err != nil {
		return s, err
	}
	b := body{rest: octets}
	s = state{index: b.uint64(), records: b.uint64(), sum: b.uint64(), clock: time.Unix(0, int64(b.uint64()))}
	return s, b.end()
}

// same reports whether two states are of one content.
func (s state) same(o state) bool {
	return s.index == o.index && s.records == o.records && s.sum == o.sum
}

// Faults are what is wrong with a database: with its pages, then with its
// records, each in the order of their keys.
type Faults []string

// maxFaults bounds how many faults are kept; a file may be damaged throughout.
const maxFaults = 100

func (f Faults) Error() string {
	s := f[0]
	for _, line := range f[1:] {
		s += "\n" + line
	}
	return s
}

// contents is what a database holds.
type contents struct {
	state
	part
	octets  int64 // of the file
	skimmed bool  // the part has no facts and leases: they were not decoded
}

// A scan reads a database file, all of it, with every checksum, page and count
// compared. Nobody may write the file meanwhile. It is neither mapped nor written.
type scan struct {
	file     *os.File
	progress func(records, of uint64) error // unless nil, called now and then; its error ends the scan
	lenient  bool                           // what compacting mends is a warning
	skim     bool                           // records are checked and not decoded

	faults   Faults
	warnings []string
	err      error         // that is no damage
	decoded  atomic.Uint64 // records, by the workers
}

// A batch is some leaf pages in a row.
type batch struct {
	buckets []string
	pages   [][]byte
	part    part
	faults  Faults
}

// batchPages is how many pages a worker takes at once: enough that handing over
// costs little.
const batchPages = 64

// add adds a fault, or, after too many, that there are more.
func (f *Faults) add(format string, args ...any) {
	switch n := len(*f); {
	case n < maxFaults:
		*f = append(*f, fmt.Sprintf(format, args...))
	case n == maxFaults:
		*f = append(*f, "and more")
	}
}

// mendable notes what is wrong, if anything is, with no record.
func (s *scan) mendable(err error) {
	switch {
	case err != nil && s.lenient:
		s.warnings = append(s.warnings, err.Error())
	case err != nil:
		s.faults.add("%v", err)
	}
}

// damage notes what is wrong with pages. It reports false if that is no damage.
func (s *scan) damage(err error) bool {
	if faults, ok := fatal(err).(Faults); ok {
		s.faults.add("%s", faults[0])
		return true
	}
	s.err = err
	return false
}

// fatal returns an error about pages as Faults, unless it is none: the file
// cannot be read, or is not to be.
func fatal(err error) error {
	_, unreadable := errors.AsType[syscall.Errno](err)
	if unreadable || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return Faults{err.Error()}
}

// read returns what the file holds, or Faults, or an error of reading.
func (s *scan) read() (*contents, error) {
	info, err := s.file.Stat()
	if err != nil {
		return nil, err
	}
	p, err := openPages(s.file, info.Size())
	if p == nil {
		return nil, fatal(err)
	}
	s.mendable(err)
	meta, err := metaBucket(p)
	if err != nil {
		return nil, fatal(err)
	}
	c := &contents{octets: info.Size(), skimmed: s.skim}
	if err := s.meta(meta, &c.state); err != nil {
		return nil, err
	}
	clear(p.seen)
	s.data(p, c)
	if s.err != nil {
		return nil, s.err
	}
	if len(s.faults) > 0 {
		return nil, s.faults // what follows follows from that
	}
	if err := p.free(); err != nil {
		s.mendable(fmt.Errorf("%w (internaldns data compact makes a new one)", err))
	}
	if c.part.records != c.state.records || c.part.sum != c.state.sum {
		s.faults.add("%d records with checksums of %016x are in it, and should be %d with %016x: some are of another time",
			c.part.records, c.part.sum, c.state.records, c.state.sum)
	}
	if len(s.faults) > 0 {
		return nil, s.faults
	}
	return c, nil
}

func isMeta(bucket string) bool { return bucket == bMeta }

// metaBucket returns what is in the bucket meta.
func metaBucket(p *pages) (map[string][]byte, error) {
	values := make(map[string][]byte)
	err := p.buckets(isMeta, func(_ string, page []byte) error {
		var err error
		for key, at := range elements(page, flagLeaf, &err) {
			v, flags := value(page, at)
			if flags != 0 {
				return fmt.Errorf("%q is no value", key)
			}
			values[string(key)] = v
		}
		return err
	})
	return values, err
}

// meta checks the bucket meta.
func (s *scan) meta(values map[string][]byte, st *state) (err error) {
	if got := string(values[keyFormat]); got != format {
		if got == "" {
			return Faults{"this is no registry database: it does not say its format"}
		}
		return Faults{fmt.Sprintf("the database is of %q, and this version reads %q: use the version that wrote it, or one after it", got, format)}
	}
	if err := checkSample(values[keySample]); err != nil {
		return Faults{err.Error()}
	}
	if *st, err = unsealState(values[keyState]); err != nil {
		return Faults{fmt.Sprintf("record %q of bucket %s: %v", keyState, bMeta, err)}
	}
	return nil
}

// data decodes the records of all buckets but meta.
func (s *scan) data(p *pages, c *contents) {
	n := runtime.GOMAXPROCS(0)
	work := make(chan *batch, 2*n) // bounds what is read ahead
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			d := new(decoder)
			for b := range work {
				s.decode(d, b)
			}
		})
	}
	var all []*batch
	b := new(batch)
	p.goOn = s.damage
	missing := slices.Clone(dataBuckets[:])
	err := p.buckets(func(bucket string) bool {
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == bucket })
		return bucket != bMeta // which was read already
	}, func(bucket string, page []byte) error {
		if !slices.Contains(dataBuckets[:], bucket) {
			return fmt.Errorf("bucket %q is not known", bucket)
		}
		b.buckets, b.pages = append(b.buckets, bucket), append(b.pages, page)
		if len(b.pages) == batchPages {
			work <- b
			all = append(all, b)
			b = new(batch)
			if s.progress != nil {
				return s.progress(s.decoded.Load(), c.state.records)
			}
		}
		return nil
	})
	work <- b
	all = append(all, b)
	close(work)
	workers.Wait()
	if err != nil && s.err == nil {
		s.damage(err)
	}
	for _, name := range missing {
		s.faults.add("there is no bucket %s", name)
	}
	machines := 0
	for _, b := range all {
		machines += len(b.part.facts.Machines)
	}
	c.facts.Machines = make([]*registry.Machine, 0, machines)
	for _, b := range all {
		c.join(&b.part)
		for _, fault := range b.faults {
			s.faults.add("%s", fault)
		}
	}
}

// decode decodes the pages of b.
func (s *scan) decode(d *decoder, b *batch) {
	for i, page := range b.pages {
		bucket := b.buckets[i]
		var err error
		for key, at := range elements(page, flagLeaf, &err) {
			v, flags := value(page, at)
			octets, err := unseal(bucket, key, v)
			if flags != 0 {
				err = errors.New("it is no value")
			}
			if err == nil && !s.skim {
				err = b.part.add(d, bucket, key, octets)
			}
			if err != nil {
				b.faults.add("%s: %v", object(bucket, key), err)
				continue
			}
			b.part.records++
			b.part.sum += uint64(sumOf(v))
		}
		if err != nil {
			b.faults.add("bucket %s: %v", bucket, err)
		}
	}
	s.decoded.Add(b.part.records)
	b.pages, b.buckets = nil, nil
}

// object names a record for messages.
func object(bucket string, key []byte) string {
	switch n, name, err := splitNetworkKey(key); bucket {
	case bMachines, bLeases:
		d := new(decoder)
		if app, rest, err := d.splitAppKey(key); err == nil {
			what := "machine"
			if bucket == bLeases {
				what = "lease of machine"
			}
			if rest[0] == keyLive {
				return fmt.Sprintf("%s %q of app %q in %v", what, rest[1:], app.Name, app.Network)
			}
			return fmt.Sprintf("%s (gone, %x) of app %q in %v", what, rest[1:], app.Name, app.Network)
		}
	case bNetworks, bApps, bPeers:
		if err == nil {
			return fmt.Sprintf("%s %q in %v", bucket[:len(bucket)-1], name, n)
		}
	}
	return fmt.Sprintf("record %q of bucket %s", key, bucket)
}

// sampleObject is an object as most are. It is stored compressed, so that a
// database tells whether this version still reads those in it.
const sampleObject = `{"id":"148e21dad76789","name":"aged-wind-2649","state":"started","region":"ams","instance_id":"01HQ3V9M7Z2W5X8Y4N6P0R1S2T",` +
	`"private_ip":"fdaa:0:18:a7b:7d:f066:b83b:2","config":{"init":{},"image":"registry.fly.io/web:deployment-01","restart":{"policy":"on-failure"},` +
	`"metadata":{"fly_flyctl_version":"0.3.150","fly_platform_version":"v2","fly_process_group":"app","fly_release_version":"17"},` +
	`"guest":{"cpu_kind":"shared","cpus":1,"memory_mb":256}},"checks":[{"name":"http","status":"passing"}],` +
	`"created_at":"2026-10-31T02:30:10Z","updated_at":"2026-10-31T02:35:26Z","events":[{"type":"start","status":"started","source":"flyd"}]}`

// checkSample says whether stored objects can be read back.
func checkSample(value []byte) error {
	octets, err := unseal(bMeta, []byte(keySample), value)
	if err != nil {
		return fmt.Errorf("record %q of bucket %s: %w", keySample, bMeta, err)
	}
	if object, err := registry.Raw(octets).JSON(); err != nil || string(object) != sampleObject {
		return errors.New("machine objects in it are compressed in a way that this version does not read: use the version that wrote it")
	}
	return nil
}
