//go:build linux

package load

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/bench/servers"
)

// The upstream answers in the generator's turns, and in no others.
func TestAskMakesEveryQueryAndBesideWorksInTheSameLoop(t *testing.T) {
	s, err := servers.NewUpstream(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, rate := range []float64{0, 2000} {
		before := s.Counts()
		most := uint32(0)
		r, err := Run(t.Context(), Options{
			Server: s.Addr(), Rate: rate, Sockets: 4, Window: 16, Sample: 1, Duration: 50 * time.Millisecond,
			Timeout: time.Minute, // no query is lost, however busy the machine is
			Ask: func(n uint32, q *dataset.Query) {
				most = max(most, n)
				servers.ForwardedQuery(n, 1232, q)
			},
			Beside: s.Turn,
		})
		if err != nil {
			t.Fatal(err)
		}
		after := s.Counts()
		// Queries that are sent when the measured time is over are compared, but are
		// not counted as answered.
		if r.Answered == 0 || r.Lost > 0 || r.Wrong > 0 || r.Compared < r.Answered || r.WrongQuestion > 0 {
			t.Errorf("%+v", r)
		}
		// The last queries that were made may not have been sent.
		if got := after.Queries - before.Queries; got > uint64(most)+1 || got < r.Answered || after.Others != 0 {
			t.Errorf("the last query was number %d; %d came, %d others", most, got, after.Others)
		}
	}
}

func TestWrongAnswersToMadeQueriesAreShownWithTheirQuery(t *testing.T) {
	server := serveUDP(t, "udp4", right) // 2001:db8::1, for every question
	r, err := Run(t.Context(), Options{
		Server: server, Window: 4, Sample: 1, Duration: 50 * time.Millisecond,
		Ask: func(n uint32, q *dataset.Query) { servers.ForwardedQuery(n, 1232, q) },
	})
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, s := range r.Wrongs {
		shown[s] = true
	}
	if r.Wrong == 0 || len(shown) != maxExamples {
		t.Errorf("%d wrong, shown are %q", r.Wrong, r.Wrongs)
	}
}

func TestAnErrorOfBesideEndsTheRun(t *testing.T) {
	broken := errors.New("broken")
	_, err := Run(t.Context(), Options{
		Server: serveUDP(t, "udp4", right), Queries: queries(t, 1),
		Beside: func() (bool, error) { return false, broken },
	})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

// A listener whose queue is full drops SYNs, as a firewall does.
func TestAServerThatDropsConnectionsIsNotWaitedForLongerThanForAResponse(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	server := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet4).Port))
	for full := false; !full; { // no connection is accepted
		conn, err := connect("tcp", server, 50*time.Millisecond)
		if full = timedOut(err); full {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(conn)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // below the kernel's two minutes
	defer cancel()
	_, err = Run(ctx, Options{Server: server, Transport: TCP, Queries: queries(t, 1), Timeout: 100 * time.Millisecond, Deadline: time.Millisecond})
	if !timedOut(err) || ctx.Err() != nil {
		t.Errorf("%v, %v", err, ctx.Err())
	}
}

func timedOut(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
