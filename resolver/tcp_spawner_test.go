package resolver

import (
	"testing"

	"github.com/miekg/dns"
)

// spawned is connect for a tcpSpawner.
func (r *running) spawned(t testing.TB) (client *stream, serve func() (why string)) {
	t.Helper()
	server := r.tcp.(*tcpSpawner)
	client = dialTCP(t, r.Addrs()[0])
	conn, err := server.listeners[0].AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client, func() string {
		why := server.talk(conn)
		conn.Close()
		return why.String()
	}
}

// Buffers that grew beyond what most connections need are not kept for ever.
func TestLargeBuffersOfASpawnerAreNotKept(t *testing.T) {
	for _, tt := range []struct {
		first, second string
		kept          bool
	}{
		{"web.internal", "web.internal", true},
		{"some.internal", "many.internal", true},
		{"many.internal", "most.internal", false}, // together more than tcpKeep, in one write
	} {
		r := listen(t, Config{spawn: true})
		client, serve := r.spawned(t)
		client.write(framed(question(t, 1, dns.TypeAAAA, tt.first)), framed(question(t, 2, dns.TypeAAAA, tt.second)))
		client.conn.CloseWrite()
		ended := make(chan string)
		go func() { ended <- serve() }()
		for id := range uint16(2) {
			if m := unpack(t, client.receive()); m.Id != id+1 {
				t.Errorf("response %d is %v", id, m.MsgHdr)
			}
		}
		<-ended
		if kept := r.stocked() == 1; kept != tt.kept {
			t.Errorf("after responses for %s and %s, buffers are kept: %v, want %v", tt.first, tt.second, kept, tt.kept)
		}
	}
}
