package etcd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/internaldns/internaldns/registry"
)

// A Status says how a keeper is doing.
type Status struct {
	Endpoints []string `json:"endpoints"`
	// Connected reports that etcd answered when it was last asked, and that its last
	// write has been applied.
	Connected bool `json:"connected"`
	// Held is the reason why the last state is kept though etcd answers; "" if it is not.
	Held string `json:"held,omitzero"`
	// Epoch names the keys that count.
	Epoch string `json:"epoch"`
	// Revision is that of etcd which is applied.
	Revision int64 `json:"revision"`
	// ConfirmedAt is when what is served was last known to be what etcd has; the
	// time since is its age. It is well under two seconds unless etcd is away.
	ConfirmedAt time.Time `json:"confirmed_at"`
	// Age is the time since ConfirmedAt, in seconds.
	Age float64 `json:"age_seconds"`

	Relists  uint64 `json:"relists"`  // the registry was listed anew
	Writes   uint64 `json:"writes"`   // made through this node
	Refused  uint64 `json:"refused"`  // because etcd was away or full
	Failures uint64 `json:"failures"` // of asking and following etcd
	// LastError is what is wrong now; "" if nothing is.
	LastError string `json:"last_error,omitzero"`

	// Quarantined counts the keys that are not in effect; Quarantine lists the
	// first of them, by key.
	Quarantined int           `json:"quarantined"`
	Quarantine  []Quarantined `json:"quarantine,omitzero"`
}

// A Quarantined key is not in effect.
type Quarantined struct {
	Key     string `json:"key"`
	Because string `json:"because"`
}

// maxQuarantine bounds the keys that a Status lists.
const maxQuarantine = 100

// Status returns how the keeper is doing.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.status
	s.Held, s.Epoch, s.Revision = k.frozen, k.epoch, k.revision
	if !s.ConfirmedAt.IsZero() {
		s.Age = time.Since(s.ConfirmedAt).Seconds()
	}
	if k.mirror != nil {
		s.Quarantined = len(k.mirror.bad)
		for _, key := range slices.Sorted(maps.Keys(k.mirror.bad)) {
			if len(s.Quarantine) == maxQuarantine {
				break
			}
			s.Quarantine = append(s.Quarantine, Quarantined{k.key(k.epoch + "/" + key), k.mirror.bad[key].why})
		}
	}
	return s
}

// failed counts a failure and records its error.
func (k *Keeper) failed(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.Failures++
	k.status.LastError = inWords(err).Error()
}

// away records that etcd does not answer, or that the watch is behind.
func (k *Keeper) away(err error) {
	k.failed(err)
	k.mu.Lock()
	was := k.status.Connected
	k.status.Connected = false
	k.mu.Unlock()
	k.wakeCommitter()
	if was {
		k.log.Warn("etcd is away; answers go on from the last state", zap.Error(inWords(err)))
	}
}

// confirmed records that at that time the store had what etcd had.
func (k *Keeper) confirmed(at time.Time) {
	k.mu.Lock()
	was := k.status.Connected
	k.status.Connected, k.status.ConfirmedAt, k.status.LastError = true, at, ""
	revision := k.revision
	k.mu.Unlock()
	if !was {
		k.log.Info("etcd is back, and caught up with", zap.Int64("revision", revision))
	}
}

// unavailable makes an error of etcd one of a Keeper.
func unavailable(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: etcd has no space left, or its alarm for that is set", registry.ErrFull)
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return registry.Faults{{Problem: "the objects are larger than etcd takes at once"}}
	default:
		return fmt.Errorf("%w: %w", registry.ErrUnavailable, inWords(err))
	}
}

// inWords returns err in words that an operator understands.
func inWords(err error) error {
	switch {
	case tlsFault(err):
		return fmt.Errorf("TLS with etcd fails: %w", err)
	case late(err):
		return fmt.Errorf("etcd does not answer in time: %w", err)
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return errors.New("etcd does not accept the user name and password")
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return errors.New("etcd does not let this user read and write under the prefix")
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return errors.New("etcd wants a user name and password")
	}
	return err
}

// late reports whether err is a timeout without a reason.
func late(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded
}
