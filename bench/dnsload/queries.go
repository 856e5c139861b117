package dnsload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/internaldns/internaldns/bench/dataset"
)

// A source is where the queries come from.
type source struct {
	sample   []byte // of the caller; nil if it has none
	file     string // of queries; - is standard input, "" is none
	machines int    // made up; 0 for none
	seed     uint64
	count    int
	udpSize  uint16
}

// machines are made up if nobody says how many and there is no sample.
const defaultMachines = 2000

// unspecified reports whether the user leaves it to us what to ask.
func (s *source) unspecified() bool { return s.file == "" && s.machines == 0 }

// describe says in a sentence where queries come from.
func (s *source) describe() string {
	otherwise := "those of the sample that \"internaldns serve\" serves"
	if s.sample == nil {
		otherwise = fmt.Sprintf("those of %d machines", defaultMachines)
	}
	return `Queries are those of a file, with a line "QNAME QTYPE" for each; or about the
made-up facts of --machines and --seed, which bench/cmd/dataset writes as a
registry file; or else ` + otherwise + ".\n"
}

// what names the queries that are sent if the user does not say.
func (s *source) what() string {
	if s.sample != nil {
		return "those of the sample organisation"
	}
	return fmt.Sprintf("those of %d made-up machines", defaultMachines)
}

// load returns the queries.
func (s *source) load() ([]dataset.Query, error) {
	switch {
	case s.file != "" && s.machines != 0:
		return nil, errors.New("queries: either those of a file or those of --machines, not both")
	case s.file == "-":
		return s.read("standard input", os.Stdin)
	case s.file != "":
		f, err := os.Open(s.file)
		if err != nil {
			return nil, fmt.Errorf("queries: %w", err)
		}
		defer f.Close()
		return s.read(s.file, f)
	case s.machines == 0 && s.sample != nil:
		return s.read("sample", bytes.NewReader(s.sample))
	}
	return s.makeUp()
}

// read returns the queries that r has, one a line.
func (s *source) read(name string, r io.Reader) ([]dataset.Query, error) {
	queries, err := dataset.ReadQueries(r, s.udpSize)
	if err == nil && len(queries) == 0 {
		err = errors.New("there are none; write a line for each, such as \"web.internal AAAA\"")
	}
	if err != nil {
		return nil, fmt.Errorf("queries: %s: %w", name, err)
	}
	return queries, nil
}

func (s *source) makeUp() ([]dataset.Query, error) {
	machines := s.machines
	if machines == 0 {
		machines = defaultMachines
	}
	d, err := dataset.New(s.seed, dataset.DefaultShape(machines))
	if err != nil {
		return nil, fmt.Errorf("machines: %w", err)
	}
	traffic := dataset.DefaultTraffic(s.count)
	traffic.UDPSize = s.udpSize
	return d.Queries(traffic)
}
