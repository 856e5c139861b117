package api

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// The token of acme is for acmesFacts, and not for othersFacts. Some names are in
// both.
const (
	acmesFacts = `{"name":"web","network":"fdaa:0:18::/48","flycast":["fdaa:0:18:0:1::3"],"machines":[` +
		`{"id":"m1","state":"started","region":"ams","private_ip":"fdaa:0:18::1:1"},{"id":"m2","state":"destroyed"}]}`
	othersFacts = `{"name":"web","network":"fdaa:0:33::/48","flycast":["fdaa:0:33:0:1::3"],"machines":[` +
		`{"id":"m3","state":"started","region":"ams","private_ip":"fdaa:0:33::1:1"}]},` +
		`{"name":"vault","network":"fdaa:0:34::/48","machines":[{"id":"m4","state":"stopped","region":"ams","private_ip":"fdaa:0:34::1:1"},{"id":"m5","state":"destroyed"}]}`
)

// Every response to a token for one network is the same, octet for octet, whether
// other networks have facts or not.
func TestATokenCannotFindOutWhatOtherNetworksHave(t *testing.T) {
	alone, among := newWorld(t), newWorld(t)
	const file = `{"apps":[%s],"peers":[{"name":"laptop","address":"fdaa:0:18::9"}%s],"networks":[{"name":"acme","prefix":"fdaa:0:18::/48"}%s]}`
	alone.do("POST", "/v1/import", fmt.Sprintf(file, acmesFacts, "", ""))
	among.do("POST", "/v1/import", fmt.Sprintf(file, acmesFacts+","+othersFacts,
		`,{"name":"laptop","address":"fdaa:0:33::9"},{"name":"desk","address":"fdaa:0:34::9"}`, `,{"name":"secret","prefix":"fdaa:0:33::/48"}`))

	// Times and random values differ anyway.
	random := regexp.MustCompile(`"created_at":\d+|T\d\d:\d\d:\d\dZ|"(id|name)":"[0-9a-f]{14}"|fdaa:0:18:[0-9a-f:]+:2"|"instance_id":"\w+"|"timestamp":\d+`)
	asked := 0
	ask := func(method, path, body string, header ...string) {
		t.Helper()
		asked++
		var answers [2]string
		for i, w := range []*world{alone, among} {
			_, rec := w.send(method, path, body, append(header, "Authorization: Bearer "+secretAcme)...)
			rec.Header().Del("Content-Length") // it counts the values that are cut out below
			answers[i] = random.ReplaceAllString(shown(rec), "")
		}
		if answers[0] != answers[1] {
			t.Errorf("%s %s %s %v\nalone: %s\namong others: %s", method, path, body, header, answers[0], answers[1])
		}
	}
	bodies := []string{
		"", `{"config":{}}`, `{"value":"x"}`, `{"address":"fdaa:0:33::9"}`, `{"address":"fdaa:0:34::77"}`, `{"prefix":"fdaa:0:33::/48"}`,
		`{"network":"secret"}`, `{"network":"fdaa:0:33::/48"}`, `{"name":"web"}`, `{"name":"vault","network":"secret"}`, `{"name":"vault","network":"fdaa:0:34::/48"}`,
		`{"id":"m9","state":"started","region":"ams","private_ip":"fdaa:0:33::1:1"}`,
		`{"apps":[` + othersFacts + `]}`, `{"apps":[` + acmesFacts + `]}`,
		`{"apps":[],"peers":[{"name":"desk","address":"fdaa:0:34::9"}]}`, `{"apps":[{"name":"x","network":"fdaa:0:18::/48","flycast":["fdaa:0:33:0:1::3"]}]}`,
	}
	names := strings.NewReplacer("{app}", "%[1]s", "{id}", "%[2]s", "{name}", "%[3]s", "{address}", "%[4]s", "{key}", "role")
	for i := range routes {
		r := &routes[i]
		if r.pattern == "/v1/watch" || r.pattern == "/v1/openapi.json" || strings.HasSuffix(r.pattern, "/wait") {
			continue // see TestAWatcherSeesItsNetworksOnly; the same for all clients; a wait takes a minute
		}
		for _, tt := range [][4]string{
			{"web", "m3", "laptop", "fdaa:0:33:0:1::3"}, {"vault", "m4", "desk", "fdaa:0:33:0:1::3"}, {"vault", "m5", "secret", "fdaa:0:34:0:1::3"},
			{"web", "m4", "fdaa:0:33::%%2F48", "fdaa:0:33::1:1"}, {"web", "m5", "nobody", "fdaa:0:18:0:1::3"},
		} {
			path := names.Replace(r.pattern)
			path = strings.NewReplacer("%[1]s", tt[0], "%[2]s", tt[1], "%[3]s", strings.ReplaceAll(tt[2], "%%", "%"), "%[4]s", tt[3]).Replace(path)
			for _, query := range []string{"", "?network=secret", "?network=fdaa:0:33::/48", "?force=true", "?dry_run=true"} {
				for i, body := range bodies {
					if body != "" && (r.method == "GET" || query != "" && i%6 != len(query)%6) {
						continue
					}
					ask(r.method, path+query, body)
				}
			}
			ask(r.method, path, "", "If-Match: 1")
			ask(r.method, path, bodies[3], "If-None-Match: *")
		}
	}
	t.Logf("%d requests", asked)
	for _, n := range []string{"fdaa:0:33::/48", "fdaa:0:34::/48"} {
		_, rec := among.send("GET", "/v1/apps?network="+n, "")
		if !strings.Contains(rec.Body.String(), `"machine_count":1`) {
			t.Errorf("%s was changed: %s", n, rec.Body)
		}
	}
	_, rec := among.send("GET", "/v1/networks", "")
	if !strings.Contains(rec.Body.String(), `"name":"secret","prefix":"fdaa:0:33::/48","index":1`) ||
		!strings.Contains(rec.Body.String(), `"prefix":"fdaa:0:34::/48","index":1`) {
		t.Errorf("other networks were changed: %s", rec.Body)
	}
}
