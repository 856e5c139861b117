package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/internaldns/internaldns/internal/workers"
	"github.com/internaldns/internaldns/registry"
)

// Keys of the bucket meta.
const (
	keyFormat = "format"
	keyState  = "state"
	keySample = "sample"
)

// format is the value of keyFormat. It is plain text, for people who look into the
// file.
const format = "internaldns registry, format 1"

// A state is what the database says of itself.
type state struct {
	index   uint64    // of the last commit
	records uint64    // in all buckets but meta
	sum     uint64    // of their checksums
	clock   time.Time // when the state was written
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
	b := reader{rest: octets}
	s = state{index: b.uint64(), records: b.uint64(), sum: b.uint64(), clock: time.Unix(0, int64(b.uint64()))}
	return s, b.end()
}

// same reports whether two states are of one content.
func (s state) same(o state) bool {
	return s.index == o.index && s.records == o.records && s.sum == o.sum
}

// Faults are what is wrong with a database: first its pages, then its records,
// each in the order of their keys.
type Faults []string

// maxFaults bounds the faults that are listed. A file may be damaged throughout.
const maxFaults = 100

func (f Faults) Error() string { return strings.Join(f, "\n") }

// add adds a fault, or, after maxFaults, that there are more.
func (f *Faults) add(format string, args ...any) {
	switch n := len(*f); {
	case n < maxFaults:
		*f = append(*f, fmt.Sprintf(format, args...))
	case n == maxFaults:
		*f = append(*f, "and more")
	}
}

// take adds err to the faults if it is damage. It returns any other error.
func (f *Faults) take(err error) error {
	if isDamage(err) {
		f.add("%v", err)
		return nil
	}
	return err
}

// isDamage reports whether err is about what is in the file. Other errors are
// about reading it.
func isDamage(err error) bool {
	_, ok := errors.AsType[Faults](err)
	return ok
}

// contents is what a database holds.
type contents struct {
	state
	facts    registry.Facts
	leases   map[registry.MachineKey]registry.Lease
	octets   int64    // size of the file
	skimmed  bool     // facts and leases are empty: records were checked and not decoded
	warnings []string // what was wrong, if readOptions.mend allowed it
}

// readOptions say how to read a file.
type readOptions struct {
	// progress, unless nil, is called with the number of records read, and at the
	// end with both alike. Its error ends the reading.
	progress func(records, of uint64) error
	// skim has records checked and not decoded.
	skim bool
	// mend makes warnings of the faults that Compact mends.
	mend bool
}

// readFile reads the database at path.
func readFile(path string, o readOptions) (*contents, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return read(f, o)
}

// read reads a database file, all of it: it checks every page, every checksum and
// the number of records. The file must not be written meanwhile. The error is
// Faults, all that is wrong with the file, or one of reading it.
func read(f *os.File, o readOptions) (*contents, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	p, err := openPages(f, info.Size())
	if p == nil {
		return nil, err
	}
	c := &contents{leases: make(map[registry.MachineKey]registry.Lease), octets: info.Size(), skimmed: o.skim}
	mendable := func(err error) {
		if o.mend {
			c.warnings = append(c.warnings, err.Error())
		} else {
			p.faults.add("%v", err)
		}
	}
	if err != nil {
		mendable(err)
	}
	buckets, err := p.buckets()
	if err != nil {
		return nil, err
	}
	if err := readMetaBucket(p, buckets[bMeta], &c.state); err != nil {
		return nil, err
	}
	records, sum, err := c.readRecords(p, buckets, o)
	if err != nil {
		return nil, err
	}
	if len(p.faults) > 0 {
		return nil, p.faults // the faults below would follow from these
	}
	switch err := p.checkFree(); {
	case isDamage(err):
		mendable(fmt.Errorf("list of free pages: %w (internaldns data compact makes a new one)", err))
	case err != nil:
		return nil, err
	}
	if records != c.records || sum != c.sum {
		p.faults.add("%d records with checksums of %016x are in it, and should be %d with %016x: some are missing, or of another commit",
			records, sum, c.records, c.sum)
	}
	if len(p.faults) > 0 {
		return nil, p.faults
	}
	return c, nil
}

