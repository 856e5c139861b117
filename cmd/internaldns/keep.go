package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api"
	"github.com/internaldns/internaldns/registry/disk"
	"github.com/internaldns/internaldns/registry/etcd"
	"github.com/internaldns/internaldns/registry/file"
	"github.com/internaldns/internaldns/registry/format"
)

// together returns the faults of settings that are right by themselves but not
// together, one a line.
func (c *config) together() error {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	hasEtcd := len(c.Etcd) > 0
	fault(c.Data != "" && hasEtcd, "data: the registry is stored in one place; want either --data or --etcd")
	fault(c.kept() && c.Registry != "" && !c.Seed,
		"registry: with --data or --etcd the registry is what is stored there; add --seed to import the file once, or leave --registry out")
	fault(c.Seed && !(c.kept() && c.Registry != ""), "seed: want --registry FILE, and --data or --etcd to import it into")
	if !hasEtcd {
		for _, path := range []string{"etcd_ca", "etcd_cert", "etcd_key", "etcd_user", "etcd_password_file"} {
			fault(*findSetting(path).value(c).(text).to != "", "%s: the registry is not stored in etcd; want --etcd URL, too", path)
		}
	}
	plain := func(url string) bool { return strings.HasPrefix(url, "http://") }
	fault(slices.ContainsFunc(c.Etcd, plain) && c.EtcdCA+c.EtcdCert+c.EtcdKey != "",
		"etcd: certificates are for etcd over TLS; want https in each --etcd, or no --etcd-ca, --etcd-cert and --etcd-key")
	fault((c.EtcdCert == "") != (c.EtcdKey == ""), "etcd_cert: a certificate and its key go together; want both or neither")
	fault((c.EtcdUser == "") != (c.EtcdPasswordFile == ""), "etcd_user: a user and a password go together; want both or neither")
	fault((c.APICert == "") != (c.APIKey == ""), "api_cert: a certificate and its key go together; want both or neither")
	if c.API == off {
		for _, path := range []string{"api_tokens", "api_cert", "api_key"} {
			fault(*findSetting(path).value(c).(text).to != "", "%s: the API is not served; want --api HOST:PORT, too", path)
		}
		fault(c.APILocal, "api_local: the API is not served; want --api HOST:PORT, too")
	} else {
		fault(c.API == c.Admin && !anyPort(c.API), "api: --admin is at %s, too; want two ports", c.API)
		fault(c.APITokens == "" && !c.APILocal,
			"api: no client could use it; want --api-tokens FILE, or --api-local to let in all clients on this host")
		fault(c.APITokens == "" && c.APILocal && !isLocalAPI(c.API),
			"api: %s can be reached from other hosts, whose clients need a token; want --api-tokens FILE", c.API)
	}
	return errors.Join(faults...)
}

// kept reports whether the registry can be changed here.
func (c *config) kept() bool { return c.Data != "" || len(c.Etcd) > 0 }

// anyPort reports whether the system chooses the port of an address.
func anyPort(s string) bool { return strings.HasSuffix(s, ":0") }

