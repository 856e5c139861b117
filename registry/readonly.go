package registry

import "context"

// ReadOnly is the Keeper of facts that come from a source which is changed
// elsewhere, such as a file: it refuses all writes and has no leases.
type ReadOnly struct{}

// Write returns ErrReadOnly and asks nobody what to change.
func (ReadOnly) Write(context.Context, func(*Snapshot) (Write, error)) (uint64, error) {
	return 0, ErrReadOnly
}

// Lease reports that there is none.
func (ReadOnly) Lease(MachineKey) (Lease, bool) { return Lease{}, false }
