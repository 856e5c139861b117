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
		Long: `Answers queries from a registry, over UDP and TCP. The registry is a file that
is followed as it changes (--registry); or it is kept in a directory (--data) or
in etcd, for any number of servers (--etcd), and changed through the control API
(--api) while it is served. Without any of these, a sample organisation is
served to loopback.

A client's own address says in which network it is (fdaa:NNNN:NNNN:…), or else
the address it asks (fdaa:NNNN:NNNN::3). Others are placed by --network and
--client, or refused.

Whatever is not ours is forwarded to the nameservers in /etc/resolv.conf, or to
each --upstream, for clients with private addresses (--allow).

Every flag can be given as a variable of the environment too: --max-udp-size as
INTERNALDNS_MAX_UDP_SIZE, lists separated by spaces. So it can in the YAML file
that --config names, as max_udp_size. Flags win over the environment, and the
environment wins over the file.

Files are followed as they change: the registry, resolv.conf, tokens and
certificates. SIGHUP has the registry file and certificates read again at once.
SIGTERM and SIGINT answer what has arrived, and stop; a second one stops at
once.`,
		Example: `  # The sample, on 127.0.0.1:5300:
  internaldns serve

  # Your own registry, for Docker containers and processes of this host:
  internaldns serve --registry org.json --network fdaa:0:18::/48 --listen 127.0.0.1:5300 --listen 172.17.0.1:53

  # Two networks, told apart by the clients' addresses:
  internaldns serve --registry org.json --client 10.1.0.0/16=fdaa:0:18::/48,ams --client 10.2.0.0/16=fdaa:3:9018::/48

  # The rest of the world over TLS, and the office's names from its own server:
  internaldns serve --upstream tls://9.9.9.9#dns.quad9.net --forward corp.example=10.0.0.53

  # A registry that is kept here, and changed by internaldns machines and curl:
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

// serve makes the server that c asks for, and runs it.
func (p *program) serve(ctx context.Context, c config) error {
	// From the first moment on: a hangup must never end us.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)

	log := newLog(p.stderr, c.level())
	sample := c.Registry == "" && !c.kept()
	if sample {
		c.placeSample()
	}
	s := newServer(c, log)
	if err := s.keep(); err != nil {
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

// newLog returns a logger that writes to w: for people if w is a terminal, and
// one JSON object a line otherwise.
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
