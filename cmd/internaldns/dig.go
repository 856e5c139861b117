package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"
)

const (
	// digServer is who is asked when nobody is named: where internaldns serve
	// answers when it is given nothing either.
	digServer = "127.0.0.1:5300"

	// digTries and digPatience are how often dig asks over UDP and how long it
	// waits for each response, as other stub resolvers do: 15 s in all. A
	// server that has not answered by then has other problems.
	digTries    = 3
	digPatience = 5 * time.Second

	// digUDPSize is the largest response over UDP, in octets, that dig says it
	// takes: what fits every path unfragmented.
	digUDPSize = 1232
)

// A digQuery is what dig was told to ask.
type digQuery struct {
	server  string // HOST:PORT
	from    netip.Addr
	qtype   uint16
	name    string
	tcp     bool
	short   bool
	reverse bool // name is an address, to be asked for its PTR records
}

func (p *program) digCommand() *cobra.Command {
	var q digQuery
	var from string
	var port uint16
	cmd := &cobra.Command{
		Use:   "dig [@SERVER] [flags] [TYPE] NAME",
		Short: "Ask a server a question, as a machine would",
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

  # As a machine that is not here; its address must be routed to this host
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

// parse reads the arguments that are not flags. Types are known by their names,
// and may also stand behind the name, as many are used to.
func (q *digQuery) parse(args []string, from string, port uint16) error {
	q.server, q.qtype, q.name = digServer, dns.TypeNone, ""
	var words []string
	for _, arg := range args {
		switch {
		case strings.HasPrefix(arg, "@"):
			q.server = arg[1:]
		case strings.HasPrefix(arg, "+"):
			return fmt.Errorf("%s is not known; there are --short and --tcp", arg)
		default:
			words = append(words, arg)
		}
	}
	var err error
	if q.qtype, q.name, err = question(words); err != nil {
		return err
	}
	var faults []error
	if q.server, err = serverAddress(q.server, port); err != nil {
		faults = append(faults, err)
	}
	if from != "" {
		if q.from, err = netip.ParseAddr(from); err != nil {
			faults = append(faults, fmt.Errorf("--from: %q is no IP address", from))
		}
	}
	if q.reverse {
		if name, err := dns.ReverseAddr(q.name); err != nil {
			faults = append(faults, fmt.Errorf("with -x, want an IP address, got %q", q.name))
		} else {
			q.name = name
		}
		if q.qtype == dns.TypeNone {
			q.qtype = dns.TypePTR
		}
	}
	if q.qtype == dns.TypeNone {
		q.qtype = dns.TypeAAAA
	}
	if _, ok := dns.IsDomainName(q.name); !ok {
		faults = append(faults, fmt.Errorf("%q is no domain name", q.name))
	}
	return errors.Join(faults...)
}

// question reads TYPE and NAME, in either order. A word by itself is a name, and
// the type is then TypeNone.
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

// serverAddress returns HOST:PORT of a server given as an address, with or
// without a port. A port given by itself wins.
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

// dig asks and prints.
func (p *program) dig(ctx context.Context, q *digQuery) error {
	network := "udp"
	if q.tcp {
		network = "tcp"
	}
	resp, err := q.ask(ctx, network)
	if err == nil && resp.Truncated && network == "udp" {
		if !q.short {
			fmt.Fprintln(p.stdout, ";; Truncated, asking again over TCP.")
		}
		network = "tcp"
		resp, err = q.ask(ctx, network)
	}
	if err != nil {
		return q.explain(network, err)
	}
	if q.short {
		return p.printShort(resp.Msg)
	}
	host, port, err := net.SplitHostPort(q.server)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%v\n;; Query time: %d msec\n;; SERVER: %s#%s (%s)\n;; MSG SIZE  rcvd: %d\n",
		resp.Msg, resp.took.Milliseconds(), host, port, strings.ToUpper(network), resp.octets)
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

// A digResponse is a response and how it came.
type digResponse struct {
	*dns.Msg
	took   time.Duration
	octets int
}

// ask asks and waits for the response; over UDP, more than once if need be.
func (q *digQuery) ask(ctx context.Context, network string) (*digResponse, error) {
	tries := 1
	if network == "udp" {
		tries = digTries
	}
	for {
		resp, err := q.exchange(ctx, network)
		tries--
		if !errors.Is(err, os.ErrDeadlineExceeded) || tries == 0 {
			return resp, err
		}
	}
}

// exchange sends one query and waits for what answers it. Other messages are
// passed over.
func (q *digQuery) exchange(ctx context.Context, network string) (*digResponse, error) {
	msg := new(dns.Msg)
	msg.SetQuestion(dns.Fqdn(q.name), q.qtype)
	msg.SetEdns0(digUDPSize, false)

	conn, err := q.dialer(network).DialContext(ctx, network, q.server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	start := time.Now()
	if err := conn.SetDeadline(start.Add(digPatience)); err != nil {
		return nil, err
	}
	co := &dns.Conn{Conn: conn, UDPSize: digUDPSize}
	if err := co.WriteMsg(msg); err != nil {
		return nil, err
	}
	for {
		raw, err := co.ReadMsgHeader(nil)
		if errors.Is(err, dns.ErrShortRead) && network == "udp" {
			continue
		}
		if err != nil {
			return nil, err
		}
		resp := &digResponse{Msg: new(dns.Msg), took: time.Since(start), octets: len(raw)}
		if err := resp.Unpack(raw); err == nil && resp.Response && resp.Id == msg.Id &&
			slices.Equal(resp.Question, msg.Question) {
			return resp, nil
		}
	}
}

// dialer returns a dialer from the address that q asks from.
func (q *digQuery) dialer(network string) *net.Dialer {
	d := &net.Dialer{Timeout: digPatience}
	if !q.from.IsValid() {
		return d
	}
	d.Control = freebind
	if network == "udp" {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(q.from, 0))
	} else {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(q.from, 0))
	}
	return d
}

// explain makes what went wrong something to act upon.
func (q *digQuery) explain(network string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "; nothing answers there: is internaldns serve running?"
	case errors.Is(err, os.ErrDeadlineExceeded):
		waited := digPatience
		if network == "udp" {
			waited *= digTries
		}
		hint = fmt.Sprintf("; no response within %v", waited)
		if q.from.IsValid() {
			hint += fmt.Sprintf(", perhaps because responses to %v do not find the way here", q.from)
		}
	}
	return fmt.Errorf("ask %s over %s: %w%s", q.server, strings.ToUpper(network), err, hint)
}
