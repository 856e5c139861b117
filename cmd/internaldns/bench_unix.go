//go:build unix

package main

import (
	_ "embed"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/bench/dnsload"
)

// sampleQueries are about the sample, one a line.
//
//go:embed sample/queries.txt
var sampleQueries []byte

func (p *program) benchCommand() *cobra.Command {
	return dnsload.Command(programName+" bench", sampleQueries)
}
