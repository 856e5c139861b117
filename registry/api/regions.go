package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/registry"
)

// A regionBody is a region as Fly's API shows it, with the fields that clients
// choose regions by.
type regionBody struct {
	Code             string  `json:"code"`
	Name             string  `json:"name"`
	Latitude         float64 `json:"latitude"`
	Longitude        float64 `json:"longitude"`
	GatewayAvailable bool    `json:"gateway_available"`
	RequiresPaidPlan bool    `json:"requires_paid_plan"`
	Deprecated       bool    `json:"deprecated"`
}

// listRegions is GET /v1/platform/regions. The nearest is that of whoever asks,
// or else the server's.
func (c *call) listRegions() error {
	all := make(map[string]registry.Region)
	for code, r := range registry.BuiltinRegions() {
		all[code] = r
	}
	for r := range c.snap.Regions() {
		all[r.Code] = *r
	}
	regions := make([]regionBody, 0, len(all))
	for _, r := range all {
		regions = append(regions, regionBody{
			Code: r.Code, Name: r.Name, Latitude: r.Latitude, Longitude: r.Longitude, GatewayAvailable: true,
		})
	}
	slices.SortFunc(regions, func(a, b regionBody) int { return strings.Compare(a.Code, b.Code) })
	return c.answer(http.StatusOK, struct {
		Regions []regionBody `json:"Regions"`
		Nearest string       `json:"Nearest"`
	}{regions, c.region()})
}
