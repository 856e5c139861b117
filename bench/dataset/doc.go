// Package dataset makes up the facts of an organisation, and the queries that
// fit them, from a seed.
//
// The same seed, Shape and Traffic give the same octets, on every run, so that
// two measurements a year apart asked the same questions. The facts
// are never held as a whole: an app is made again from its number whenever it
// is needed, and a million machines take the memory of their apps' sizes.
//
// The facts can be written in two ways that answer alike:
//
//	WriteRegistry   the registry file that internaldns reads
//	WriteMaster     a master file (RFC 1035, Section 5) of one network's names,
//	                for servers that read those
//
// and Queries gives questions as octets, each with what a right response says.
// Names whose answers depend on the asker (nearest, _api, fly-local-6pn) and the
// lists of a whole network (_apps, _instances) are in neither the master file
// nor the queries.
//
// What the names say is compiled here a second time, plainly and apart from
// package zone, so that the expected answers are not the server's own opinion.
package dataset
