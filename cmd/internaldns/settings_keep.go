package main

// keepSettings are about facts that change while the server runs: where they are
// kept, and who may change them.
var keepSettings = []setting{
	{
		path: "data", arg: "DIR", eg: "/var/lib/internaldns",
		help: "keep the registry in this directory, and let --api change it",
		why: `The directory in which the registry is kept, made if it is not there. What
the API has acknowledged is on disk, and is there again after a crash.`,
		to:    func(c *config) any { return &c.Data },
		check: notEmpty,
	},
	{
		path: "etcd", arg: "URL", eg: `["http://10.0.0.1:2379", "http://10.0.0.2:2379"]`,
		help: "keep the registry in etcd, for any number of servers; may be repeated, once for each member",
		why: `The members of an etcd cluster that holds the registry. Every server has all of
it in memory, sees every change within a second, and goes on answering while
etcd is away.`,
		to:    func(c *config) any { return &c.Etcd },
		check: checkEtcd,
	},
	{
		path: "etcd_prefix", arg: "KEY", def: "/internaldns",
		help:  "what the registry's keys in etcd begin with",
		why:   "What the registry's keys in etcd begin with. Registries of different prefixes\nhave nothing to do with each other.",
		to:    func(c *config) any { return &c.EtcdPrefix },
		check: checkEtcdPrefix,
	},
	{
		path: "etcd_ca", arg: "FILE", eg: "/etc/internaldns/etcd-ca.pem",
		help: "whom to trust as etcd, a file of PEM certificates (default: whom the system trusts)",
		why:  "The certificates, as PEM, of who may vouch for etcd. Without it those count\nthat the system trusts.",
		to:   func(c *config) any { return &c.EtcdCA }, check: notEmpty,
	},
	{
		path: "etcd_cert", arg: "FILE", eg: "/etc/internaldns/etcd.pem",
		help: "certificate to show to etcd, with --etcd-key",
		why: `The certificate, as PEM, and its key, that say to etcd who we are. They are read
again when they change, and count for new connections.`,
		to: func(c *config) any { return &c.EtcdCert }, check: notEmpty,
	},
	{
		path: "etcd_key", arg: "FILE", eg: "/etc/internaldns/etcd-key.pem",
		help: "key of --etcd-cert",
		why:  "The key of etcd_cert.",
		to:   func(c *config) any { return &c.EtcdKey }, check: notEmpty,
	},
	{
		path: "etcd_user", arg: "NAME", eg: "internaldns",
		help: "user of etcd, with --etcd-password-file",
		why:  "The user of etcd who may read and write below etcd_prefix, where etcd asks for\none.",
		to:   func(c *config) any { return &c.EtcdUser }, check: notEmpty,
	},
	{
		path: "etcd_password_file", arg: "FILE", eg: "/etc/internaldns/etcd-password",
		help: "file with the password of --etcd-user",
		why:  "A file that holds the password of etcd_user, and nothing else. A line break at\nits end does not count.",
		to:   func(c *config) any { return &c.EtcdPasswordFile }, check: notEmpty,
	},
	{
		path: "seed", eg: "true",
		help: "import --registry once, into a --data or --etcd that is empty",
		why: `Whether a registry file beside data or etcd is imported while nothing is kept
there. Later the file does not count.`,
		to: func(c *config) any { return &c.Seed },
	},
	{
		path: "api", arg: "HOST:PORT", def: off,
		help: `serve the control API here, at unix:PATH, or nowhere if "off"`,
		why: `Where the control API is served, over HTTP: HOST:PORT or unix:PATH. Clients made
for Fly.io look at _api.internal:4280. "off" turns it off.`,
		to:    func(c *config) any { return &c.API },
		check: checkAPI,
	},
	{
		path: "api_tokens", arg: "FILE", eg: "/etc/internaldns/tokens",
		help: "who may use the API: a file of tokens, as internaldns token makes them",
		why: `The tokens that clients of the API must show, and what each is for: a file of
lines that internaldns token prints. It is read again when it changes.`,
		to:    func(c *config) any { return &c.APITokens },
		check: notEmpty,
	},
	{
		path: "api_local", eg: "true",
		help: "let clients on loopback or a Unix socket use the API without a token",
		why: `Whether whoever comes over loopback or a Unix socket may do everything without a
token. On a host that others use, everybody there may.`,
		to: func(c *config) any { return &c.APILocal },
	},
	{
		path: "api_cert", arg: "FILE", eg: "/etc/internaldns/api.pem",
		help: "serve the API over TLS with this certificate, and --api-key",
		why: `The certificate, as PEM, with which the API is served over TLS. It is read again
with its key when they change, and on SIGHUP; if something is wrong with them then,
it stays as it is.`,
		to: func(c *config) any { return &c.APICert }, check: notEmpty,
	},
	{
		path: "api_key", arg: "FILE", eg: "/etc/internaldns/api-key.pem",
		help: "key of --api-cert",
		why:  "The key of api_cert.",
		to:   func(c *config) any { return &c.APIKey }, check: notEmpty,
	},
}
