// Package bench is the room from which the server is attacked from outside: it
// holds no code of its own.
//
//	dataset    facts, and the queries that fit them, from a seed
//	load       the generator: sends queries, checks and times the responses
//	echo       a server that does nothing but move datagrams: the limit
//	peers      servers side by side, and the report of what each one costs
//	cmd/…      thin commands over these: dataset, dnsload, peers
//
// Nothing outside bench imports anything below it but internaldns bench, which
// is package load with flags.
package bench
