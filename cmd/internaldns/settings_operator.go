package main

// operatorSettings are about who watches the program.
var operatorSettings = []setting{
	{
		path: "admin", arg: "HOST:PORT", def: "127.0.0.1:9153",
		help: `serve /healthz, /readyz, /metrics, /status and /flush over HTTP here, or nowhere if "off"`,
		why: `Where /healthz, /readyz, /metrics, /status and /flush are served over HTTP. There
is no password: whoever reaches it can read them all, and have the cache flushed.
"off" turns it off.`,
		to:    func(c *config) any { return &c.Admin },
		check: checkAdmin,
	},
	{
		path: "log_level", arg: "LEVEL", def: "info",
		help:  "least serious of the messages that are logged: debug, info, warn or error",
		why:   "The least serious of the messages that are logged: debug, info, warn or error.\nQueries are never logged.",
		to:    func(c *config) any { return &c.LogLevel },
		check: checkLogLevel,
	},
}
