// Package bench is the room from which the server is attacked from outside: it
// holds no code of its own.
//
//	dataset    facts, and the queries that fit them, from a seed
//	load       the generator: sends queries, checks and times the responses
//	echo       a server that does nothing but move datagrams: the limit
//	peers      servers side by side, and the report of what each one costs
//	scale      a large registry: memory, updates, and what queries feel of them
//	hang       upstreams in trouble, and what local names feel of them
//	keep       a registry that is kept: writes, and how soon answers show them
//	upstream   what forwarders are measured in front of
//	mapdns     a server as one writes it in an afternoon: the other mark
//	dnsload    load as a command
//	cmd/…      thin commands over these: dataset, dnsload, hang, keep, peers, scale
//
// Nothing outside bench imports anything below it, but that internaldns bench is
// the command of dnsload.
package bench
