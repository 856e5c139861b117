// Package api serves the registry over HTTP: to read it, to change it through a
// registry.Keeper, and to watch it change.
//
// The routes are those of the Fly Machines API, as far as a registry can do what
// they say, and some of our own. openapi.json describes all of them, and is
// itself served at /v1/openapi.json; docs/api.md tells people how to use them.
//
// # What is promised
//
// A write is answered when it is kept and every answer to a query shows it.
// Whatever it depends on (that something exists, is free, or has not changed) is
// decided on the registry as all earlier writes left it, and no other write
// comes in between.
//
// Every response says of which index it is (IndexHeader). An If-Match with an
// index makes a write only if its object is there and was not changed by a later
// commit.
//
// A machine's object comes back octet for octet. Where a request changes a part
// of it, such as its state, that part and updated_at are changed, and nothing
// else.
//
// Whoever has a token for some networks cannot find out what is in others: they
// are answered as if it were not there. Only that a machine's id is taken, which
// is unique in all networks, and how the index moves, are the same for all.
//
// # The road of a request
//
//	path.ServeHTTP   one for each pattern, whatever the method
//	 └ admit         who is it, and what may they do          access.go, tokens.go
//	 └ checkQuery    no parameter that nobody reads           routes.go
//	 └ the route's function
//	    └ app, …     which object is meant                    locate.go
//	    └ readForm   the body, all faults at once             body.go
//	    └ write      the keeper decides and keeps             call.go
//	       └ mayWrite   once more, of every event             access.go
//	 └ fail          or what kept it from that                errors.go
//
// Commits reach those who wait for them, or watch, through the Feed.
package api
