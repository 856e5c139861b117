package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/disk"
	"github.com/internaldns/internaldns/registry/etcd"
	"github.com/internaldns/internaldns/registry/file"
	"github.com/internaldns/internaldns/registry/format"
)

// A source brings the facts into the store and keeps them up to date there.
type source struct {
	load   func(context.Context) error // brings all facts into the store; called once, before run
	run    func(context.Context) error // follows the facts, or makes changes, until ctx is done
	reload func()                      // makes run read the facts again at once
	status func() sourceStatus         // may leave the times and the number of loads to server.sourceStatus
	fresh  func() bool                 // reports whether nothing was ever stored, so that --seed may import
}

// sourceStatus is the state of the source.
type sourceStatus struct {
	Kind      string    `json:"kind"`           // sample, file, disk or etcd
	File      string    `json:"file,omitempty"` // of the kind file
	LoadedAt  time.Time `json:"loaded_at,omitzero"`
	CheckedAt time.Time `json:"checked_at,omitzero"` // when the facts in the store were last known to be the source's
	Loads     uint64    `json:"loads"`
	Failures  uint64    `json:"failures"`
	LastError string    `json:"last_error,omitempty"` // the fault that it has now

	Disk *disk.Status `json:"disk,omitempty"`
	Etcd *etcd.Status `json:"etcd,omitempty"`
}

// setSource sets the source that the settings choose, and the keeper that makes the
// changes of the API.
func (s *server) setSource() error {
	c := &s.config
	s.keeper = registry.ReadOnly{}
	s.source = &source{
		run:   func(ctx context.Context) error { <-ctx.Done(); return nil },
		fresh: func() bool { return false },
	}
	nothingToReload := func(why string) func() {
		return func() { s.log.Info(why + ", so there is nothing to read again") }
	}
	switch {
	case c.Data != "":
		k := disk.New(c.Data, s.store, s.log)
		s.keeper = k
		s.source.load, s.source.run = k.Load, k.Run
		s.source.reload = nothingToReload("the registry in --data is changed only by this server")
		s.source.fresh = func() bool { return k.Status().Index == 0 }
		s.source.status = func() sourceStatus {
			// Writes that fail are not failures of the source: its facts are in effect.
			st := k.Status()
			return sourceStatus{Kind: "disk", LastError: st.LastError, Disk: &st}
		}
	case len(c.Etcd) > 0:
		config, err := s.etcd()
		if err != nil {
			return err
		}
		k, err := etcd.New(config, s.store, s.log)
		if err != nil {
			return fmt.Errorf("etcd: %w", err)
		}
		s.keeper = k
		s.source.load, s.source.run = k.Load, k.Run
		s.source.reload = nothingToReload("the registry in etcd is followed all the time")
		s.source.fresh = func() bool { return true }
		s.source.status = func() sourceStatus {
			st := k.Status()
			return sourceStatus{Kind: "etcd", CheckedAt: st.ConfirmedAt, Loads: st.Relists, Failures: st.Failures, LastError: st.LastError, Etcd: &st}
		}
	case c.Registry != "":
		f := file.NewSource(c.Registry, s.store, s.log)
		s.source.load, s.source.run, s.source.reload = f.Load, f.Run, f.Reload
		s.source.status = func() sourceStatus {
			st := f.Status()
			return sourceStatus{
				Kind: "file", File: c.Registry, LoadedAt: st.LoadedAt, CheckedAt: st.CheckedAt,
				Loads: st.Loads, Failures: st.Failures, LastError: st.LastError,
			}
		}
	default:
		s.source.load = func(context.Context) error {
			_, err := s.store.Apply(s.store.Snapshot().Diff(sampleFacts()))
			return err
		}
		s.source.reload = nothingToReload("the sample is built in")
		s.source.status = func() sourceStatus { return sourceStatus{Kind: "sample"} }
	}
	return nil
}

