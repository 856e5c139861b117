package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

func (p *program) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Answer queries from a registry",
		Long: `Answers DNS queries from a registry, over UDP and TCP. A registry lists apps and
their machines, and belongs to networks: a network is a private IPv6 network (a
/48 in fdaa::/16, on Fly.io called 6PN), and its clients see its apps only.
Choose where the registry is:

  --registry FILE  you write a file, and edit it to change what is served
  --data DIR       one server stores it, and the control API (--api) changes it
  --etcd URL       several servers share it, and the API of each changes it
  none of them     a built-in sample, served to loopback

A client's network follows from its address (fdaa:NNNN:NNNN:…), or else from the
address that it asks (fdaa:NNNN:NNNN::3). --network and --client place other
clients in a network; without them they are refused.

All other names are forwarded to the nameservers in /etc/resolv.conf, or to each
--upstream, for clients with private addresses (--allow).

Each flag can also be an environment variable, --max-udp-size for example is
INTERNALDNS_MAX_UDP_SIZE, with spaces between the items of a list; or a key of
the YAML file that --config names, such as max_udp_size. A flag overrides the
environment, and the environment overrides the file.

The registry file, resolv.conf, tokens and certificates are followed: a change
takes effect within 2 s, also behind symlinks and bind mounts, a half-written
file is never taken, and while a file has a fault its last good content stays.
SIGHUP reads all of them but resolv.conf again. SIGTERM and SIGINT answer what
has arrived, and stop; a second one stops at once.`,
		Example: `  # The sample, on 127.0.0.1:5300:
  internaldns serve

  # Your own registry, for Docker containers and processes of this host:
  internaldns serve --registry org.json --network fdaa:0:18::/48 --listen 127.0.0.1:5300 --listen 172.17.0.1:53

  # Two networks, distinguished by the clients' addresses:
  internaldns serve --registry org.json --client 10.1.0.0/16=fdaa:0:18::/48,ams --client 10.2.0.0/16=fdaa:3:9018::/48

  # The rest of the world over TLS, and the office's names from its own server:
  internaldns serve --upstream tls://9.9.9.9#dns.quad9.net --forward corp.example=10.0.0.53

  # A registry stored here, and changed by internaldns machines and curl:
  internaldns serve --data d --api 127.0.0.1:4280 --api-local

  # On the address that machines know, before the network is up:
  internaldns serve --registry org.json --listen "[fdaa::3]:53"

  internaldns serve --config internaldns.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(cmd.Flags(), p.environ)
			if err == nil {
				err = c.together()
			}
			if err != nil {
				return err
			}
			return p.serve(cmd.Context(), c)
		},
	}
	for _, subject := range subjects {
		for i := range subject.settings {
			addFlags(cmd.Flags(), subject.settings[i].path)
		}
		headFlags(cmd.Flags(), subject.heading)
	}
	return cmd
}

// serve makes a server with the settings c, and runs it.
func (p *program) serve(ctx context.Context, c config) error {
	// As early as possible: SIGHUP must not end the process.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)

	log := newLog(p.stderr, c.level())
	sample := c.Registry == "" && !c.kept()
	if sample {
		c.placeSample()
	}
	s := newServer(c, log)
	if err := s.setSource(); err != nil {
		return err
	}
	if sample {
		s.banner = p.stdout
		if len(p.args) == 1 {
			s.retype = self() + " serve"
		}
	}
	return s.run(ctx, hangups)
}

// newLog returns a logger that writes to w: text if w is a terminal, else one JSON
// object a line.
func newLog(w io.Writer, level zapcore.Level) *zap.Logger {
	enc := zap.NewProductionEncoderConfig()
	enc.TimeKey = "time"
	enc.EncodeTime = zapcore.ISO8601TimeEncoder
	enc.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(enc)
	if isTerminal(w) {
		enc.EncodeLevel = zapcore.CapitalColorLevelEncoder
		enc.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoder = zapcore.NewConsoleEncoder(enc)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
