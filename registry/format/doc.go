// Package format reads and writes the registry file and the JSON object of a
// machine.
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
// give it. Only the key apps is required. An app without a network is in the
// network of its machines. Unknown fields are no fault, and those of a machine
// are stored. A null field counts as a missing one, except for apps.
//
// # All or nothing
//
// A file is read whole and checked whole. If anything is wrong with it, Parse
// returns no facts, and every fault by object and field. Empty and cut-off files
// are faults, and so are keys that are given twice: such a file may lack facts that
// its author meant.
//
// # From octets to facts
//
// Parse reads the file as a stream and never holds all of a JSON file in memory.
// The walk hands each machine's octets to a pool, which decodes and compresses
// them on all cores.
//
//	Parse            chooses JSON or YAML and collects the faults of all steps
//	 ├ toJSON        YAML only: converts the document to JSON
//	 ├ walk          reads the file down to single objects
//	 │  └ pool       decodes each machine's octets to a registry.Machine
//	 ├ assemble      joins apps and their machines, and derives their networks
//	 └ Validate      checks the facts against each other (package registry)
//
// Write does the reverse: it writes facts as a registry file. ParseMachine and
// MachineObject do the same for one machine.
package format
