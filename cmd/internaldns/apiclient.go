package main

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
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
)

// defaultAPI is where clients look for the control API.
const defaultAPI = "127.0.0.1:4280"

// An apiClient asks a control API, for a command.
type apiClient struct {
	p     *program
	group string // the command that the flags are of

	address   string // HOST:PORT, unix:PATH or a URL
	tokenFile string
	ca        string // file
	network   string // prefix or name; "" for that of the token, or the only one there is
	json      bool   // for programs
	ifIndex   uint64 // 0: whatever has happened since

	http http.Client
	base string // of URLs
	auth string // the header Authorization; "" for none
}

// apiFlags adds the flags of commands that ask an API.
func (p *program) apiFlags(cmd *cobra.Command) *apiClient {
	c := &apiClient{p: p, group: cmd.Name()}
	flags := cmd.PersistentFlags()
	flags.SortFlags = false
	address := p.env("API")
	if address == "" || address == off {
		address = defaultAPI
	}
	flags.StringVar(&c.address, "api", address, "the control API: `HOST:PORT`, unix:PATH or https://HOST:PORT (INTERNALDNS_API)")
	flags.StringVar(&c.tokenFile, "token-file", p.env("TOKEN_FILE"), "`FILE` with the token to show (INTERNALDNS_TOKEN_FILE; or the token itself in INTERNALDNS_TOKEN)")
	flags.StringVar(&c.ca, "api-ca", p.env("API_CA"), "whom to trust as an https API, a `FILE` of PEM certificates")
	return c
}

// networkFlag adds the flag that says which network is meant.
func (c *apiClient) networkFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&c.network, "network", c.p.env("NETWORK"), "`NETWORK` that is meant, by prefix or name, where names do not say it")
}

// jsonFlag adds the flag that asks for what programs read.
func (c *apiClient) jsonFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().BoolVar(&c.json, "json", false, "print what the API says, as JSON")
}

// indexFlag adds the flag that keeps a command from undoing newer changes.
func (c *apiClient) indexFlag(cmd *cobra.Command) {
	cmd.Flags().Uint64Var(&c.ifIndex, "if-index", 0, "only if the object was not changed after this `INDEX`; else the exit status is 4")
}

// env returns a variable of our environment.
func (p *program) env(name string) string {
	for _, v := range p.environ {
		if key, value, _ := strings.Cut(v, "="); key == envPrefix+name {
			return value
		}
	}
	return ""
}

// open makes c ready to ask.
func (c *apiClient) open() error {
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy
	c.http.Transport = transport
	// The API sends nobody elsewhere, and what does shall not have the token.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	path, isUnix := strings.CutPrefix(c.address, "unix:")
	scheme, rest, isURL := strings.Cut(c.address, "://")
	_, _, err := net.SplitHostPort(c.address)
	switch {
	case isUnix && path != "":
		c.base = "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}
	case isURL && rest != "" && (scheme == "http" || scheme == "https"):
		c.base = strings.TrimSuffix(c.address, "/")
	case isUnix, isURL, err != nil:
		return fmt.Errorf("--api: want HOST:PORT, unix:PATH or https://HOST:PORT, got %q", c.address)
	default:
		c.base = "http://" + reachable(c.address)
	}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return fmt.Errorf("--api-ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("--api-ca: %s holds no certificate as PEM", c.ca)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	token := c.p.env("TOKEN")
	if c.tokenFile != "" {
		text, err := os.ReadFile(c.tokenFile)
		if err != nil {
			return fmt.Errorf("--token-file: %w", err)
		}
		token = strings.TrimSpace(string(text))
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the token of --token-file or INTERNALDNS_TOKEN is no token: want one word")
	}
	if token != "" {
		c.auth = "Bearer " + token
	}
	return nil
}

// apiTime is how long a command waits for an answer, imports and streams aside.
const apiTime = 60 * time.Second

// A request is one thing to ask an API.
type request struct {
	method, path string // the path is escaped
	query        url.Values
	body         io.Reader         // nil for none
	contentType  string            // of body; "" is JSON
	onlyNew      bool              // only if the object is not there
	patient      bool              // the answer may take longer than apiTime
	flags        map[string]string // what sets a field of body, by the field's name
}

// at returns a path of escaped parts.
func at(parts ...string) string {
	var b strings.Builder
	b.WriteString("/v1")
	for _, p := range parts {
		b.WriteString("/" + url.PathEscape(p))
	}
	return b.String()
}

// ask makes a request and returns the body of its answer, and its header. An
// answer that is an error is returned as one, with its exit status.
func (c *apiClient) ask(ctx context.Context, r request) ([]byte, http.Header, error) {
	if !r.patient {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, apiTime)
		defer cancel()
	}
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil, exitError{fmt.Errorf("the answer of the API: %w", err), exitUnavailable}
	}
	return body, resp.Header, nil
}

