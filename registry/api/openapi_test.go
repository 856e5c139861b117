package api

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// description returns openapi.json, which must be a valid document.
var description = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background())
})

func TestOpenAPIDescribesTheRoutesAndNoOthers(t *testing.T) {
	doc, err := description()
	if err != nil {
		t.Fatal(err)
	}
	described := make(map[string]*openapi3.Operation)
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			described[method+" "+path] = op
		}
	}
	for i := range routes {
		r := &routes[i]
		op := described[r.String()]
		if op == nil {
			t.Errorf("%v is not described", r)
			continue
		}
		delete(described, r.String())
		checkParameters(t, r, op)
	}
	for name := range described {
		t.Errorf("%s is described, and there is no such route", name)
	}
}

// checkParameters compares the query parameters that a route takes with those
// that are described.
func checkParameters(t *testing.T, r *route, op *openapi3.Operation) {
	var query, path []string
	for _, p := range op.Parameters {
		switch p.Value.In {
		case "query":
			query = append(query, p.Value.Name)
		case "path":
			path = append(path, p.Value.Name)
		}
	}
	for _, name := range r.params {
		if !slices.Contains(query, name) {
			t.Errorf("%v takes %s, which is not described", r, name)
		}
	}
	for _, name := range query {
		if !r.fly && !slices.Contains(r.params, name) {
			t.Errorf("%v: the parameter %s is described and not taken", r, name)
		}
	}
	for _, name := range path {
		if !strings.Contains(r.pattern, "{"+name+"}") {
			t.Errorf("%v: the pattern has no %s", r, name)
		}
	}
	if strings.Count(r.pattern, "{") != len(path) {
		t.Errorf("%v: %d parameters of the path are described", r, len(path))
	}
}

func TestEveryDescribedRouteAnswers(t *testing.T) {
	doc, err := description()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	for path, item := range doc.Paths.Map() {
		if path == "/v1/watch" {
			continue // it does not end; the tests TestAWatcher… ask it
		}
		path = strings.NewReplacer("{app}", "web", "{id}", "m1", "{key}", "role", "{name}", "n", "{address}", "fdaa:0:18:0:1::3").Replace(path)
		for method := range item.Operations() {
			if got := w.do(method, path, ""); got.Code == http.StatusMethodNotAllowed ||
				strings.Contains(got.Body.String(), "there is nothing at") {
				t.Errorf("%s %s: %s", method, path, shown(got))
			}
		}
	}
	if got := w.do("GET", "/v1/openapi.json", ""); got.Body.String() != string(openAPI) {
		t.Error("/v1/openapi.json is another document")
	}
}

// checkDescribed fails t if openapi.json does not allow the response to r, or if it
// does not allow a request that succeeded.
func checkDescribed(t testing.TB, r *http.Request, body string, rec *httptest.ResponseRecorder) {
	t.Helper()
	doc, err := description()
	if err != nil {
		t.Fatal(err)
	}
	_, pattern := theMux().Handler(r)
	item := doc.Paths.Map()[pattern]
	if item == nil || item.GetOperation(r.Method) == nil {
		return // no route
	}
	in := &openapi3filter.RequestValidationInput{
		Request: r, QueryParams: r.URL.Query(), PathParams: pathParams(pattern, r.URL.EscapedPath()),
		Route: &routers.Route{Spec: doc, Path: pattern, PathItem: item, Method: r.Method, Operation: item.GetOperation(r.Method)},
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, MultiError: true,
			ExcludeReadOnlyValidations: true,
		},
	}
	if rec.Code < 300 {
		r.Body = io.NopCloser(strings.NewReader(body))
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			t.Errorf("%s %s succeeded, and its description does not allow it: %v\n%s", r.Method, r.URL, err, body)
		}
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: rec.Code, Header: rec.Result().Header,
		Body: io.NopCloser(strings.NewReader(rec.Body.String())), Options: in.Options,
	}
	if rec.Body.Len() > 1<<20 {
		out.Options.ExcludeResponseBody = true // it takes long and finds nothing more
	}
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		t.Errorf("the response to %s %s is not described: %v\n%s", r.Method, r.URL, err, shown(rec))
	}
}

// theMux finds the pattern of a request.
var theMux = sync.OnceValue(func() *http.ServeMux {
	mux, seen := http.NewServeMux(), make(map[string]bool)
	for _, r := range routes {
		if !seen[r.pattern] {
			seen[r.pattern] = true
			mux.Handle(r.pattern, http.NotFoundHandler())
		}
	}
	return mux
})

// pathParams returns the parts of a path where the pattern has parameters.
func pathParams(pattern, path string) map[string]string {
	params := make(map[string]string)
	parts := strings.Split(path, "/")
	for i, name := range strings.Split(pattern, "/") {
		if name, ok := strings.CutPrefix(name, "{"); ok {
			params[strings.TrimSuffix(name, "}")] = parts[i]
		}
	}
	return params
}
