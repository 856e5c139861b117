package forward

import (
	"net/netip"
	"time"
)

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// synctestSleep waits for a number of seconds of fake time.
func synctestSleep(seconds int) { time.Sleep(time.Duration(seconds) * time.Second) }
