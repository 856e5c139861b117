// Package api serves the registry over HTTP: clients read it, change it through a
// registry.Keeper, and watch its changes.
//
// The routes are those of the Fly Machines API that a registry can carry out, and
// some of its own. openapi.json describes all of them, and is served at
// /v1/openapi.json; docs/api.md is for users.
//
// # Promises
//
// A write is acknowledged when it is durable and every answer to a query shows it.
// Its conditions (that an object exists, is free, or has not changed) are checked on
// the registry as all earlier writes left it, and no other write comes in between.
//
// Every response has an index of the registry (IndexHeader). With an index in
// If-Match, a write is made only if the object exists and no later commit has
// changed it.
//
// A machine's object is returned octet for octet. A request that changes a part of
// it, such as its state, changes that part and updated_at, and nothing else.
//
// A client whose token is for some networks cannot find out what other networks
// have: their objects are answered as absent. Two things cannot be hidden: that a
// machine's id is taken, since ids are unique in all networks, and that the index
// grows.
//
// # The way of a request
//
//	path.ServeHTTP   one for each pattern, whatever the method      api.go
//	 ├ admit         finds the client's grant                       access.go, tokens.go
//	 ├ checkQuery    refuses unknown parameters                     routes.go
//	 ├ the route's function                                         machines.go, apps.go, …
//	 │  ├ app, …     finds the object that the path names           locate.go
//	 │  ├ readBody   reads the body; package objects parses it      body.go
//	 │  └ write      the keeper decides and stores                  call.go
//	 │     └ mayWrite   checks each event against the grant         access.go
//	 └ fail          responds with the error, if there is one       call.go, errors.go
//
// Package objects makes and changes objects. Package watch passes commits on to
// clients that wait for them.
package api
