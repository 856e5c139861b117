package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/disk"
	"github.com/internaldns/internaldns/registry/etcd"
	"github.com/internaldns/internaldns/registry/file"
	"github.com/internaldns/internaldns/registry/format"
)

// A source is where facts come from: it brings them into the store and keeps
// them up to date there.
type source interface {
	// Load brings all facts into the store, once, before Run.
	Load(ctx context.Context) error
	// Run follows the facts, and where they can be changed here makes the
	// changes, until ctx is done.
	Run(ctx context.Context) error
	// Reload makes Run read the facts again at once, if they are in a file.
	Reload()
	status() sourceStatus
	// fresh reports whether nothing was ever kept here, so that there is no
	// harm in a seed.
	fresh() bool
}

// sourceStatus is how the source of facts is doing.
type sourceStatus struct {
	Kind      string    `json:"kind"`           // sample, file, disk or etcd
	File      string    `json:"file,omitempty"` // of the kind file
	LoadedAt  time.Time `json:"loaded_at,omitzero"`
	CheckedAt time.Time `json:"checked_at,omitzero"` // when it was last seen to say what is in effect
	Loads     uint64    `json:"loads"`
	Failures  uint64    `json:"failures"`
	LastError string    `json:"last_error,omitempty"` // what is wrong with it now

	Disk *disk.Status `json:"disk,omitempty"`
	Etcd *etcd.Status `json:"etcd,omitempty"`
}

// A loadTime is when facts were loaded.
type loadTime struct{ ns atomic.Int64 }

func (t *loadTime) note() { t.ns.Store(time.Now().UnixNano()) }

// at returns that time; zero before the facts were loaded.
func (t *loadTime) at() time.Time {
	if ns := t.ns.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// A fileSource is a registry file that is watched.
type fileSource struct {
	*file.Source
	path string
}

func (s *fileSource) status() sourceStatus { return fileStatus("file", s.path, s.Status()) }
func (s *fileSource) fresh() bool          { return false }

func fileStatus(kind, path string, st file.Status) sourceStatus {
	return sourceStatus{
		Kind: kind, File: path, LoadedAt: st.LoadedAt, CheckedAt: st.CheckedAt,
		Loads: st.Loads, Failures: st.Failures, LastError: st.LastError,
	}
}

// A diskSource is a registry in a directory.
type diskSource struct {
	*disk.Keeper
	log    *zap.Logger
	loaded loadTime
}

// Load brings what is kept into the store.
func (s *diskSource) Load(ctx context.Context) error {
	err := s.Keeper.Load(ctx)
	s.loaded.note()
	return err
}

// Reload logs that nothing can be read again.
func (s *diskSource) Reload() {
	s.log.Info("the registry in --data is changed only by this server, so there is nothing to read again")
}

func (s *diskSource) status() sourceStatus {
	st := s.Status()
	// Writes that fail are no failures of the source: what it said is in effect.
	out := sourceStatus{Kind: "disk", LastError: st.LastError, Disk: &st}
	if at := s.loaded.at(); !at.IsZero() {
		out.Loads, out.LoadedAt, out.CheckedAt = 1, at, time.Now()
	}
	return out
}

func (s *diskSource) fresh() bool { return s.Status().Index == 0 }

// An etcdSource is a registry that several servers share.
type etcdSource struct {
	*etcd.Keeper
	log    *zap.Logger
	loaded loadTime
}

// Load brings what is kept into the store.
func (s *etcdSource) Load(ctx context.Context) error {
	err := s.Keeper.Load(ctx)
	s.loaded.note()
	return err
}

// Reload logs that nothing can be read again.
func (s *etcdSource) Reload() {
	s.log.Info("the registry in etcd is followed all the time, so there is nothing to read again")
}

func (s *etcdSource) status() sourceStatus {
	st := s.Status()
	out := sourceStatus{Kind: "etcd", CheckedAt: st.ConfirmedAt, Failures: st.Failures, LastError: st.LastError, Etcd: &st}
	if at := s.loaded.at(); !at.IsZero() {
		out.Loads, out.LoadedAt = 1+st.Relists, at
	}
	return out
}

func (s *etcdSource) fresh() bool { return true }

// sampleJSON is what is served without a registry of one's own.
//
//go:embed sample/org.json
var sampleJSON []byte

// Where loopback is placed in the sample.
const (
	sampleNetwork = "fdaa:0:18::/48"
	sampleRegion  = "ams"
)

// placeSample places loopback in the sample's network, unless c says what is
// where.
func (c *config) placeSample() {
	if c.Network != "" || len(c.Clients) > 0 {
		return
	}
	for _, p := range loopback {
		c.Clients = append(c.Clients, fmt.Sprintf("%v=%s,%s", p, sampleNetwork, sampleRegion))
	}
}

// sampleFacts returns the facts of the sample.
func sampleFacts() *registry.Facts {
	facts, err := format.Parse("org.json", bytes.NewReader(sampleJSON), nil)
	if err != nil {
		panic(fmt.Sprintf("embedded sample: %v", err))
	}
	return facts
}

// A sampleSource is a source of facts that never change.
type sampleSource struct {
	store  *registry.Store
	log    *zap.Logger
	loaded loadTime
}

// Load puts the sample into the store.
func (s *sampleSource) Load(context.Context) error {
	_, err := s.store.Apply(s.store.Snapshot().Diff(sampleFacts()))
	s.loaded.note()
	return err
}

// Run returns when ctx is done.
func (s *sampleSource) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Reload logs that nothing can be read again.
func (s *sampleSource) Reload() {
	s.log.Info("the sample is built in, so there is nothing to read again")
}

// status says that the facts are as good as on the first day.
func (s *sampleSource) status() sourceStatus {
	st := sourceStatus{Kind: "sample", LoadedAt: s.loaded.at()}
	if !st.LoadedAt.IsZero() {
		st.CheckedAt, st.Loads = time.Now(), 1
	}
	return st
}

func (s *sampleSource) fresh() bool { return false }
