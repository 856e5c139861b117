package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/file"
)

// sampleJSON is what is served without a registry of one's own.
//
//go:embed sample/org.json
var sampleJSON []byte

// Where loopback is placed in the sample.
const (
	sampleNetwork = "fdaa:0:18::/48"
	sampleRegion  = "ams"
)

// placeSample places loopback in the sample's network, unless c says who is
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
	facts, err := file.Parse("org.json", bytes.NewReader(sampleJSON), nil)
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

// Reload says that there is nothing to read.
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
