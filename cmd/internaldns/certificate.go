package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/internal/filewatch"
)

// maxPEM is the largest file that is read, in octets. A chain of certificates has some
// thousand.
const maxPEM = 1 << 20

// A certificate is one that the server presents, with its key. It follows both files. If the
// new ones do not belong together, the fault is logged and counted, and the last good
// certificate stays.
type certificate struct {
	setting string // the setting of its file
	file    string
	log     *zap.Logger
	files   *filewatch.Follower // of the certificate and the key
	current atomic.Pointer[tls.Certificate]
}

// readCertificate reads a certificate and its key. The error begins with the
// setting.
func readCertificate(setting, certFile, keyFile string, log *zap.Logger) (*certificate, error) {
	c := &certificate{
		setting: setting, file: certFile,
		log: log.With(zap.String("setting", setting), zap.String("certificate", certFile), zap.String("key", keyFile)),
	}
	c.files = filewatch.New(filewatch.Config{Paths: []string{certFile, keyFile}, Take: c.take, Report: c.report})
	if err := c.files.Load(context.Background()); err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return c, nil
}

// certificate reads a certificate and its key. A running server follows both files.
func (s *server) certificate(setting, certFile, keyFile string) (*certificate, error) {
	c, err := readCertificate(setting, certFile, keyFile, s.log)
	if err == nil {
		s.certificates = append(s.certificates, c)
		s.followed = append(s.followed, c.files)
	}
	return c, err
}

// take presents the certificate and the key from now on.
func (c *certificate) take(_ context.Context, content ...io.Reader) error {
	var pems [2][]byte
	for i, r := range content {
		text, err := io.ReadAll(io.LimitReader(r, maxPEM))
		if err != nil {
			return err
		}
		pems[i] = text
	}
	pair, err := tls.X509KeyPair(pems[0], pems[1])
	if err != nil {
		return err
	}
	if c.current.Swap(&pair) != nil {
		c.log.Info("the certificate was read", zap.Time("expires", c.expires()))
	}
	return nil
}

// report logs why the files were refused.
func (c *certificate) report(err error) {
	if err != nil {
		c.log.Error("the certificate is refused; the one before stays", zap.Error(err), zap.Time("expires", c.expires()))
	}
}

// toClients and toServer give TLS the certificate for one connection.
func (c *certificate) toClients(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

func (c *certificate) toServer(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// expires returns when the certificate expires.
func (c *certificate) expires() time.Time { return c.current.Load().Leaf.NotAfter }

// certificateStatus is the state of a certificate.
type certificateStatus struct {
	Setting   string    `json:"setting"` // the setting of its file
	File      string    `json:"file"`
	Expires   time.Time `json:"expires"`
	Failures  uint64    `json:"failures"`
	LastError string    `json:"last_error,omitempty"` // the fault that its files have now
}

func (c *certificate) status() certificateStatus {
	st := c.files.Status()
	return certificateStatus{Setting: c.setting, File: c.file, Expires: c.expires(), Failures: st.Failures, LastError: st.LastError}
}

func (s *certificateStatus) write(w io.Writer, now time.Time) {
	left := s.Expires.Sub(now)
	when := "expires in " + ago(left)
	if left < 0 {
		when = "expired " + ago(-left) + " ago"
	}
	fmt.Fprintf(w, "%s\t%s, %s\n", s.Setting, s.File, when)
	for line := range strings.Lines(s.LastError) {
		fmt.Fprintf(w, "\tfault: %s\n", strings.TrimSuffix(line, "\n"))
	}
}
