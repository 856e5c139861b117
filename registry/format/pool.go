package format

import (
	"runtime"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// A pool decodes machine objects on all cores while the walk through the file
// goes on, and keeps their order.
//
//	add  copies an object into the batch at hand; a full batch goes to work
//	work one of the workers decodes the batch into its out, frees its octets
//	wait closes work and joins the outs in the order in which they were begun
type pool struct {
	batches []*batch // all, in order; the last is at hand
	free    chan []byte
	work    chan *batch
	workers sync.WaitGroup
	count   int
}

// A batch is some machine objects in a row.
type batch struct {
	octets []byte    // the objects, one after another
	ends   []int     // where each ends in octets
	out    []decoded // one for each, once the pool has been waited for
}

// batchSize is how many octets of objects go to a worker at once: enough that
// handing over costs little for each machine (about a hundred fit), and little
// enough that all workers soon have some.
const batchSize = 64 << 10

// newPool starts the workers. They end in wait, which must be called.
func newPool() *pool {
	n := runtime.GOMAXPROCS(0)
	p := &pool{
		free: make(chan []byte, 2*n), // bounds what is read ahead of the workers
		work: make(chan *batch, 2*n),
	}
	for range cap(p.free) {
		p.free <- nil
	}
	for range n {
		p.workers.Go(func() {
			d := newMachineDecoder()
			for b := range p.work {
				b.decode(d)
				p.free <- b.octets[:0]
				b.octets, b.ends = nil, nil
			}
		})
	}
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

// add hands a machine object over, which must be well-formed JSON, and returns
// its number, counted from 0. It keeps nothing of it.
func (p *pool) add(object jsontext.Value) int {
	if len(p.batches) == 0 || len(p.batches[len(p.batches)-1].octets) >= batchSize {
		p.send()
		p.batches = append(p.batches, &batch{octets: <-p.free})
	}
	b := p.batches[len(p.batches)-1]
	b.octets = append(b.octets, object...)
	b.ends = append(b.ends, len(b.octets))
	p.count++
	return p.count - 1
}

// send gives the batch at hand to the workers.
func (p *pool) send() {
	if len(p.batches) > 0 {
		p.work <- p.batches[len(p.batches)-1]
	}
}

// wait ends the workers and returns what they made of each machine, by number.
func (p *pool) wait() []decoded {
	p.send()
	close(p.work)
	p.workers.Wait()
	all := make([]decoded, 0, p.count)
	for _, b := range p.batches {
		all = append(all, b.out...)
	}
	return all
}
