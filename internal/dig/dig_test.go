package dig

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// Over UDP, Ask sends the query several times.
func TestErrorSaysHowLongAskWaited(t *testing.T) {
	q := &Query{Server: "192.0.2.1:53"}
	for network, want := range map[string]string{"udp": "no response within 15s", "tcp": "no response within 5s"} {
		if err := q.explain(network, os.ErrDeadlineExceeded); !strings.HasSuffix(err.Error(), want) {
			t.Errorf("over %s: %v, want %s", network, err, want)
		}
	}
}

// A dialer that has no time left returns another error than a connection.
func TestErrorSaysHowLongAskWaitedForAConnection(t *testing.T) {
	q := &Query{Server: "192.0.2.1:53"}
	_, err := (&net.Dialer{Timeout: time.Nanosecond}).Dial("tcp", q.Server)
	if err := q.explain("tcp", err); !strings.HasSuffix(err.Error(), "; no response within 5s") {
		t.Errorf("got %v, want the time at its end", err)
	}
}
