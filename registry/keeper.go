package registry

import (
	"context"
	"errors"
	"time"
)

// A Keeper keeps the facts where they outlive the process, and a Store the same
// as there. It is the one that writes to the store: whoever wants a change asks
// the Keeper.
type Keeper interface {
	// Write makes one change, all of it or nothing. When it has returned without
	// an error, no crash loses the change and the store has it. It returns the
	// index of the commit that made it; if everything was so already, that of
	// the last commit that the store has.
	//
	// decide is told the registry as all writes before left it, and says what to
	// change; its error ends the write, and Write returns it as it is. It must
	// not wait, nor call the Keeper, and may be called again, when somebody else
	// was quicker.
	//
	// Other errors are Faults, ErrReadOnly, ErrUnavailable and ErrFull, wrapped,
	// or that of ctx. After one of ctx or ErrUnavailable the change may have been
	// made or not, or may still be; after the others it has not.
	Write(ctx context.Context, decide func(*Snapshot) (Write, error)) (index uint64, err error)

	// Lease returns the lease of a machine, and whether it has one.
	Lease(MachineKey) (Lease, bool)
}

// A Write is what is to be changed in one commit.
type Write struct {
	Events []Event
	// Lease, unless nil, says how long the machines that the events put, also
	// those put as they were, stay without being put again; 0 is for good.
	// If it is nil, machines that have a lease keep it as it is, and others have
	// none. A machine whose time is over is deleted as by DeleteMachine.
	Lease *time.Duration
}

// A Lease is how long a machine stays without being put again.
type Lease struct {
	TTL     time.Duration // as it was put
	Expires time.Time
}

// A MachineKey names a machine of an app.
type MachineKey struct {
	App AppKey
	ID  string
}

// Why a Keeper refuses a write.
var (
	// ErrReadOnly says that the facts come from a source that is changed
	// elsewhere.
	ErrReadOnly = errors.New("the facts come from a file, and are changed there")

	// ErrUnavailable says that what keeps the facts cannot be reached or written
	// now.
	ErrUnavailable = errors.New("the store of the facts is not available")

	// ErrFull says that what keeps the facts has no room left.
	ErrFull = errors.New("the store of the facts is full")
)
