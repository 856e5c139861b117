// Package objects makes the objects that requests to the API ask for: it parses
// bodies, finds free ids and addresses, makes and changes machines, and checks
// preconditions.
//
// Its functions depend on their arguments, on random numbers and on nothing else:
// they know no connection, no token and no store. Package api calls them within
// Keeper.Write, with the registry as all earlier writes have left it.
//
// A machine's object is parsed once, whether a client sends it or a change of the
// stored one makes it (format.ParseMachine). It is changed member by member: all
// other octets stay as its owner has written them.
package objects