// sourceStatus returns the state of the source. One that does not count its loads was
// loaded once, when the server started, and is up to date unless it says otherwise.
func (s *server) sourceStatus() sourceStatus {
	st := s.source.status()
	if at := s.loaded.Load(); at != nil && st.LoadedAt.IsZero() {
		st.LoadedAt = *at
		st.Loads++
		if st.CheckedAt.IsZero() {
			st.CheckedAt = time.Now()
		}
	}
	return st
}

// etcd returns the settings of etcd.
func (s *server) etcd() (etcd.Config, error) {
	c := &s.config
	e := etcd.Config{Endpoints: c.Etcd, Prefix: c.EtcdPrefix, Username: c.EtcdUser}
	var faults []error
	t := new(tls.Config)
	if c.EtcdCA != "" {
		e.TLS = t
		var err error
		if t.RootCAs, err = readAuthorities(c.EtcdCA); err != nil {
			faults = append(faults, fmt.Errorf("etcd_ca: %w", err))
		}
	}
	if c.EtcdCert != "" {
		e.TLS = t
		cert, err := s.certificate("etcd_cert", c.EtcdCert, c.EtcdKey)
		if err != nil {
			faults = append(faults, err)
		} else {
			t.GetClientCertificate = cert.toServer
		}
	}
	if c.EtcdPasswordFile != "" {
		password, err := os.ReadFile(c.EtcdPasswordFile)
		if err != nil {
			faults = append(faults, fmt.Errorf("etcd_password_file: %w", err))
		}
		e.Password = strings.TrimRight(string(password), "\r\n")
	}
	return e, errors.Join(faults...)
}

// readAuthorities reads the certificates of authorities to trust.
func readAuthorities(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate as PEM", path)
	}
	return pool, nil
}

// loadFault returns err with the setting that says where the facts are.
func (c *config) loadFault(err error) error {
	switch {
	case c.Data != "":
		return fmt.Errorf("data: %w", err)
	case len(c.Etcd) > 0:
		return fmt.Errorf("etcd: %w", err)
	}
	return registryFault(c.Registry, err)
}

// seed imports the registry file if --seed is set and nothing was ever stored.
func (s *server) seed(ctx context.Context) error {
	if !s.config.Seed {
		return nil
	}
	path := s.config.Registry
	empty := func(snap *registry.Snapshot) bool { return s.source.fresh() && snap.Stats() == registry.Stats{} }
	if !empty(s.store.Snapshot()) { // the file is not read: it may be broken, or gone
		s.log.Info("a registry was stored before, so the registry file is ignored", zap.String("file", path))
		return nil
	}
	facts, err := readRegistry(path)
	if err != nil {
		return err
	}
	imported := false
	index, err := s.keeper.Write(ctx, func(snap *registry.Snapshot) (registry.Write, error) {
		imported = empty(snap) // another server may have been first
		if !imported {
			return registry.Write{}, nil
		}
		return registry.Write{Events: snap.Diff(facts)}, nil
	})
	if err != nil {
		return fmt.Errorf("import %s: %w", path, err)
	}
	if imported {
		s.log.Info("the registry file was imported", zap.String("file", path), zap.Uint64("index", index))
	} else {
		s.log.Info("another server has imported a registry file meanwhile, so this one is ignored", zap.String("file", path))
	}
	return nil
}

// readRegistry reads a registry file. The error has a line for each fault.
func readRegistry(path string) (*registry.Facts, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	defer f.Close()
	facts, err := format.Parse(path, f, nil)
	if err != nil {
		return nil, registryFault(path, err)
	}
	return facts, nil
}

// registryFault returns the faults of the registry file at path, one a line.
func registryFault(path string, err error) error {
	faults, ok := errors.AsType[registry.Faults](err)
	if !ok {
		return fmt.Errorf("registry: %w", err)
	}
	return errors.Join(eachLine(faults, func(line string) string { return path + ": " + line })...)
}

// sampleJSON is the registry that is served without a registry of one's own.
//
//go:embed sample/org.json
var sampleJSON []byte

// The network and the region in which the sample places loopback.
const (
	sampleNetwork = "fdaa:0:18::/48"
	sampleRegion  = "ams"
)

// placeSample places loopback in the sample's network, unless c places clients.
func (c *config) placeSample() {
	if !c.placesNone() {
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
