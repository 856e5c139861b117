package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// certificateEvery is how often the files of a certificate are read again:
	// two of some kilobytes. What is new in them counts when it is found twice,
	// since one file is renewed after the other; so it takes up to twice as long.
	certificateEvery = 2 * time.Second

	// maxPEM is the largest file that is read, in octets. A chain of
	// certificates takes some thousand.
	maxPEM = 1 << 20
)

// A certificate is one that we show to others, with its key. It is read again
// when its files change, and on a hangup; what is wrong with them then is logged
// and counted, and the certificate stays as it is.
type certificate struct {
	setting           string // that names its file
	certFile, keyFile string
	log               *zap.Logger
	hangup            chan struct{}

	current  atomic.Pointer[tls.Certificate]
	failures atomic.Uint64          // times that the files were at fault
	fault    atomic.Pointer[string] // what is wrong with them now; nil if nothing is

	// What run alone looks at.
	seen   pemFiles // as they were at the last look
	judged pemFiles // as they were when it was last decided whether they count
}

// pemFiles are a certificate and its key as two files held them at one time, or
// why they could not be read.
type pemFiles struct{ cert, key, fault string }

// readCertificate reads a certificate and its key. The error begins with the
// setting.
func readCertificate(setting, certFile, keyFile string, log *zap.Logger) (*certificate, error) {
	c := &certificate{
		setting: setting, certFile: certFile, keyFile: keyFile, hangup: make(chan struct{}, 1),
		log: log.With(zap.String("setting", setting), zap.String("certificate", certFile), zap.String("key", keyFile)),
	}
	c.seen = c.read()
	c.judged = c.seen
	pair, err := c.seen.pair()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	c.current.Store(pair)
	return c, nil
}

// toClients and toServer give TLS the certificate for one connection.
func (c *certificate) toClients(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

func (c *certificate) toServer(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// expires returns when the certificate does.
func (c *certificate) expires() time.Time { return c.current.Load().Leaf.NotAfter }

// reload has run read the files at once. It does not wait for that.
func (c *certificate) reload() {
	select {
	case c.hangup <- struct{}{}:
	default: // one is on its way
	}
}

// run follows the files until ctx is done, and returns nil.
func (c *certificate) run(ctx context.Context) error {
	look := time.NewTicker(certificateEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.hangup:
			c.look(true)
		case <-look.C:
			c.look(false)
		}
	}
}

// look reads the files and takes what is new in them, unless they may still be
// written. If asked for, it takes them as they are.
func (c *certificate) look(asked bool) {
	now := c.read()
	settled := now == c.seen
	c.seen = now
	if !asked && (!settled || now == c.judged) {
		return
	}
	c.judged = now
	pair, err := now.pair()
	if err != nil {
		fault := err.Error()
		c.fault.Store(&fault)
		c.failures.Add(1)
		c.log.Error("the certificate is refused; the one before stays", zap.Error(err), zap.Time("expires", c.expires()))
		return
	}
	c.fault.Store(nil)
	c.current.Store(pair)
	c.log.Info("the certificate was read", zap.Time("expires", c.expires()))
}

// read returns what the files hold.
func (c *certificate) read() (p pemFiles) {
	var errs [2]error
	p.cert, errs[0] = readPEM(c.certFile)
	p.key, errs[1] = readPEM(c.keyFile)
	if err := errors.Join(errs[:]...); err != nil {
		p.fault = err.Error()
	}
	return p
}

func readPEM(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPEM))
	return string(text), err
}

// pair returns the certificate of p, if it is one and has that key.
func (p *pemFiles) pair() (*tls.Certificate, error) {
	if p.fault != "" {
		return nil, errors.New(p.fault)
	}
	pair, err := tls.X509KeyPair([]byte(p.cert), []byte(p.key))
	if err != nil {
		return nil, err
	}
	return &pair, nil
}

// certificateStatus is how a certificate is doing.
type certificateStatus struct {
	Setting   string    `json:"setting"` // that names its file
	File      string    `json:"file"`
	Expires   time.Time `json:"expires"`
	Failures  uint64    `json:"failures"`
	LastError string    `json:"last_error,omitempty"` // what is wrong with its files now
}

func (c *certificate) status() certificateStatus {
	st := certificateStatus{Setting: c.setting, File: c.certFile, Expires: c.expires(), Failures: c.failures.Load()}
	if fault := c.fault.Load(); fault != nil {
		st.LastError = *fault
	}
	return st
}

func (s *certificateStatus) write(w io.Writer, now time.Time) {
	left := s.Expires.Sub(now)
	when := "expires in " + ago(left)
	if left < 0 {
		when = "expired " + ago(-left) + " ago"
	}
	fmt.Fprintf(w, "%s\t%s, %s\n", s.Setting, s.File, when)
	for line := range strings.Lines(s.LastError) {
		fmt.Fprintf(w, "\twrong now: %s\n", strings.TrimSuffix(line, "\n"))
	}
}
