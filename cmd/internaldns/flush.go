package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/internaldns/internaldns/internal/client"
	"github.com/internaldns/internaldns/resolver/forward"
)

func (p *program) flushCommand() *cobra.Command {
	var suffix string
	cmd := &cobra.Command{
		Use:   "flush [flags] [NAME]",
		Short: "Drop the cached answers of upstreams for a name",
		Long: `Makes the server whose admin listener is at --admin drop its cached answers for
a forwarded name, or with --suffix for all names at or below one. The next query
for it asks upstreams again. Names that the server answers itself are never in
the cache.`,
		Example: `  internaldns flush www.example.com
  internaldns flush --suffix example.com
  internaldns flush --suffix .`,
		Args: wantArgs(0, 1, "www.example.com"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := load(cmd.Flags(), p.environ)
			if err != nil {
				return err
			}
			query := url.Values{}
			switch {
			case len(args) == 1 && suffix == "":
				query.Set("name", args[0])
			case len(args) == 0 && suffix != "":
				query.Set("suffix", suffix)
			default:
				return errors.New("want either a NAME or --suffix SUFFIX, such as: internaldns flush www.example.com")
			}
			return p.flush(cmd.Context(), &c, query)
		},
	}
	cmd.Flags().StringVar(&suffix, "suffix", "", "drop all names at or below this `SUFFIX`, such as . for all names")
	adminFlags(cmd.Flags())
	return cmd
}

// flushed is the admin listener's response to a flush.
type flushed struct {
	Entries int `json:"entries"` // dropped
}

func (p *program) flush(ctx context.Context, c *config, query url.Values) error {
	done, err := askAdmin[flushed](ctx, c, http.MethodPost, "/flush?"+query.Encode())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "dropped %s\n", count(done.Entries, "answer"))
	return err
}

// serveFlush serves POST /flush. There is no password, so it refuses requests from browsers:
// any web page that an operator opens could send one. Browsers send the page's origin with
// every POST.
func (p *adminPages) serveFlush(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
		say(w, http.StatusForbidden, "browsers may not do this; use internaldns flush, or curl -X POST")
		return
	}
	if p.flush == nil {
		say(w, http.StatusNotFound, "forwarding is off, so nothing is cached")
		return
	}
	query := r.URL.Query()
	name, suffix := query["name"], query["suffix"]
	if len(query) != 1 || len(name)+len(suffix) != 1 {
		say(w, http.StatusBadRequest, "want ?name=NAME or ?suffix=SUFFIX")
		return
	}
	n, err := forward.ParseSuffix(append(name, suffix...)[0])
	if err != nil {
		say(w, http.StatusBadRequest, err.Error())
		return
	}
	sayJSON(w, flushed{p.flush(n, len(suffix) == 1)})
}

// adminFlags adds the flags of commands that ask an admin listener.
func adminFlags(flags *pflag.FlagSet) {
	addFlags(flags, "admin", "config")
	flags.Lookup("admin").Usage = "where the server has its admin listener (default " + findSetting("admin").def + ")"
}

// The time that askAdmin waits, and the most octets that it reads.
const (
	askAdminTime   = 10 * time.Second
	askAdminOctets = 1 << 20
)

// askAdmin sends a request to the admin listener at c.Admin and returns the decoded body
// of the response. If the status is not 200, it returns the body as an error.
func askAdmin[T any](ctx context.Context, c *config, method, path string) (v T, err error) {
	if c.Admin == off {
		return v, errors.New(`admin: is "off"; want where the server has its admin listener`)
	}
	ctx, cancel := context.WithTimeout(ctx, askAdminTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+client.Reachable(c.Admin)+path, nil)
	if err != nil {
		return v, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // and no proxy
	resp, err := client.Do(req)
	if err != nil {
		return v, fmt.Errorf("%w; is the server's admin listener at this address? set it with --admin", errors.Unwrap(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, askAdminOctets))
	if err == nil {
		if resp.StatusCode != http.StatusOK {
			return v, errors.New(strings.TrimSpace(string(body)))
		}
		err = json.Unmarshal(body, &v)
	}
	if err != nil {
		return v, fmt.Errorf("the response of the admin listener: %w", err)
	}
	return v, nil
}
