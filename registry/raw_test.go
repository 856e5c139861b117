package registry

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func roundTrip(t testing.TB, object []byte) {
	t.Helper()
	given := bytes.Clone(object)
	r := NewRaw(given)
	clear(given) // NewRaw must not retain it
	got, err := r.JSON()
	if err != nil || !bytes.Equal(got, object) {
		t.Errorf("an object of %d octets came back as %d, %v", len(object), len(got), err)
	}
	if cap(r)-len(r) > 0 && len(r) > 0 && cap(r) >= 2*len(r)+64 {
		t.Errorf("%d octets take %d", len(r), cap(r))
	}
}

func TestRawComesBackOctetForOctet(t *testing.T) {
	for _, s := range []string{"", "{}", "{ }", `{"id":"148e21dad76789"}`, rawDictText, "\x00", "no JSON at all"} {
		roundTrip(t, []byte(s))
	}
	r := rand.New(rand.NewPCG(1, 1))
	for n := 1; n < 1<<20; n *= 3 {
		random := make([]byte, n)
		for i := range random {
			random[i] = byte(r.Uint32())
		}
		roundTrip(t, random)
		roundTrip(t, bytes.Repeat([]byte("ab"), n/2+1))
	}
	if got, err := Raw(nil).JSON(); got != nil || err != nil {
		t.Errorf("no object comes back as %q, %v", got, err)
	}
}

func TestABrokenRawIsAnError(t *testing.T) {
	r := NewRaw(benchObject(benchFacts(machinesPerApp).Machines[0]))
	for i := range len(r) {
		if got, err := r[:i].JSON(); err == nil && i > 0 {
			t.Errorf("the first %d of %d octets come back as %q", i, len(r), got)
		}
	}
}

// What machines have in common must take no room in each.
func TestRawIsSmall(t *testing.T) {
	object := benchObject(benchFacts(machinesPerApp).Machines[0])
	if r := NewRaw(object); len(r) > len(object)*6/10 {
		t.Errorf("an object of %d octets takes %d", len(object), len(r))
	}
}

func FuzzRaw(f *testing.F) {
	f.Add([]byte(`{"id":"148e21dad76789","state":"started"}`))
	f.Add([]byte(rawDictText))
	f.Fuzz(func(t *testing.T, object []byte) {
		roundTrip(t, object)
		Raw(object).JSON() // must not panic
	})
}
