// Command dnsload sends queries to a DNS server and says what became of them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/internaldns/internaldns/bench/dnsload"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := dnsload.Command("dnsload", nil).ExecuteContext(ctx); err != nil {
		os.Exit(1)
	}
}
