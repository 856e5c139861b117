package format

import (
	"runtime"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/internal/workers"
)

// A pool decodes machine objects on all processors while the walk through the file
// goes on, and keeps their order.
type pool struct {
	workers *workers.Pool[*batch]
	batch   *batch      // at hand; nil if the next object begins one
	free    chan []byte // buffers for the octets of batches; they bound how far the walk reads ahead
	count   int
}

// A batch is some machine objects in a row. A worker sets out.
type batch struct {
	octets []byte // the objects, one after another
	ends   []int  // where each ends in octets
	out    []decoded
}

// batchSize is how many octets of objects go to a worker at once: large enough
// (about a hundred machines) that the handover costs little for each, and small enough
// that all workers soon have a batch.
const batchSize = 64 << 10

// newPool starts the workers. They end in wait, which must be called.
func newPool() *pool {
	p := &pool{free: make(chan []byte, 2*runtime.GOMAXPROCS(0))}
	for range cap(p.free) {
		p.free <- nil
	}
	p.workers = workers.Start(func() func(*batch) {
		d := newMachineDecoder()
		return func(b *batch) {
			b.decode(d)
			p.free <- b.octets[:0]
			b.octets, b.ends = nil, nil
		}
	})
	return p
}

func (b *batch) decode(d *machineDecoder) {
	b.out = make([]decoded, len(b.ends))
	from := 0
	for i, end := range b.ends {
		b.out[i].machine, b.out[i].faults = d.decode(jsontext.Value(b.octets[from:end]))
		from = end
	}
}

// add copies a machine object, which must be well-formed JSON, to a batch. It
// returns its number, counted from 0.
func (p *pool) add(object jsontext.Value) int {
	if p.batch == nil {
		p.batch = &batch{octets: <-p.free}
	}
	b := p.batch
	b.octets = append(b.octets, object...)
	b.ends = append(b.ends, len(b.octets))
	if len(b.octets) >= batchSize {
		p.workers.Add(b)
		p.batch = nil
	}
	p.count++
	return p.count - 1
}

// wait ends the workers and returns the decoded machines, by number.
func (p *pool) wait() []decoded {
	if p.batch != nil {
		p.workers.Add(p.batch)
	}
	all := make([]decoded, 0, p.count)
	for _, b := range p.workers.Wait() {
		all = append(all, b.out...)
	}
	return all
}