// isLocalAPI reports whether only this host can reach an address of the API.
func isLocalAPI(s string) bool {
	if strings.HasPrefix(s, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func checkAPI(s string) error {
	switch {
	case s == "unix:":
		return errors.New("want unix:PATH, got no path")
	case s == off, strings.HasPrefix(s, "unix:"):
		return nil
	}
	if err := checkHostPort(s); err != nil {
		return fmt.Errorf("%w; unix:PATH and %q are possible, too", err, off)
	}
	return nil
}

func checkEtcd(s string) error {
	if strings.Contains(s, "@") { // not repeated: there may be a password in it
		return errors.New("a URL has a user in it; want --etcd-user NAME and --etcd-password-file FILE")
	}
	c := etcd.Config{Endpoints: []string{s}}
	return c.Validate()
}

func checkEtcdPrefix(s string) error {
	c := etcd.Config{Endpoints: []string{"http://127.0.0.1:2379"}, Prefix: s}
	return c.Validate()
}

// loadFault returns why the facts could not be loaded, after the setting that names
// their place.
func (c *config) loadFault(err error) error {
	switch {
	case c.Data != "":
		return fmt.Errorf("data: %w", err)
	case len(c.Etcd) > 0:
		return fmt.Errorf("etcd: %w", err)
	}
	return registryFault(c.Registry, err)
}

// keep sets the source of the server's facts, and the keeper that writes them, as its
// settings say.
func (s *server) keep() error {
	c := &s.config
	s.keeper = registry.ReadOnly{}
	switch {
	case c.Data != "":
		k := disk.New(c.Data, s.store, s.log)
		s.source, s.keeper = &diskSource{Keeper: k, log: s.log}, k
	case len(c.Etcd) > 0:
		config, err := s.etcd()
		if err != nil {
			return err
		}
		k, err := etcd.New(config, s.store, s.log)
		if err != nil {
			return fmt.Errorf("etcd: %w", err)
		}
		s.source, s.keeper = &etcdSource{Keeper: k, log: s.log}, k
	case c.Registry != "":
		s.source = &fileSource{file.NewSource(c.Registry, s.store, s.log), c.Registry}
	default:
		s.source = &sampleSource{store: s.store, log: s.log}
	}
	return nil
}

// etcd returns the settings of etcd.
func (s *server) etcd() (etcd.Config, error) {
	c := &s.config
	e := etcd.Config{Endpoints: c.Etcd, Prefix: c.EtcdPrefix, Username: c.EtcdUser}
	var faults []error
	t := new(tls.Config)
	if c.EtcdCA != "" {
		pem, err := os.ReadFile(c.EtcdCA)
		t.RootCAs = x509.NewCertPool()
		if err == nil && !t.RootCAs.AppendCertsFromPEM(pem) {
			err = fmt.Errorf("%s holds no certificate as PEM", c.EtcdCA)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("etcd_ca: %w", err))
		}
		e.TLS = t
	}
	if c.EtcdCert != "" {
		cert, err := s.certificate("etcd_cert", c.EtcdCert, c.EtcdKey)
		if err != nil {
			faults = append(faults, err)
		} else {
			t.GetClientCertificate = cert.toServer
		}
		e.TLS = t
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

// certificate reads a certificate and its key, to be followed when the server
// runs.
func (s *server) certificate(setting, certFile, keyFile string) (*certificate, error) {
	c, err := readCertificate(setting, certFile, keyFile, s.log)
	if err == nil {
		s.certificates = append(s.certificates, c)
		s.followed = append(s.followed, c.files)
	}
	return c, err
}

// listenAPI binds the API's address. It returns nil if the API is off.
func (s *server) listenAPI() (*api.Server, *listenFault) {
	c := &s.config
	if c.API == off {
		return nil, nil
	}
	fault := func(err error) *listenFault { return &listenFault{err: err} }
	config := api.Config{
		Store: s.store, Keeper: s.keeper, Feed: &s.feed, Ready: s.loading, Local: c.APILocal, Region: registry.Fold(c.Region), Log: s.log,
	}
	if c.APITokens != "" {
		tokens, err := api.ReadTokens(c.APITokens, s.log)
		if err != nil {
			return nil, fault(fmt.Errorf("api_tokens: %w", err))
		}
		config.Tokens = tokens
		s.followed = append(s.followed, tokens.Follower)
	}
	listen := api.ListenConfig{Address: c.API}
	if c.APICert != "" {
		cert, err := s.certificate("api_cert", c.APICert, c.APIKey)
		if err != nil {
			return nil, fault(err)
		}
		listen.TLS = &tls.Config{GetCertificate: cert.toClients}
	}
	a, err := api.New(config)
	if err != nil {
		return nil, fault(err)
	}
	s.api = a
	server, err := a.Listen(listen)
	if err != nil {
		return nil, newListenFault(fmt.Errorf("api: %w", err), "api", c.API)
	}
	return server, nil
}

// seed imports the registry file if --seed is set and nothing was ever stored.
func (s *server) seed(ctx context.Context) error {
	if !s.config.Seed {
		return nil
	}
	path := s.config.Registry
	empty := func(snap *registry.Snapshot) bool { return s.source.fresh() && snap.Stats() == registry.Stats{} }
	if !empty(s.store.Snapshot()) { // then it may be broken, or gone
		s.log.Info("a registry was stored before, so the registry file is ignored", zap.String("file", path))
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	defer f.Close()
	facts, err := format.Parse(path, f, nil)
	if err != nil {
		return registryFault(path, err)
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
