// Package dataset makes up the facts of an organisation, and the queries that fit
// them, from a seed.
//
// The same seed, Shape and Traffic give the same octets, so that measurements a
// year apart use the same queries. An app is made from its number whenever it is
// needed, so that memory grows with the number of apps and not of machines.
//
// The facts can be written in two ways, from which servers answer alike:
//
//	WriteRegistry   the registry file that internaldns reads
//	WriteMaster     a master file (RFC 1035, Section 5) of one network's names,
//	                for servers that read those
//
// Queries returns queries as octets, each with its right response. Names whose
// answers depend on the client (nearest, _api, fly-local-6pn) and the lists of a
// whole network (_apps, _instances) are neither in the master file nor in the
// queries.
//
// The right responses are computed without package zone, so that a fault of the
// server is not in them too.
//
//	shape.go     how many networks, apps and machines
//	app.go       the facts of one app
//	names.go     the names of one app and their records
//	traffic.go   which names are asked for
//	query.go     queries as octets and as text
//	files.go     the registry file and the master file
//	rand.go      random numbers that every run repeats
package dataset
