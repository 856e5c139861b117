// Package zone turns the facts in a registry into the names under internal. and the
// zones beside it, compiled for fast answers.
//
// A Table is the names of all networks at one registry index. A View is what one client
// sees of a Table. An Answer is the answer of a View to one question. Tables are
// immutable. A Publisher makes a new Table for every commit, which shares with the old
// one all that the commit did not change. A change of one machine costs as much as that
// machine has names, however large its app is.
//
// Package zone opens no sockets, starts no goroutines and reads no clock.
//
// # Names
//
// A name exists if a deployed machine, an app, a peer or a Flycast address gives rise to
// it. A name of machines has data if one of them is started. A name also exists, without
// data, if other names are below it.
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
// The table is also a test: TestDocNames reads it and asks for every name. To add a name
// form, see the steps at View.Lookup.
//
// # TTL and SERIAL
//
// Every record has the same TTL, Options.TTL, which a server takes from its setting ttl.
// View.Lookup puts it into the Answer, and Answer.head and Answer.appendSOA write it, as
// TTL and as MINIMUM of the SOA. Negative answers therefore have the same TTL.
//
// The SERIAL of the SOA is the registry index of the last commit that changed an answer of
// the client's network. registry.Changes.Networks lists the networks of a commit.
//
// # Many answers from little memory
//
// Most names are not stored. An app has sets of the addresses of its started machines: of
// the app, of each region, of each process group and of each metadata entry. It has its
// machines by id. A lookup takes a name apart, label by label from the right, and finds
// the set. Lists are rendered when first asked for, and are kept until the next change. A
// nearest list is made for each query by walking the app's regions in the order of their
// pings; only the machines in the list are visited.
//
// # Files
//
//	table    Options, Table, Publisher
//	view     the client's network and region
//	compile  a commit changes views and apps
//	app, metadata  an app compiled; the names made of its machines' metadata
//	lookup, reverse, nearest, text  from a name to the data of its answer
//	answer   from the answer to the octets of a response
//	prefetch  memory loaded for many queries at once
package zone
