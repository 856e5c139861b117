package api

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// A list with any combination of filters has the machines that a look at each
// object of the whole list selects, in the same order.
func TestAListHasTheMachinesThatItsFiltersSelect(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	w.do("POST", "/v1/apps", `{"name":"db","network":"fdaa:0:18::/48"}`)
	random := rand.New(rand.NewPCG(7, 7))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	for i := range 120 {
		id, metadata := fmt.Sprintf("m%d", i), []string{}
		for _, key := range []string{"fly_process_group", "process_group", "role", "Role"} {
			if random.IntN(2) == 0 {
				metadata = append(metadata, fmt.Sprintf("%q:%q", key, pick("app", "APP", "worker", "")))
			}
		}
		path := "/v1/apps/" + pick("web", "web", "db") + "/machines/" + id
		got := w.do("PUT", path, fmt.Sprintf(`{"id":%q,"state":%q,"region":%q,"private_ip":"fdaa:0:18::%x:1","config":{"metadata":{%s}}}`,
			id, pick("started", "stopped"), pick("ams", "fra", "iad"), i+1, strings.Join(metadata, ",")))
		if got.Code != 201 {
			t.Fatal(shown(got))
		}
		if random.IntN(5) == 0 {
			w.do("DELETE", path, "")
		}
	}

	type machine struct {
		ID, State, Region string
		Config            struct{ Metadata map[string]string }
	}
	list := func(query string) (all []machine) {
		got := w.do("GET", "/v1/apps/web/machines"+query, "")
		if err := json.Unmarshal(got.Body.Bytes(), &all); err != nil {
			t.Fatalf("%s: %s", query, shown(got))
		}
		return all
	}
	all := list("?include_deleted=true")
	for range 300 {
		query := url.Values{}
		maybe := func(name string, from ...string) (values []string) {
			for len(values) < 2 && random.IntN(2) == 0 {
				values = append(values, pick(from...))
			}
			if values != nil {
				query.Set(name, strings.Join(values, ","))
			}
			return values
		}
		regions := maybe("region", "ams", "AMS", "fra", "xyz")
		groups := maybe("process_group", "app", "App", "worker", "none")
		states := maybe("state", "started", "destroyed", "stopped")
		deleted := maybe("include_deleted", "true")
		pairs := map[string]string{}
		for _, key := range []string{"role", "Role", "process_group", "absent"} {
			if random.IntN(4) == 0 {
				pairs[key] = pick("app", "APP", "")
				query.Set("metadata."+key, pairs[key])
			}
		}
		if len(deleted) > 1 {
			query.Set("include_deleted", "true")
		}
		want := slices.DeleteFunc(slices.Clone(all), func(m machine) bool {
			named := func(names []string, is string) bool {
				return len(names) == 0 || slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, is) })
			}
			group := m.Config.Metadata["fly_process_group"]
			if group == "" {
				group = m.Config.Metadata["process_group"]
			}
			for key, value := range pairs {
				if got, has := m.Config.Metadata[key]; !has || got != value {
					return true
				}
			}
			gone := m.State == "destroyed" && deleted == nil && states == nil
			return gone || !named(regions, m.Region) || !named(groups, group) || !named(states, m.State)
		})
		ids := func(list []machine) (ids []string) {
			for _, m := range list {
				ids = append(ids, m.ID)
			}
			return ids
		}
		if got := list("?" + query.Encode()); !slices.Equal(ids(got), ids(want)) {
			t.Fatalf("?%s\n got %v\nwant %v", query.Encode(), ids(got), ids(want))
		}
	}
}

// A parameter of this server alone is refused where it would have no effect, and
// where it is given twice.
func TestAProcessGroupIsRefusedWhereItHasNoEffect(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	w.do("PUT", "/v1/apps/web/machines/m1", m1)
	for _, target := range []string{"/v1/apps?process_group=app", "/v1/apps/web/machines/m1?process_group=app", "/v1/apps/web/machines?process_group=a&process_group=b"} {
		if got := w.do("GET", target, ""); got.Code != 400 || !strings.Contains(got.Body.String(), "process_group") {
			t.Errorf("%s: %s", target, shown(got))
		}
	}
}
