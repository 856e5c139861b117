// Package file is the source of facts that is a file: it reads a registry file,
// watches it, and applies what changes in it to a registry.Store.
//
// The file is JSON, or YAML of the same shape:
//
//	apps:     [{name, network, flycast: [address], machines: [machine]}]
//	peers:    [{name, address, region}]
//	networks: [{name, prefix}]
//	regions:  [{code, name, latitude, longitude}]
//	rtt_ms:   {from: {to: milliseconds}}
//
// A machine is an object as the Fly Machines API and fly machine list --json
// give it. Only the key apps must be there. An app without a network is in that
// of its machines. Fields that are not read are no fault, and those of a
// machine are kept; null is the same as nothing, except as the value of apps.
//
// # All or nothing
//
// A file is read whole and checked whole. If anything is wrong with it, nothing
// of it counts, every fault is reported by object and field, and the facts stay
// as they were. Empty and cut-off files are faults, and so are keys given
// twice: a file that says less than before by accident must not be taken for
// one that means it. A Source therefore also asks twice before it takes away
// more than half of a network's machines.
//
// # From octets to facts
//
// Parse walks the file and never holds it: each machine's octets are handed to
// a pool that decodes and compresses them while the walk goes on.
//
//	Parse            choose the form, collect what the steps below find
//	 ├ toJSON        YAML only: the document as JSON text, then as if that came
//	 ├ walk          the tokens of the file down to single objects
//	 │  └ pool       each machine's octets to a registry.Machine, on all cores
//	 ├ assemble      apps and their machines together, networks derived
//	 └ Validate      the facts against each other (package registry)
//
// Write is the way back: facts to a registry file.
package file