// send makes a request and returns its answer, unless that is an error.
func (c *apiClient) send(ctx context.Context, r request) (*http.Response, error) {
	query := r.query
	if c.network != "" {
		if query == nil {
			query = url.Values{}
		}
		query.Set("network", c.network)
	}
	u := c.base + r.path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u, r.body)
	if err != nil {
		return nil, err
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
		if r.contentType != "" {
			req.Header.Set("Content-Type", r.contentType)
		}
	}
	if c.auth != "" {
		req.Header.Set("Authorization", c.auth)
	}
	if c.ifIndex != 0 {
		req.Header.Set("If-Match", fmt.Sprint(c.ifIndex))
	}
	if r.onlyNew {
		req.Header.Set("If-None-Match", "*")
	}
	resp, err := c.http.Do(req)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return nil, fmt.Errorf("%w; --api-ca says whom to trust", errors.Unwrap(err))
	}
	if err != nil {
		return nil, exitError{fmt.Errorf("%w; is a server's API there? --api says where", errors.Unwrap(err)), exitUnavailable}
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	fault := apiFault(resp.Status, body, r.flags)
	if resp.StatusCode == http.StatusUnauthorized {
		fault = fmt.Errorf("%w; --token-file says which to show, and internaldns token makes one", fault)
	}
	return nil, exitError{fault, exitFor(resp.StatusCode)}
}

// apiFault makes an error of an answer that is one. Fields that flags set are
// named by these.
func apiFault(status string, body []byte, flags map[string]string) error {
	var said struct {
		Error    string
		Networks []string
		Faults   []struct{ Object, Field, Problem string }
	}
	if strings.Contains(string(body), "HTTP request to an HTTPS server") { // what net/http says
		return errors.New("the API is served over TLS; want --api https://HOST:PORT, and --api-ca FILE if the system does not trust its certificate")
	}
	if json.Unmarshal(body, &said) != nil || said.Error == "" {
		return fmt.Errorf("the API answers %s", status)
	}
	if len(said.Networks) > 0 {
		return fmt.Errorf("%s; say which with --network, of %s", strings.TrimSuffix(said.Error, ": say which one with ?network="), strings.Join(said.Networks, ", "))
	}
	if len(said.Faults) == 0 {
		return errors.New(strings.Replace(said.Error, "?force=true", "--force", 1))
	}
	var faults []error
	for _, f := range said.Faults {
		if flag, ok := flags[f.Field]; ok {
			f.Field = "--" + flag
		}
		var parts []string
		for _, part := range []string{f.Object, f.Field, f.Problem} {
			if part != "" {
				parts = append(parts, part)
			}
		}
		faults = append(faults, errors.New(strings.Join(parts, ": ")))
	}
	return errors.Join(faults...)
}

// jsonBody returns a body of v.
func jsonBody(v any) io.Reader {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // made of texts
	}
	return bytes.NewReader(b)
}

// printAnswer prints an answer: for programs as it came, else as write does with what
// it was decoded to.
func printAnswer[T any](c *apiClient, body []byte, write func(w io.Writer, v T)) error {
	if c.json {
		_, err := fmt.Fprintln(c.p.stdout, strings.TrimRight(string(body), "\n"))
		return err
	}
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		return fmt.Errorf("the answer of the API: %w", err)
	}
	w := tabwriter.NewWriter(c.p.stdout, 0, 8, 2, ' ', 0)
	write(w, v)
	return w.Flush()
}

// harmless returns a text of somebody else's as a terminal can show it, in one
// line: what cannot be printed, such as the beginning of a terminal's commands, is
// replaced.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// done tells that something was done, and in which commit.
func (c *apiClient) done(header http.Header, body []byte, format string, args ...any) error {
	if c.json {
		if len(body) == 0 {
			return nil // no empty line either: that is not JSON
		}
		_, err := fmt.Fprintln(c.p.stdout, strings.TrimRight(string(body), "\n"))
		return err
	}
	_, err := fmt.Fprintf(c.p.stdout, "%s (index %s)\n", fmt.Sprintf(format, args...), header.Get("Internaldns-Index"))
	return err
}
