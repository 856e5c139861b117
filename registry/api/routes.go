package api

import (
	_ "embed"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/registry"
)

// A route is one method of one path.
//
// To add a route:
//
//  1. Add it to routes, by the object that it is about, with its parameters.
//  2. Write its function, in the file of that object. What it makes of objects,
//     apart from the request and the response, belongs in package objects.
//  3. Describe it in openapi.json. The tests fail until that agrees with routes and
//     with every response of the tests.
//  4. Say in docs/api.md what its users must know, and add it to a script in
//     testdata/script.
type route struct {
	method, pattern string
	serve           func(*call) error

	// params are the query parameters that the route takes. Others are refused: a
	// misspelt parameter must not change what a request does. A route of Fly's API
	// (fly) ignores others instead, except ourParams: Fly's clients send some that
	// only Fly's servers read. Its params are those that Fly's API does not have.
	params []string
	fly    bool
}

const (
	appPath     = "/v1/apps/{app}"
	machinePath = appPath + "/machines/{id}"
)

var routes = []route{
	{method: "GET", pattern: "/v1/apps", serve: (*call).listApps, fly: true},
	{method: "POST", pattern: "/v1/apps", serve: (*call).createApp, fly: true},
	{method: "GET", pattern: appPath, serve: (*call).getApp, fly: true},
	{method: "DELETE", pattern: appPath, serve: (*call).deleteApp, fly: true},

	{method: "GET", pattern: appPath + "/machines", serve: (*call).listMachines, params: []string{"process_group"}, fly: true},
	{method: "POST", pattern: appPath + "/machines", serve: (*call).createMachine, params: []string{"ttl"}, fly: true},
	{method: "GET", pattern: machinePath, serve: (*call).getMachine, fly: true},
	{method: "POST", pattern: machinePath, serve: (*call).updateMachine, fly: true},
	{method: "PUT", pattern: machinePath, serve: (*call).putMachine, params: []string{"network", "ttl"}},
	{method: "DELETE", pattern: machinePath, serve: (*call).deleteMachine, fly: true},
	{method: "POST", pattern: machinePath + "/start", serve: (*call).startMachine, fly: true},
	{method: "POST", pattern: machinePath + "/stop", serve: (*call).stopMachine, fly: true},
	{method: "POST", pattern: machinePath + "/suspend", serve: (*call).suspendMachine, fly: true},
	{method: "GET", pattern: machinePath + "/wait", serve: (*call).waitMachine, fly: true},
	{method: "GET", pattern: machinePath + "/metadata", serve: (*call).listMetadata, fly: true},
	{method: "GET", pattern: machinePath + "/metadata/{key}", serve: (*call).getMetadata, fly: true},
	{method: "POST", pattern: machinePath + "/metadata/{key}", serve: (*call).setMetadata, fly: true},
	{method: "DELETE", pattern: machinePath + "/metadata/{key}", serve: (*call).deleteMetadata, fly: true},

	{method: "GET", pattern: appPath + "/flycast", serve: (*call).listFlycast, params: []string{"network"}},
	{method: "POST", pattern: appPath + "/flycast", serve: (*call).createFlycast, params: []string{"network"}},
	{method: "GET", pattern: appPath + "/flycast/{address}", serve: (*call).getFlycast, params: []string{"network"}},
	{method: "PUT", pattern: appPath + "/flycast/{address}", serve: (*call).putFlycast, params: []string{"network"}},
	{method: "DELETE", pattern: appPath + "/flycast/{address}", serve: (*call).deleteFlycast, params: []string{"network"}},

	{method: "GET", pattern: "/v1/peers", serve: (*call).listPeers, params: []string{"network"}},
	{method: "GET", pattern: "/v1/peers/{name}", serve: (*call).getPeer, params: []string{"network"}},
	{method: "PUT", pattern: "/v1/peers/{name}", serve: (*call).putPeer, params: []string{"network"}},
	{method: "DELETE", pattern: "/v1/peers/{name}", serve: (*call).deletePeer, params: []string{"network"}},

	{method: "GET", pattern: "/v1/networks", serve: (*call).listNetworks},
	{method: "GET", pattern: "/v1/networks/{name}", serve: (*call).getNetwork},
	{method: "PUT", pattern: "/v1/networks/{name}", serve: (*call).putNetwork},
	{method: "DELETE", pattern: "/v1/networks/{name}", serve: (*call).deleteNetwork},

	{method: "GET", pattern: "/v1/platform/regions", serve: (*call).listRegions, fly: true},
	{method: "POST", pattern: "/v1/import", serve: (*call).importFacts, params: []string{"force", "dry_run"}},
	{method: "GET", pattern: "/v1/export", serve: (*call).exportFacts},
	{method: "GET", pattern: "/v1/watch", serve: (*call).watch, params: []string{"index"}},
	{method: "GET", pattern: "/v1/openapi.json", serve: (*call).describe},
}

// ourParams are parameters that Fly's API does not have, or only on other routes. A
// client that sends one relies on its effect.
var ourParams = []string{"ttl", "dry_run", "index", "process_group"}

// String names the route for metrics and messages, as ServeMux would.
func (r *route) String() string {
	if r == nil {
		return "no route"
	}
	return r.method + " " + r.pattern
}

// allowed lists the methods for an Allow header (RFC 9110, Section 10.2.1).
func allowed(methods map[string]*route) string {
	list := slices.Collect(maps.Keys(methods))
	if methods[http.MethodGet] != nil {
		list = append(list, http.MethodHead)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// checkQuery parses the query. It refuses parameters that the route does not take,
// and those that are given twice.
func (c *call) checkQuery() error {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return failf(http.StatusBadRequest, "the query is malformed: %v", err)
	}
	c.query = query
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch {
		case c.route.fly && !slices.Contains(ourParams, name) && (name != "network" || len(query[name]) == 1):
		case len(query[name]) > 1:
			return failf(http.StatusBadRequest, "the parameter %s is given twice", registry.Quote(name))
		case !slices.Contains(c.route.params, name) && len(c.route.params) == 0:
			return failf(http.StatusBadRequest, "there is no parameter %s here: %v takes none", registry.Quote(name), c.route)
		case !slices.Contains(c.route.params, name):
			return failf(http.StatusBadRequest, "there is no parameter %s here: %v takes %s",
				registry.Quote(name), c.route, strings.Join(c.route.params, ", "))
		}
	}
	return nil
}

// openAPI describes the routes for programs (OpenAPI 3.1). TestOpenAPI… compare it
// with routes, and all other tests with the responses.
//
//go:embed openapi.json
var openAPI []byte

// describe is GET /v1/openapi.json.
func (c *call) describe() error {
	c.send(http.StatusOK, openAPI)
	return nil
}
