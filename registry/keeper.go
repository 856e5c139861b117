package registry

import (
	"context"
	"errors"
	"time"
)

// A Keeper stores the facts where they outlive the process, and has a Store hold the
// same facts. It alone writes to that store: all other code that wants a change calls
// Write.
//
// To add a source of facts:
//
//  1. Write a package below registry/ with Load(ctx), Run(ctx) and Status(), as
//     registry/file has. A source that takes writes implements Keeper, as
//     registry/disk and registry/etcd do.
//  2. Turn what it reads into Facts, and take the events from Snapshot.Diff. Apply
//     only Facts that Validate finds no fault with. Never take a file or a store that
//     is missing for an empty registry.
//  3. cmd/internaldns/sources.go, setSource: let a setting choose it, and start it.
//     cmd/internaldns/settings_table.go: describe its settings.
//  4. house_test.go: add what it may import.
type Keeper interface {
	// Write makes one change, all of it or nothing. When it returns without an
	// error, no crash loses the change and the store has it. It returns the index of
	// the commit that made the change, or, if nothing had to be changed, the index
	// of the last commit of the store.
	//
	// decide gets the registry as all earlier writes left it, and returns what to
	// change. If decide returns an error, Write returns the same error and changes
	// nothing. decide must not wait and must not call the Keeper. It is called again
	// if another write came first.
	//
	// Other errors are Faults, or wrap ErrReadOnly, ErrUnavailable, ErrFull or the
	// error of ctx. After ErrUnavailable or an error of ctx, the change may have been
	// made, or may still be made. After all others it has not been made.
	Write(ctx context.Context, decide func(*Snapshot) (Write, error)) (index uint64, err error)

	// Lease returns the lease of a machine, and reports whether it has one.
	Lease(MachineKey) (Lease, bool)
}

// A Write is what one commit is to change.
type Write struct {
	Events []Event
	// Lease, unless nil, is how long the machines that the events put stay unless they
	// are put again, those put as they were included; 0 is for good. If Lease is nil,
	// machines that have a lease keep it as it is, and others get none. A machine
	// whose lease has expired is deleted as by Delete.
	Lease *time.Duration
}

// A Lease is how long a machine stays unless it is put again.
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
	// ErrReadOnly reports that the facts come from a source that is changed
	// elsewhere.
	ErrReadOnly = errors.New("the facts come from a file, and are changed there")

	// ErrUnavailable reports that the Keeper cannot reach or write its store now.
	ErrUnavailable = errors.New("the store of the facts is not available")

	// ErrFull reports that the Keeper's store has no room left.
	ErrFull = errors.New("the store of the facts is full")
)

// ReadOnly is the Keeper of facts that come from a source which is changed
// elsewhere, such as a file: it refuses all writes and has no leases.
type ReadOnly struct{}

// Write returns ErrReadOnly and does not call decide.
func (ReadOnly) Write(context.Context, func(*Snapshot) (Write, error)) (uint64, error) {
	return 0, ErrReadOnly
}

// Lease reports that the machine has no lease.
func (ReadOnly) Lease(MachineKey) (Lease, bool) { return Lease{}, false }
