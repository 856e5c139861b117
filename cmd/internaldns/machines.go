package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/internal/client"
)

// A listedMachine is the part of a machine that the commands print.
type listedMachine struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	State     string `json:"state"`
	Region    string `json:"region"`
	PrivateIP string `json:"private_ip"`
	Config    struct {
		Metadata map[string]string `json:"metadata"`
	} `json:"config"`
}

func (m *listedMachine) group() string {
	return cmp.Or(m.Config.Metadata["fly_process_group"], m.Config.Metadata["process_group"])
}

func (p *program) machinesCommand() *cobra.Command {
	cmd, c := p.group("machines", "List, register, start, stop and remove machines", `Lists, registers, starts, stops and removes machines of the registry that a
server's control API serves. It does not run machines: start and stop record
that one is started or stopped, and answers hold its address only while it is
started. A machine may be in a process group of its app, such as "worker", which
its metadata fly_process_group names.`,
		`  internaldns machines list web --network fdaa:0:18::/48
  internaldns machines put pg --region fra --metadata role=replica
  internaldns machines put pg e2865013b3d986 --region fra --address fdaa:0:18:a7b:99:1:2:2
  internaldns machines stop pg e2865013b3d986
  internaldns machines rm pg e2865013b3d986`)
	c.networkFlag(cmd)
	cmd.AddCommand(c.machinesList(), c.machinesGet(), c.machinesPut(),
		c.machinesState("start", "started"), c.machinesState("stop", "stopped"), c.machinesState("suspend", "suspended"),
		c.removal("APP ID", "Remove a machine", "pg 1857961b2d73e8", "machine", func(args []string) string { return client.Path("apps", args[0], "machines", args[1]) }),
	)
	return cmd
}

func (c *apiClient) machinesList() *cobra.Command {
	var region, group, state string
	var metadata []string
	var all bool
	cmd := c.verb("list", "APP", "List the machines of an app", "pg", 1, 1, func(cmd *cobra.Command, args []string) error {
		query := url.Values{}
		for name, value := range map[string]string{"region": region, "process_group": group, "state": state} {
			if value != "" {
				query.Set(name, value)
			}
		}
		pairs, err := parsePairs(metadata)
		if err != nil {
			return err
		}
		for key, value := range pairs {
			query.Set("metadata."+key, value)
		}
		if all {
			query.Set("include_deleted", "true")
		}
		body, _, err := c.ask(cmd.Context(), client.Request{Method: http.MethodGet, Path: client.Path("apps", args[0], "machines"), Query: query})
		if err != nil {
			return err
		}
		return printAnswer(c, body, func(w io.Writer, machines []listedMachine) { showMachines(w, machines...) })
	})
	cmd.Flags().StringVar(&region, "region", "", "only those in `REGION`")
	cmd.Flags().StringVar(&group, "group", "", "only those in the process group `GROUP`")
	cmd.Flags().StringVar(&state, "state", "", "only those in `STATE`, such as started")
	cmd.Flags().StringArrayVar(&metadata, "metadata", nil, "only those with `KEY=VALUE`; may be repeated")
	cmd.Flags().BoolVar(&all, "all", false, "also those that were removed recently")
	return cmd
}

func showMachines(w io.Writer, machines ...listedMachine) {
	fmt.Fprintln(w, "ID\tSTATE\tREGION\tADDRESS\tGROUP\tNAME")
	for i := range machines {
		m := &machines[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, harmless(m.State), m.Region, m.PrivateIP, harmless(m.group()), harmless(m.Name))
	}
}

func (c *apiClient) machinesGet() *cobra.Command {
	return c.verb("get", "APP ID", "Show one machine", "pg 1857961b2d73e8", 2, 2, func(cmd *cobra.Command, args []string) error {
		body, header, err := c.ask(cmd.Context(), client.Request{Method: http.MethodGet, Path: client.Path("apps", args[0], "machines", args[1])})
		if err != nil {
			return err
		}
		return printAnswer(c, body, func(w io.Writer, m listedMachine) {
			showMachines(w, m)
			if lease := header.Get("Internaldns-Lease"); lease != "" {
				fmt.Fprintf(w, "lease: %s\n", lease)
			}
		})
	})
}

