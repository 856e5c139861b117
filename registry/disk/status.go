package disk

import "time"

// A Status says how a Keeper is doing.
type Status struct {
	Path   string `json:"path"`   // of the database
	Octets int64  `json:"octets"` // that the file has, free pages included

	// Index is that of the last commit that is durable.
	Index uint64 `json:"index"`
	// Writes counts those that were made, also those that changed nothing;
	// Commits the transactions that it took, each with its own sync; Failures
	// the writes that were not made because the database could not be written.
	Writes   uint64 `json:"writes"`
	Commits  uint64 `json:"commits"`
	Failures uint64 `json:"failures"`

	// Writable tells whether writes are made. If they are not, NotSince tells
	// since when, and LastError why.
	Writable  bool      `json:"writable"`
	NotSince  time.Time `json:"not_writable_since,omitzero"`
	LastError string    `json:"last_error,omitempty"`

	Leases int `json:"leases"` // machines that have one

	// LastSync is when the last transaction was durable, and LastSyncSeconds how
	// long it took, with the decisions of its writes.
	LastSync        time.Time `json:"last_sync,omitzero"`
	LastSyncSeconds float64   `json:"last_sync_seconds"`

	cause error // of LastError, for writers
}

// Status returns how the Keeper is doing.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}
