// Package bench measures the server from outside. The package itself has no code.
//
//	cmd/bench   the command: a scenario each, and report, dataset, load
//	harness     runs scenarios, saves their figures, reports them
//	peers       scenario: servers side by side, and the CPU time of an answer
//	scale       scenario: a large registry: memory, updates, and queries meanwhile
//	keep        scenario: a stored registry: writes, and how soon answers show them
//	hang        scenario: upstreams that do not answer, and local names meanwhile
//	dataset     made-up facts, and the queries that fit them, from a seed
//	load        the generator: sends queries, checks and times the responses
//	dnsload     load as a command
//	servers     an echo, a simple server and an upstream to measure with
//
// Nothing outside bench imports a package below it, except that internaldns bench
// is the command of dnsload.
package bench
