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

// describe returns a sentence for the help.
func (s *source) describe() string {
	otherwise := ".\n"
	if s.sample != nil {
		otherwise = ";\nor else those of the sample that \"internaldns serve\" serves.\n"
	}
	return `Queries are those of a file, with a line "QNAME QTYPE" for each; or about the
made-up facts of --machines and --seed, which the command dataset writes as a
registry file` + otherwise
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
	case s.machines != 0:
		return s.makeUp()
	case s.sample != nil:
		return s.read("sample", bytes.NewReader(s.sample))
	}
	return nil, errors.New("queries: want --queries FILE or --machines NUMBER")
}

// read returns the queries of r, one a line. name is used in errors.
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

// makeUp returns queries about made-up machines.
func (s *source) makeUp() ([]dataset.Query, error) {
	d, err := dataset.New(s.seed, dataset.DefaultShape(s.machines))
	if err != nil {
		return nil, fmt.Errorf("machines: %w", err)
	}
	traffic := dataset.DefaultTraffic(s.count)
	traffic.UDPSize = s.udpSize
	return d.Queries(traffic)
}
