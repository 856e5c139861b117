package api

import (
	_ "embed"
	"net/http"
)

// openAPI describes the routes for programs (OpenAPI 3.1). TestOpenAPI… hold it
// to what the routes are, and to what they answer in all other tests.
//
//go:embed openapi.json
var openAPI []byte

// describe is GET /v1/openapi.json.
func (c *call) describe() error {
	c.send(http.StatusOK, openAPI)
	return nil
}
