package servers

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/bench/load"
)

// The server answers everything that a dataset asks as its master file says.
func TestMapAnswersEveryQueryOfADatasetRight(t *testing.T) {
	d, err := dataset.New(4, dataset.DefaultShape(300))
	if err != nil {
		t.Fatal(err)
	}
	var master bytes.Buffer
	if err := d.WriteMaster(&master, 0); err != nil {
		t.Fatal(err)
	}
	zone, err := ReadMap(&master)
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- zone.serve(ctx, packets, listener) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	queries, err := d.Queries(dataset.DefaultTraffic(500))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []load.Options{
		{Server: packets.LocalAddr().(*net.UDPAddr).AddrPort(), Transport: load.UDP},
		{Server: listener.Addr().(*net.TCPAddr).AddrPort(), Transport: load.TCP},
	} {
		o.Queries, o.Window, o.Sockets, o.Sample, o.Duration = queries, 8, 2, 1, 200*time.Millisecond
		r, err := load.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Answered == 0 || r.Wrong > 0 || r.Lost > 0 || r.Truncated > 0 {
			t.Errorf("%s: %+v\n%s", o.Transport, r.Counts, strings.Join(r.Wrongs, "\n"))
		}
	}
}

func TestAMasterFileMustBeReadableAndHaveAnSOA(t *testing.T) {
	for _, text := range []string{"", "a. 5 IN AAAA fdaa::1\n", "a. 5 IN AAAA what\n"} {
		if _, err := ReadMap(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
