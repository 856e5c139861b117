// Package file takes facts from a registry file: it follows the file and applies its
// changes to a registry.Store. Package format parses the file.
//
// A file that has any fault changes nothing: the facts stay as they were, and every
// fault is logged. A file that removes more than half of a network's machines takes
// effect only if it stays the same for a second, or if the next content does so too.
package file