func (c *apiClient) machinesPut() *cobra.Command {
	var file, region, state, address, name string
	var metadata []string
	var ttl time.Duration
	var onlyNew bool
	cmd := c.verb("put", "APP [ID]", "Register a machine, or replace it; without ID, the server chooses an id and an address", "pg --region fra", 1, 2,
		func(cmd *cobra.Command, args []string) error {
			object, err := c.machineObject(file, args[1:], machineFlags{region, state, address, name, metadata})
			if err != nil {
				return err
			}
			r := client.Request{Method: http.MethodPost, Path: client.Path("apps", args[0], "machines"), Query: url.Values{}, Body: bytes.NewReader(object), OnlyNew: onlyNew}
			c.flagOf = machineFields
			if file != "" {
				c.flagOf = nil
			}
			if len(args) == 2 {
				r.Method, r.Path = http.MethodPut, client.Path("apps", args[0], "machines", args[1])
			}
			if cmd.Flags().Changed("ttl") {
				r.Query.Set("ttl", plain(ttl))
			}
			body, header, err := c.ask(cmd.Context(), r)
			if err != nil {
				return err
			}
			m, err := decoded[listedMachine](body)
			if err != nil {
				return err
			}
			return c.done(header, body, "machine %s is %s at %s", m.ID, harmless(m.State), m.PrivateIP)
		})
	flags := cmd.Flags()
	flags.StringVar(&file, "file", "", "`FILE` with the machine's whole object as JSON, or - for standard input")
	flags.StringVar(&region, "region", "", "`REGION` in which the machine is")
	flags.StringVar(&state, "state", "", "`STATE` that it is in (default started)")
	flags.StringVar(&address, "address", "", "its 6PN `ADDRESS`")
	flags.StringVar(&name, "name", "", "its `NAME`, which has no effect on DNS")
	flags.StringArrayVar(&metadata, "metadata", nil, "`KEY=VALUE` that it has; may be repeated")
	flags.DurationVar(&ttl, "ttl", 0, "`DURATION` after which the machine is removed, unless it is put again")
	flags.BoolVar(&onlyNew, "new", false, "only if it does not exist; else the exit status is 4")
	c.indexFlag(cmd)
	return cmd
}

// machineFields maps the fields of a machine's object to the flags that set them.
var machineFields = map[string]string{"region": "region", "private_ip": "address", "state": "state", "name": "name"}

// machineFlags are the flags that describe a machine.
type machineFlags struct {
	region, state, address, name string
	metadata                     []string
}

// machineObject returns the object of a machine, from a file or from flags.
func (c *apiClient) machineObject(file string, id []string, f machineFlags) ([]byte, error) {
	if file != "" {
		if f.region+f.state+f.address+f.name != "" || len(f.metadata) > 0 {
			return nil, errors.New("--file: the file describes the whole machine; want it without --region, --state, --address, --name and --metadata")
		}
		if file == "-" {
			return io.ReadAll(os.Stdin)
		}
		return os.ReadFile(file)
	}
	pairs, err := parsePairs(f.metadata)
	if err != nil {
		return nil, err
	}
	object := map[string]any{"config": map[string]any{"metadata": pairs}}
	if len(id) > 0 {
		object["id"], object["state"] = id[0], cmp.Or(f.state, "started")
	} else if f.state != "" {
		return nil, errors.New("--state: a machine without ID is made started; want an ID, or stop it then")
	}
	for key, value := range map[string]string{"region": f.region, "private_ip": f.address, "name": f.name} {
		if value != "" {
			object[key] = value
		}
	}
	return json.Marshal(object)
}

// parsePairs parses the values of --metadata.
func parsePairs(texts []string) (map[string]string, error) {
	pairs := make(map[string]string, len(texts))
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("--metadata: want KEY=VALUE, got %q", text)
		}
		pairs[key] = value
	}
	return pairs, nil
}

// machinesState returns the command that sets a machine's state.
func (c *apiClient) machinesState(verb, state string) *cobra.Command {
	cmd := c.verb(verb, "APP ID", "Record that a machine is "+state, "pg 1857961b2d73e8", 2, 2, func(cmd *cobra.Command, args []string) error {
		body, header, err := c.ask(cmd.Context(), client.Request{Method: http.MethodPost, Path: client.Path("apps", args[0], "machines", args[1], verb)})
		if err != nil {
			return err
		}
		return c.done(header, body, "machine %s is %s", args[1], state)
	})
	c.indexFlag(cmd)
	return cmd
}
