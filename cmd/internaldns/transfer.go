package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/internal/client"
)

func (p *program) importCommand() *cobra.Command {
	var force, dry bool
	cmd := &cobra.Command{
		Use:   "import [flags] FILE",
		Short: "Replace the registry by a registry file",
		Long: `Replaces the registry that a server's control API serves by a registry file: all
of it in one change, or not at all. Objects that the file lacks are removed. A
file that would remove more than half of a network's machines needs --force.
FILE is JSON, or YAML if its name ends in .yaml or .yml, or - for JSON on
standard input.

` + exitHelp,
		Example: `  internaldns import --dry-run org.json
  internaldns import org.json`,
		Args: wantArgs(1, 1, "org.json"),
	}
	c := p.apiFlags(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "change nothing, and print what would be changed")
	cmd.Flags().BoolVar(&force, "force", false, "import even if more than half of a network's machines are removed")
	c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := c.open(); err != nil {
			return err
		}
		f := os.Stdin
		if args[0] != "-" {
			var err error
			if f, err = os.Open(args[0]); err != nil {
				return err
			}
			defer f.Close()
			if info, err := f.Stat(); err == nil && info.IsDir() {
				return fmt.Errorf("%s is a directory; want a registry file", args[0])
			}
		}
		r := client.Request{Method: http.MethodPost, Path: client.Path("import"), Query: url.Values{}, Body: f, Slow: true}
		if ext := filepath.Ext(args[0]); ext == ".yaml" || ext == ".yml" {
			r.ContentType = "application/yaml"
		}
		for name, is := range map[string]bool{"force": force, "dry_run": dry} {
			if is {
				r.Query.Set(name, "true")
			}
		}
		body, _, err := c.ask(cmd.Context(), r)
		if err != nil {
			return err
		}
		return printAnswer(c, body, writeImported)
	}
	return cmd
}

// An imported is the result of an import.
type imported struct {
	Index   uint64
	DryRun  bool `json:"dry_run"`
	Changes int
	Losses  []struct {
		Network  string
		Lost, Of int
	}
	Events []importedItem
}

// An importedItem is one change.
type importedItem struct{ Do, Kind, Network, App, Name string }

func writeImported(w io.Writer, v imported) {
	for _, e := range v.Events {
		name := e.Name
		if e.App != "" {
			name = e.App + "/" + name
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.Do, e.Kind, name, e.Network)
	}
	if more := v.Changes - len(v.Events); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	for _, l := range v.Losses {
		fmt.Fprintf(w, "%s loses %d of %d machines\n", l.Network, l.Lost, l.Of)
	}
	changes := count(v.Changes, "change")
	if v.DryRun {
		fmt.Fprintf(w, "%s would be made\n", changes)
	} else {
		fmt.Fprintf(w, "%s made (index %d)\n", changes, v.Index)
	}
}

func (p *program) exportCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "export [flags]",
		Short: "Write the registry as a registry file",
		Long: `Writes the whole registry that a server's control API serves as a registry file,
as it is at one moment. Machines' objects are written as they were registered.

` + exitHelp,
		Example: `  internaldns export > backup.json
  internaldns export --output backup.json`,
		Args: noArgs,
	}
	c := p.apiFlags(cmd)
	cmd.Flags().StringVarP(&out, "output", "o", "", "write to this `FILE`, whole or not at all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := c.open(); err != nil {
			return err
		}
		resp, err := c.send(cmd.Context(), client.Request{Method: http.MethodGet, Path: client.Path("export")})
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if out == "" {
			_, err = io.Copy(p.stdout, resp.Body)
			return err
		}
		return writeWhole(out, resp.Body)
	}
	return cmd
}

// writeWhole writes what r holds to a file, which appears when it is durable. If path is a
// symlink, its target is replaced. A device or a pipe cannot be replaced: it is written to.
func writeWhole(path string, r io.Reader) (err error) {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		path = to
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, bare(err))
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (p *program) watchCommand() *cobra.Command {
	var index uint64
	var once uint
	cmd := &cobra.Command{
		Use:   "watch [flags]",
		Short: "Print the changes of the registry as they are made",
		Long: `Prints every change of the registry that a server's control API serves, one a
line, from now on or after an index. When the connection is lost, watch connects
again and misses no change. If the server no longer has all changes since then,
watch prints reset: everything may have changed.`,
		Example: `  internaldns watch --index 0 --count 1`,
		Args:    noArgs,
	}
	c := p.apiFlags(cmd)
	cmd.Flags().Uint64Var(&index, "index", 0, "begin after this `INDEX` (default: now)")
	cmd.Flags().UintVar(&once, "count", 0, "end after `N` events (default: never)")
	c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := c.open(); err != nil {
			return err
		}
		var after *uint64
		if cmd.Flags().Changed("index") {
			after = &index
		}
		event := func(e client.Event) error {
			if err := c.printEvent(e); err != nil {
				return err
			}
			if once--; once == 0 {
				return errEnough
			}
			return nil
		}
		lost := func() { fmt.Fprintln(p.stderr, "internaldns: the connection is lost; trying again") }
		if err := c.api.Watch(cmd.Context(), c.complete(client.Request{}), after, event, lost); err != errEnough {
			return c.fault(err)
		}
		return nil
	}
	return cmd
}

// errEnough ends a watch after the last event that was asked for.
var errEnough = errors.New("enough")

// printEvent prints one event.
func (c *apiClient) printEvent(e client.Event) error {
	out := c.p.stdout
	if c.json {
		_, err := fmt.Fprintln(out, e.Data)
		return err
	}
	if e.Kind == "reset" {
		_, err := fmt.Fprintf(out, "%d reset: list everything again\n", e.Index)
		return err
	}
	var commit struct {
		Index   uint64
		Changes []watchedChange
	}
	if err := json.Unmarshal([]byte(e.Data), &commit); err != nil {
		return fmt.Errorf("the event %d: %w", e.Index, err)
	}
	for _, ch := range commit.Changes {
		if _, err := fmt.Fprintf(out, "%d %s\n", commit.Index, ch); err != nil {
			return err
		}
	}
	return nil
}

// A watchedChange is the change of one object.
type watchedChange struct {
	Kind, Network, App, Name string
	Before, After            *watchedState
}

type watchedState struct{ State, Region, Address string }

// String returns one line, such as
// "machine web/148e21dad76789: started ams fdaa:0:18::5 -> stopped".
func (ch watchedChange) String() string {
	name := ch.Name
	if ch.App != "" {
		name = ch.App + "/" + name
	}
	if ch.Network != "" {
		name += " in " + ch.Network
	}
	switch {
	case ch.Before == nil:
		return strings.TrimRight(fmt.Sprintf("%s %s: new %s", ch.Kind, name, ch.After), " ")
	case ch.After == nil:
		return fmt.Sprintf("%s %s: gone", ch.Kind, name)
	case *ch.Before == *ch.After:
		return fmt.Sprintf("%s %s: changed", ch.Kind, name)
	}
	return fmt.Sprintf("%s %s: %s -> %s", ch.Kind, name, ch.Before, ch.After)
}

func (s *watchedState) String() string {
	return harmless(strings.Join(strings.Fields(s.State+" "+s.Region+" "+s.Address), " "))
}
