package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/internal/dig"
)

// digServer is the default server: the address at which internaldns serve answers by default.
const digServer = "127.0.0.1:5300"

// A digQuery is a query from the command line.
type digQuery struct {
	dig.Query
	tcp     bool
	short   bool
	reverse bool // Name is an address; ask for its PTR records
}

func (p *program) digCommand() *cobra.Command {
	var q digQuery
	var from string
	var port uint16
	cmd := &cobra.Command{
		Use:   "dig [@SERVER] [flags] [TYPE] NAME",
		Short: "Send a query to a server, as a machine would",
		Long: `Asks a server one question and prints the response, as dig does.

SERVER is an IP address, with a port if it is not 53. Without it, ` + digServer + `
is asked, where "internaldns serve" answers by default. TYPE is AAAA unless
given. The query goes over UDP, and again over TCP if the response is truncated.`,
		Example: `  internaldns dig web.internal
  internaldns dig TXT _instances.internal
  internaldns dig --short AAAA top2.nearest.of.web.internal
  internaldns dig -x fdaa:0:18:a7b:7d:f066:b83b:2
  internaldns dig @127.0.0.1:5300 --tcp TXT vms.web.internal

  # On a machine of the network, the way its resolver asks:
  internaldns dig @fdaa::3 AAAA web.internal

  # From the address of a machine elsewhere, which must be routed to this host
  # (ip -6 route add local fdaa::/16 dev lo):
  internaldns dig @fdaa::3 --from fdaa:0:18:a7b:7d:f066:b83b:2 AAAA web.internal`,
		Args: wantArgs(1, math.MaxInt, "web.internal"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := q.parse(args, from, port); err != nil {
				return err
			}
			return p.dig(cmd.Context(), &q)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "ask from this `ADDRESS`, which need not be on any interface")
	flags.Uint16VarP(&port, "port", "p", 0, "ask the server at this `PORT`")
	flags.BoolVarP(&q.reverse, "reverse", "x", false, "NAME is an address: ask for its name")
	flags.BoolVar(&q.tcp, "tcp", false, "ask over TCP")
	flags.BoolVar(&q.short, "short", false, "print only the data of the answer's records, one a line")
	return cmd
}

// parse reads the arguments that are not flags. The type may be before or after the name.
func (q *digQuery) parse(args []string, from string, port uint16) error {
	q.Server, q.Type, q.Name = digServer, dns.TypeNone, ""
	var words []string
	for _, arg := range args {
		switch {
		case strings.HasPrefix(arg, "@"):
			q.Server = arg[1:]
		case strings.HasPrefix(arg, "+"):
			return fmt.Errorf("%s is not known; there are --short and --tcp", arg)
		default:
			words = append(words, arg)
		}
	}
	var err error
	if q.Type, q.Name, err = question(words); err != nil {
		return err
	}
	var faults []error
	if q.Server, err = serverAddress(q.Server, port); err != nil {
		faults = append(faults, err)
	}
	if from != "" {
		if q.From, err = netip.ParseAddr(from); err != nil {
			faults = append(faults, fmt.Errorf("--from: %q is no IP address", from))
		}
	}
	if q.reverse {
		if name, err := dns.ReverseAddr(q.Name); err != nil {
			faults = append(faults, fmt.Errorf("with -x, want an IP address, got %q", q.Name))
		} else {
			q.Name = name
		}
		if q.Type == dns.TypeNone {
			q.Type = dns.TypePTR
		}
	}
	if q.Type == dns.TypeNone {
		q.Type = dns.TypeAAAA
	}
	if _, ok := dns.IsDomainName(q.Name); !ok {
		faults = append(faults, fmt.Errorf("%q is no domain name", q.Name))
	}
	return errors.Join(faults...)
}

// question reads TYPE and NAME, in either order. A single word is a name, and the type is then
// TypeNone.
func question(words []string) (qtype uint16, name string, err error) {
	switch len(words) {
	case 1:
		return dns.TypeNone, words[0], nil
	case 2:
		for i, word := range words {
			if t, ok := typeNamed(word); ok {
				return t, words[1-i], nil
			}
		}
		return 0, "", fmt.Errorf("want TYPE and NAME, but neither %q nor %q is a type", words[0], words[1])
	}
	return 0, "", fmt.Errorf("want one NAME, with a TYPE at most, got %q", words)
}

// typeNamed returns the type of that name, also in the form of RFC 3597, Section
// 5, such as TYPE65280.
func typeNamed(s string) (uint16, bool) {
	s = strings.ToUpper(s)
	if t, ok := dns.StringToType[s]; ok {
		return t, true
	}
	if number, ok := strings.CutPrefix(s, "TYPE"); ok {
		t, err := strconv.ParseUint(number, 10, 16)
		return uint16(t), err == nil
	}
	return 0, false
}

// serverAddress returns HOST:PORT of a server, which s gives with or without a port. port, if it
// is not 0, overrides the port of s.
func serverAddress(s string, port uint16) (string, error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		host, text = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), "53"
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return "", fmt.Errorf("server: %q is no IP address; want @ADDRESS or @ADDRESS:PORT", host)
	}
	if _, err := strconv.ParseUint(text, 10, 16); err != nil {
		return "", fmt.Errorf("server: port of %q is no number from 0 to 65535", "@"+s)
	}
	if port != 0 {
		text = strconv.Itoa(int(port))
	}
	return net.JoinHostPort(host, text), nil
}

// dig sends the query and prints the response.
func (p *program) dig(ctx context.Context, q *digQuery) error {
	network := "udp"
	if q.tcp {
		network = "tcp"
	}
	resp, err := q.Ask(ctx, network)
	if err == nil && resp.Truncated && network == "udp" {
		if !q.short {
			fmt.Fprintln(p.stdout, ";; Truncated, asking again over TCP.")
		}
		network = "tcp"
		resp, err = q.Ask(ctx, network)
	}
	if err != nil {
		return err
	}
	if q.short {
		return p.printShort(resp.Msg)
	}
	host, port, err := net.SplitHostPort(q.Server)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%v\n;; Query time: %d msec\n;; SERVER: %s#%s (%s)\n;; MSG SIZE  rcvd: %d\n",
		resp.Msg, resp.Took.Milliseconds(), host, port, strings.ToUpper(network), resp.Octets)
	return err
}

// printShort prints the data of each record of the answer.
func (p *program) printShort(resp *dns.Msg) error {
	if resp.Rcode != dns.RcodeSuccess {
		fmt.Fprintf(p.stderr, ";; %s\n", dns.RcodeToString[resp.Rcode])
	}
	for _, rr := range resp.Answer {
		data := strings.TrimPrefix(rr.String(), rr.Header().String())
		if _, err := fmt.Fprintln(p.stdout, data); err != nil {
			return err
		}
	}
	return nil
}
