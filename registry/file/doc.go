// Package file is the source of facts that is a file: it watches a registry
// file, and applies its changes to a registry.Store. Package format reads the
// file.
//
// A file that has any fault changes nothing: the facts stay as they were, and
// every fault is logged. Before a Source removes more than half of a network's
// machines, it reads the file a second time.
package file
