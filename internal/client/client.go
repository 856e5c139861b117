// Package client asks a server's control API over HTTP.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// timeout is how long a request may take, unless it is Slow.
const timeout = 60 * time.Second

// A Client asks one API.
type Client struct {
	http http.Client
	base string // of URLs
	auth string // the header Authorization; "" for none
}

// New returns a client of the API at address: HOST:PORT, unix:PATH, or a URL of
// the scheme http or https. It trusts the certificates in roots, or those that
// the system trusts if roots is nil. token may be "".
func New(address string, roots *x509.CertPool, token string) (*Client, error) {
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy
	if roots != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	c := &Client{http: http.Client{
		Transport: transport,
		// The API does not redirect. What does must not get the token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if token != "" {
		c.auth = "Bearer " + token
	}
	path, isUnix := strings.CutPrefix(address, "unix:")
	scheme, rest, isURL := strings.Cut(address, "://")
	_, _, err := net.SplitHostPort(address)
	switch {
	case isUnix && path != "":
		c.base = "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}
	case isURL && rest != "" && (scheme == "http" || scheme == "https"):
		c.base = strings.TrimSuffix(address, "/")
	case isUnix, isURL, err != nil:
		return nil, fmt.Errorf("want HOST:PORT, unix:PATH or https://HOST:PORT, got %q", address)
	default:
		c.base = "http://" + Reachable(address)
	}
	return c, nil
}

// Reachable returns the address at which to reach a listener at HOST:PORT. An
// empty or unspecified host becomes loopback.
func Reachable(hostPort string) string {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return hostPort
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && addr == netip.IPv4Unspecified():
		host = "127.0.0.1"
	case err == nil && addr == netip.IPv6Unspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

// A Request is one request to an API.
type Request struct {
	Method, Path string // the path is escaped, as by Path
	Query        url.Values
	Body         io.Reader // nil for none
	ContentType  string    // of Body; "" is JSON
	IfIndex      uint64    // only if the object was not changed after this index; 0 for whatever has changed
	OnlyNew      bool      // only if the object does not exist
	Slow         bool      // the response may take more than a minute
}

// Path returns a path of escaped parts.
func Path(parts ...string) string {
	var b strings.Builder
	b.WriteString("/v1")
	for _, p := range parts {
		b.WriteString("/" + url.PathEscape(p))
	}
	return b.String()
}

// JSON returns a body of v, which must be what encoding/json can encode.
func JSON(v any) io.Reader {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return bytes.NewReader(b)
}

// An Error is a response that is an error.
type Error struct {
	Status   string // as in "404 Not Found"
	Code     int    // the status code
	Problem  string // in the API's words; "" if the response is not the API's
	Networks []string
	Faults   []Fault
	Body     []byte // at most a megabyte of it
}

// A Fault is one fault of an object that was sent.
type Fault struct{ Object, Field, Problem string }

func (e *Error) Error() string {
	if e.Problem == "" {
		return "the API answers " + e.Status
	}
	return e.Problem
}

// Temporary reports whether the same request may succeed later: the server, or its store,
// cannot make it now.
func (e *Error) Temporary() bool {
	switch e.Code {
	case http.StatusServiceUnavailable, http.StatusInsufficientStorage, http.StatusRequestTimeout:
		return true
	}
	return false
}

// An Unreachable reports that no response came.
type Unreachable struct{ Err error }

func (e *Unreachable) Error() string { return e.Err.Error() }
func (e *Unreachable) Unwrap() error { return e.Err }

// Ask makes a request and returns the body and the header of the response. The
// error is an *Error, an *Unreachable, a *tls.CertificateVerificationError, or
// reports that there is no such URL.
func (c *Client) Ask(ctx context.Context, r Request) ([]byte, http.Header, error) {
	if !r.Slow {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	resp, err := c.Send(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil, &Unreachable{fmt.Errorf("the answer of the API: %w", err)}
	}
	return body, resp.Header, nil
}

// Send makes a request and returns the response. The caller must close its body.
// Errors are those of Ask.
func (c *Client) Send(ctx context.Context, r Request) (*http.Response, error) {
	u := c.base + r.Path
	if len(r.Query) > 0 {
		u += "?" + r.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, u, r.Body)
	if err != nil {
		return nil, err
	}
	if r.Body != nil {
		req.Header.Set("Content-Type", "application/json")
		if r.ContentType != "" {
			req.Header.Set("Content-Type", r.ContentType)
		}
	}
	if c.auth != "" {
		req.Header.Set("Authorization", c.auth)
	}
	if r.IfIndex != 0 {
		req.Header.Set("If-Match", fmt.Sprint(r.IfIndex))
	}
	if r.OnlyNew {
		req.Header.Set("If-None-Match", "*")
	}
	resp, err := c.http.Do(req)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return nil, errors.Unwrap(err) // without method and URL
	}
	if err != nil {
		return nil, &Unreachable{errors.Unwrap(err)}
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	refused := &Error{Status: resp.Status, Code: resp.StatusCode, Body: body}
	var said struct {
		Error    string
		Networks []string
		Faults   []Fault
	}
	if json.Unmarshal(body, &said) == nil {
		refused.Problem, refused.Networks, refused.Faults = said.Error, said.Networks, said.Faults
	}
	return nil, refused
}
