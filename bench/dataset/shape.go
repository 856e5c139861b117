package dataset

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
)

// Shape is the number of each kind of fact.
type Shape struct {
	// Networks is the number of private networks (6PNs). App i is in network i modulo
	// Networks.
	Networks int `json:"networks"`
	// Apps and Machines count those of all networks together.
	Apps     int `json:"apps"`
	Machines int `json:"machines"`
	// Skew is the exponent of Zipf's law by which machines are spread over
	// apps; 0 gives every app the same number.
	Skew float64 `json:"skew"`
	// Largest is the most machines that one app has, 0 for no limit.
	Largest int `json:"largest"`
	// Stopped is the share of machines that are deployed and not started, and Gone
	// that of destroyed ones.
	Stopped float64 `json:"stopped"`
	Gone    float64 `json:"gone"`
}

// DefaultShape returns the shape of one network with that many machines, in apps of
// ten on average. The largest app has 40: no RRset of more addresses fits a UDP
// response of 1,232 octets, and servers are compared on answering and not on
// truncating.
func DefaultShape(machines int) Shape {
	return Shape{
		Networks: 1,
		Apps:     max(1, machines/10),
		Machines: machines,
		Skew:     0.3,
		Largest:  40,
		Stopped:  0.04,
		Gone:     0.02,
	}
}

// maxMachines bounds the number of machines, because addresses number them in 32
// bits.
const maxMachines = 1 << 31

// Validate returns every fault of the shape, each beginning with the field.
func (s Shape) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if s.Networks < 1 || s.Networks > maxNetworks {
		fault("networks: must be from 1 to %d, got %d", maxNetworks, s.Networks)
	}
	if s.Apps < s.Networks {
		fault("apps: must be at least one for each of %d networks, got %d", s.Networks, s.Apps)
	}
	if s.Machines < 0 || s.Machines > maxMachines {
		fault("machines: must be from 0 to %d, got %d", maxMachines, s.Machines)
	}
	if s.Skew < 0 || s.Skew > 3 {
		fault("skew: must be from 0 to 3, got %v", s.Skew)
	}
	if s.Largest < 0 || s.Largest > 0 && s.Largest*s.Apps < s.Machines {
		fault("largest: %d apps of at most %d cannot hold %d machines", s.Apps, s.Largest, s.Machines)
	}
	if s.Stopped < 0 || s.Gone < 0 || s.Stopped+s.Gone > 1 {
		fault("stopped, gone: must be shares of at most 1 together, got %v and %v", s.Stopped, s.Gone)
	}
	return errors.Join(faults...)
}

// maxNetworks keeps the numbers of networks, which are 0x18 apart, in 32 bits.
const maxNetworks = 1 << 20

// Dataset is the facts of one seed and shape. It is immutable.
type Dataset struct {
	seed  uint64
	shape Shape
	first []uint32 // number of the first machine of each app, and at last the number of machines
}

// New returns the dataset of a seed and a shape.
func New(seed uint64, shape Shape) (*Dataset, error) {
	if err := shape.Validate(); err != nil {
		return nil, err
	}
	d := &Dataset{seed: seed, shape: shape, first: make([]uint32, shape.Apps+1)}
	var sum uint32
	for i, n := range sizes(shape) {
		d.first[i] = sum
		sum += n
	}
	d.first[shape.Apps] = sum
	return d, nil
}

// Network returns the prefix of network n; the first is fdaa:0:18::/48.
func (d *Dataset) Network(n int) netip.Prefix {
	number := uint32(n+1) * 0x18
	a := [16]byte{0xfd, 0xaa, byte(number >> 24), byte(number >> 16), byte(number >> 8), byte(number)}
	return netip.PrefixFrom(netip.AddrFrom16(a), 48)
}

// sizes returns the number of machines of each app: by Zipf's law, at most Largest,
// and Machines in all.
func sizes(s Shape) []uint32 {
	cum := zipf(s.Apps, s.Skew)
	total := cum[s.Apps-1]
	counts := make([]uint32, s.Apps)
	left := s.Machines
	var before uint64
	for i, c := range cum {
		// The running sum is rounded, and not each share, so that no machine is lost.
		upTo := mulDiv(c, uint64(s.Machines), total)
		n := int(upTo - before)
		before = upTo
		if s.Largest > 0 {
			n = min(n, s.Largest)
		}
		counts[i] = uint32(n)
		left -= n
	}
	for i := s.Apps - 1; left > 0; i-- { // the machines beyond Largest go to the smallest apps
		if i < 0 {
			i = s.Apps - 1
		}
		room := s.Largest - int(counts[i])
		n := min(room, max(1, left/s.Apps))
		n = min(n, left)
		counts[i] += uint32(n)
		left -= n
	}
	return counts
}

// mulDiv returns a*b/c for a <= c.
func mulDiv(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	quo, _ := bits.Div64(hi, lo, c)
	return quo
}