// readMetaBucket checks the bucket meta and sets st to the state in it.
func readMetaBucket(p *pages, bucket []byte, st *state) error {
	values, faults := make(map[string][]byte), len(p.faults)
	if bucket != nil {
		err := p.bucket(bucket, func(list []element) error {
			for _, e := range list {
				if e.flags != 0 {
					return damaged("%q is no value", e.key)
				}
				values[string(e.key)] = e.value
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("bucket %s: %w", bMeta, err)
		}
	}
	switch got := string(values[keyFormat]); {
	case len(p.faults) > faults:
		return p.faults
	case got == "":
		return damaged("this is no registry database: it does not say its format")
	case got != format:
		return damaged("the database is of %q, and this version reads %q: use the version that wrote it, or one after it", got, format)
	}
	if err := checkSample(values[keySample]); err != nil {
		return err
	}
	var err error
	if *st, err = unsealState(values[keyState]); err != nil {
		return damaged("record %q of bucket %s: %v", keyState, bMeta, err)
	}
	return nil
}

// A batch is some records of one bucket in a row. A worker sets what is below
// records.
type batch struct {
	bucket  string
	codec   *codec // nil for leases
	records []element

	facts  []registry.Fact
	leases map[registry.MachineKey]registry.Lease
	faults Faults
}

// batchRecords is how many records a worker takes at least, unless their bucket
// ends: enough that handing them over costs little.
const batchRecords = 500

// readRecords reads the records of all buckets but meta, on all processors. It
// returns their number and the sum of their checksums, and adds what is wrong to
// p.faults.
func (c *contents) readRecords(p *pages, buckets map[string][]byte, o readOptions) (records, sum uint64, err error) {
	pool := workers.Start(func() func(*batch) {
		d := new(decoder)
		return func(b *batch) { b.decode(d, o.skim) }
	})
	handOver := func(b *batch) error {
		for _, e := range b.records {
			if len(e.value) >= sumLen { // else it is a fault
				sum += uint64(sumOf(e.value))
			}
		}
		records += uint64(len(b.records))
		pool.Add(b)
		if o.progress == nil {
			return nil
		}
		return o.progress(min(records, c.records), c.records)
	}
	for i, name := range dataBuckets {
		value, ok := buckets[name]
		if !ok {
			p.faults.add("there is no bucket %s", name)
			continue
		}
		var codec *codec
		if i < len(codecs) {
			codec = &codecs[i]
		}
		b := &batch{bucket: name, codec: codec}
		err = p.bucket(value, func(list []element) error {
			b.records = append(b.records, list...)
			if len(b.records) < batchRecords {
				return nil
			}
			full := b
			b = &batch{bucket: name, codec: codec}
			return handOver(full)
		})
		if err != nil {
			err = p.faults.take(fmt.Errorf("bucket %s: %w", name, err))
		}
		if err == nil {
			err = handOver(b)
		}
		if err != nil {
			break
		}
	}
	batches := pool.Wait()
	if err != nil {
		return 0, 0, err
	}
	for name := range buckets {
		if name != bMeta && !slices.Contains(dataBuckets, name) {
			p.faults.add("bucket %q is not known", name)
		}
	}
	for _, b := range batches {
		c.facts.Add(b.facts...)
		maps.Copy(c.leases, b.leases)
		for _, fault := range b.faults {
			p.faults.add("%s", fault)
		}
	}
	return records, sum, nil
}

// decode checks the records of b and, unless skim, decodes them.
func (b *batch) decode(d *decoder, skim bool) {
	for _, e := range b.records {
		body, err := unseal(b.bucket, e.key, e.value)
		if e.flags != 0 {
			err = errors.New("it is no value")
		}
		if err == nil && !skim {
			err = b.add(d, e.key, body)
		}
		if err != nil {
			b.faults.add("%s: %v", object(b.bucket, e.key), err)
		}
	}
	b.records = nil // frees the pages
}

// add decodes a record.
func (b *batch) add(d *decoder, key, body []byte) error {
	d.begin(key, body)
	if b.codec != nil {
		b.facts = append(b.facts, b.codec.decode(d))
		return d.end()
	}
	k, l := d.lease()
	if b.leases == nil {
		b.leases = make(map[registry.MachineKey]registry.Lease)
	}
	b.leases[k] = l
	return d.end()
}

// sampleObject is an object as most are. It is stored compressed. Reading it back
// shows that this version still reads the objects in the database.
const sampleObject = `{"id":"148e21dad76789","name":"aged-wind-2649","state":"started","region":"ams","instance_id":"01HQ3V9M7Z2W5X8Y4N6P0R1S2T",` +
	`"private_ip":"fdaa:0:18:a7b:7d:f066:b83b:2","config":{"init":{},"image":"registry.fly.io/web:deployment-01","restart":{"policy":"on-failure"},` +
	`"metadata":{"fly_flyctl_version":"0.3.150","fly_platform_version":"v2","fly_process_group":"app","fly_release_version":"17"},` +
	`"guest":{"cpu_kind":"shared","cpus":1,"memory_mb":256}},"checks":[{"name":"http","status":"passing"}],` +
	`"created_at":"2026-10-31T02:30:10Z","updated_at":"2026-10-31T02:35:26Z","events":[{"type":"start","status":"started","source":"flyd"}]}`

// checkSample reads the sample back.
func checkSample(value []byte) error {
	octets, err := unseal(bMeta, []byte(keySample), value)
	if err != nil {
		return damaged("record %q of bucket %s: %v", keySample, bMeta, err)
	}
	if object, err := registry.Raw(octets).JSON(); err != nil || string(object) != sampleObject {
		return damaged("machine objects in it are compressed in a way that this version does not read: use the version that wrote it")
	}
	return nil
}
