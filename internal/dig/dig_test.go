package dig

import (
	"os"
	"strings"
	"testing"
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
