// Command internaldns serves Fly.io's .internal names from a registry of
// machines.
//
// It introduces the packages to each other and does no work of its own: serve
// binds the resolver's sockets, has a source fill the registry, and the registry
// tell the zone; check, dig, explain and version look at one part each. What
// runs, and in which order it stops, is in run.go; everything that can be set is
// in settings.go.
package main
