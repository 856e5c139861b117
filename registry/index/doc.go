// Package index holds the containers of package registry: a persistent sorted tree, and
// a map that is cheap while it has few keys. It knows nothing of facts.
package index
