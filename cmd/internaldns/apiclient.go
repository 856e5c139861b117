package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/internal/client"
)

// defaultAPI is where clients look for the control API.
const defaultAPI = "127.0.0.1:4280"

// An apiClient sends a command's requests to a control API.
type apiClient struct {
	p     *program
	group string // the command with these flags, such as apps; also the API's path

	address   string // HOST:PORT, unix:PATH or a URL
	tokenFile string
	ca        string // file
	network   string // prefix or name; "" for the network of the token, or the only one
	json      bool   // print answers as JSON
	ifIndex   uint64 // 0 for no condition

	api    *client.Client    // set by open
	flagOf map[string]string // by the name of a field of the object sent: the flag that sets it
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
	flags.StringVar(&c.tokenFile, "token-file", p.env("TOKEN_FILE"), "`FILE` with the token for the API (INTERNALDNS_TOKEN_FILE; or the token itself in INTERNALDNS_TOKEN)")
	flags.StringVar(&c.ca, "api-ca", p.env("API_CA"), "authorities to trust for an https API, a `FILE` of PEM certificates")
	return c
}

// networkFlag adds the flag that chooses the network.
func (c *apiClient) networkFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&c.network, "network", c.p.env("NETWORK"), "`NETWORK` of the object, by prefix or name, if its name is in several")
}

// jsonFlag adds the flag for output as JSON.
func (c *apiClient) jsonFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().BoolVar(&c.json, "json", false, "print the answers of the API, as JSON")
}

// indexFlag adds the flag that refuses to overwrite a newer change.
func (c *apiClient) indexFlag(cmd *cobra.Command) {
	cmd.Flags().Uint64Var(&c.ifIndex, "if-index", 0, "only if the object was not changed after this `INDEX`; else the exit status is 4")
}

// env returns the variable INTERNALDNS_… of that name; "" if it is not set.
func (p *program) env(name string) string {
	for _, v := range p.environ {
		if key, value, _ := strings.Cut(v, "="); key == envPrefix+name {
			return value
		}
	}
	return ""
}

// open reads the files of the flags and makes the client.
func (c *apiClient) open() error {
	var roots *x509.CertPool
	if c.ca != "" {
		var err error
		if roots, err = readAuthorities(c.ca); err != nil {
			return fmt.Errorf("--api-ca: %w", err)
		}
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
	api, err := client.New(c.address, roots, token)
	if err != nil {
		return fmt.Errorf("--api: %w", err)
	}
	c.api = api
	return nil
}

// ask makes a request and returns the body and the header of the response. An
// error has the exit status that belongs to it.
func (c *apiClient) ask(ctx context.Context, r client.Request) ([]byte, http.Header, error) {
	body, header, err := c.api.Ask(ctx, c.complete(r))
	return body, header, c.fault(err)
}

// send makes a request and returns the response, whose body the caller must
// close. An error has the exit status that belongs to it.
func (c *apiClient) send(ctx context.Context, r client.Request) (*http.Response, error) {
	resp, err := c.api.Send(ctx, c.complete(r))
	return resp, c.fault(err)
}

// complete returns r with what the flags add to every request.
func (c *apiClient) complete(r client.Request) client.Request {
	r.IfIndex = c.ifIndex
	if c.network != "" {
		if r.Query == nil {
			r.Query = url.Values{}
		}
		r.Query.Set("network", c.network)
	}
	return r
}

// fault returns err with flags in place of what the API calls them, and with its exit status.
func (c *apiClient) fault(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("%w; --api-ca names authorities to trust", err)
	}
	if lost, ok := errors.AsType[*client.Unreachable](err); ok {
		return exitError{fmt.Errorf("%w; is a server's API at this address? set it with --api", lost.Err), exitUnavailable}
	}
	refused, ok := errors.AsType[*client.Error](err)
	if !ok {
		return err
	}
	err = c.problem(refused)
	switch {
	case refused.Temporary():
		return exitError{err, exitUnavailable}
	case refused.Code == http.StatusNotFound:
		return exitError{err, exitNotFound}
	case refused.Code == http.StatusConflict, refused.Code == http.StatusPreconditionFailed:
		return exitError{err, exitConflict}
	case refused.Code == http.StatusUnauthorized:
		return exitError{fmt.Errorf("%w; give it with --token-file; internaldns token makes one", err), exitDenied}
	case refused.Code == http.StatusForbidden:
		return exitError{err, exitDenied}
	}
	return err
}

// problem returns the error of the API. A field that a flag sets has the flag's name in it.
func (c *apiClient) problem(e *client.Error) error {
	switch {
	case strings.Contains(string(e.Body), "HTTP request to an HTTPS server"): // what net/http says
		return errors.New("the API is served over TLS; want --api https://HOST:PORT, and --api-ca FILE if the system does not trust its certificate")
	case e.Problem == "":
		return e
	case len(e.Networks) > 0:
		return fmt.Errorf("%s; say which with --network, of %s", strings.TrimSuffix(e.Problem, ": say which one with ?network="), strings.Join(e.Networks, ", "))
	case len(e.Faults) == 0:
		return errors.New(strings.Replace(e.Problem, "?force=true", "--force", 1))
	}
	var faults []error
	for _, f := range e.Faults {
		if flag, ok := c.flagOf[f.Field]; ok {
			f.Field = "--" + flag
		}
		parts := slices.DeleteFunc([]string{f.Object, f.Field, f.Problem}, func(s string) bool { return s == "" })
		faults = append(faults, errors.New(strings.Join(parts, ": ")))
	}
	return errors.Join(faults...)
}

// printBody prints an answer unchanged.
func (c *apiClient) printBody(body []byte) error {
	_, err := fmt.Fprintln(c.p.stdout, strings.TrimRight(string(body), "\n"))
	return err
}

// printAnswer prints an answer: unchanged with --json, else decoded, as write does it.
func printAnswer[T any](c *apiClient, body []byte, write func(w io.Writer, v T)) error {
	if c.json {
		return c.printBody(body)
	}
	v, err := decoded[T](body)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.p.stdout, 0, 8, 2, ' ', 0)
	write(w, v)
	return w.Flush()
}

// decoded decodes an answer.
func decoded[T any](body []byte) (v T, err error) {
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("the answer of the API: %w", err)
	}
	return v, nil
}

// harmless returns s in a form that is safe for a terminal: it replaces characters that
// cannot be printed, such as the first one of an escape sequence.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// done prints what was done, and the index of the commit.
func (c *apiClient) done(header http.Header, body []byte, format string, args ...any) error {
	if c.json {
		if len(body) == 0 {
			return nil // an empty line is not JSON
		}
		return c.printBody(body)
	}
	_, err := fmt.Fprintf(c.p.stdout, "%s (index %s)\n", fmt.Sprintf(format, args...), header.Get("Internaldns-Index"))
	return err
}
