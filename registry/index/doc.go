// Package index holds the containers that package registry keeps its machines
// in: a persistent sorted tree, and a map that is cheap while it is small. It
// knows nothing of machines.
package index
