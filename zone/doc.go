// Package zone turns the facts in a registry into the names under internal. and
// the zones beside it, compiled to what will answer for them.
//
// A Table is the whole namespace at one registry index; a View is the part of it
// that one client sees; an Answer is what one name says for one type. Tables are
// immutable. A Publisher makes a new one for every commit and shares with the old
// one whatever the commit did not touch: inside an app, too, a change to one
// machine costs the names of that machine, not the app.
//
// Package zone opens no sockets, starts no goroutines and reads no clock.
//
// # Names
//
// A name exists if some deployed machine, app, peer or Flycast address gives rise
// to it, and it has data if a started one does. What exists only because something
// below it does has no data.
//
//	<app>.internal                             AAAA  started machines of the app
//	global.<app>.internal                      AAAA  the same
//	<region>.<app>.internal                    AAAA  … in one region
//	<group>.process.<app>.internal             AAAA  … of one process group
//	<value>.<key>.kv._metadata.<app>.internal  AAAA  … with this metadata
//	top<N>.nearest.of.<app>.internal           AAAA  … the N nearest to the client
//	top<N>.nearest.of.<app>.internal           TXT   … with region and ping
//	<id>.vm.<app>.internal                     AAAA  one machine, if it is started
//	vms.<app>.internal                         TXT   id and region of started machines
//	all.vms.<app>.internal                     TXT   … of all that are deployed
//	regions.<app>.internal                     TXT   regions of started machines
//	all.regions.<app>.internal                 TXT   … of all that are deployed
//	_apps.internal                             TXT   names of the network's apps
//	_instances.internal                        TXT   id, app, address, region of started machines
//	all._instances.internal                    TXT   … of all that are deployed
//	_peer.internal                             TXT   names of WireGuard peers
//	<peer>._peer.internal                      AAAA  one peer
//	_api.internal                              AAAA  the server
//	<app>.flycast                              AAAA  Flycast addresses in the network
//	fly-local-6pn                              AAAA  the client's own address
//	<address>.ip6.arpa                         PTR   name of machine, peer or Flycast app
//
// The table is also a test: TestDocNames reads it and asks every name.
//
// # Many answers from little memory
//
// Most names are not stored. An app holds the addresses of its started machines,
// by app, region, process group and metadata entry, and its machines by id; a name
// is taken apart label by label, from the right, and finds its set. Lists are
// rendered when first asked for and kept until the next change. The order of a
// nearest list is made for each query from the app's regions, of which there are
// few, not from its machines.
package zone
