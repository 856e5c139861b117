package load

import (
	"bytes"
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/miekg/dns"

	"github.com/internaldns/internaldns/bench/dataset"
)

// Counts are of the queries of the measured time. The faults, from Stray on, are
// counted over the whole run.
type Counts struct {
	// Sent counts queries that were due in the measured time and sent.
	Sent uint64 `json:"sent"`
	// Unsent counts queries that were due, but that the generator was too late to
	// send.
	Unsent uint64 `json:"unsent"`
	// Answered and Lost add up to Sent.
	Answered uint64 `json:"answered"`
	Lost     uint64 `json:"lost"`
	// Within counts the answered ones that were right and within the deadline.
	Within uint64 `json:"within_deadline"`
	// Wrong counts the answered ones with a wrong RCODE or, if they were Compared,
	// wrong answers.
	Wrong    uint64 `json:"wrong"`
	Compared uint64 `json:"compared"`
	// Truncated counts the answered ones with TC set.
	Truncated uint64 `json:"truncated"`
	// Received counts responses that came in the measured time, whenever their
	// queries were due. Throughput is computed from it.
	Received uint64 `json:"received"`

	Stray         uint64 `json:"stray"`          // no query has the ID
	Twice         uint64 `json:"twice"`          // the query was answered already
	Late          uint64 `json:"late"`           // the query was lost already
	Malformed     uint64 `json:"malformed"`      // shorter than a header
	NotResponse   uint64 `json:"not_response"`   // QR clear
	WrongQuestion uint64 `json:"wrong_question"` // not the question asked
	Reconnects    uint64 `json:"reconnects"`     // connections that the server ended
}

// tally counts within the measured time [begin, end).
type tally struct {
	Counts
	rcodes     [16]uint64
	latency    *hdrhistogram.Histogram // of answered queries, in ns
	begin, end int64
	deadline   int64
}

// newHistogram returns a histogram of latencies with 3 digits, from 1 µs, the least
// that a socket takes, to 2 minutes, which no timeout exceeds.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1000, 120e9, 3)
}

// measured reports whether a query that was due at that time belongs to the result.
func (t *tally) measured(due int64) bool { return due >= t.begin && due < t.end }

// count counts a query as sent if it belongs to the measured time.
func (t *tally) count(due int64) {
	if t.measured(due) {
		t.Sent++
	}
}

// accept counts a response to a query that was due at that time.
func (t *tally) accept(due, now int64, msg []byte, right bool) {
	if now >= t.begin && now < t.end {
		t.Received++
	}
	if !t.measured(due) {
		return
	}
	t.Answered++
	t.rcodes[msg[3]&0xf]++
	if msg[2]&0x02 != 0 {
		t.Truncated++
	}
	took := now - due
	if !right {
		t.Wrong++
	} else if took <= t.deadline {
		t.Within++
	}
	t.latency.RecordValue(took) // no value is out of range: the timeout bounds it
}

// lose counts a query without a response.
func (t *tally) lose(due int64) {
	if t.measured(due) {
		t.Lost++
	}
}

// maxExamples is the number of wrong responses that a result shows.
const maxExamples = 5

// example is a wrong response and its query.
type example struct {
	query dataset.Query
	msg   []byte
}

// addExample keeps copies of the first wrong responses.
func (g *generator) addExample(q *dataset.Query, msg []byte) {
	if len(g.examples) < maxExamples {
		query := *q
		query.Message = bytes.Clone(q.Message) // Ask reuses its memory
		g.examples = append(g.examples, example{query, bytes.Clone(msg)})
	}
}

func (e example) String() string {
	want := e.query.Want
	asked := fmt.Sprintf("%s %s: wanted %s and %d answers", e.query.Name(), dns.Type(e.query.Type()), dataset.RCodeText(want.RCode), want.Answers)
	var m dns.Msg
	if err := m.Unpack(e.msg); err != nil {
		return fmt.Sprintf("%s, got %x (%v)", asked, e.msg, err)
	}
	s := fmt.Sprintf("%s, got %s and %d", asked, dataset.RCodeText(e.msg[3]&0xf), len(m.Answer))
	for _, rr := range m.Answer {
		s += "\n\t" + rr.String()
	}
	return s
}
