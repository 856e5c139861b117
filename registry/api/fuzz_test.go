package api

import (
	"bytes"
	"testing"
)

// Every body that is put as a machine is refused with its faults, or returned octet
// for octet.
func FuzzPutMachine(f *testing.F) {
	for _, seed := range []string{
		m1, `{"id":"m1"}`, `[]`, `{"id":"m1","state":"destroyed"}`, `{"id":"M1","state":"started","region":"AMS","private_ip":"fdaa:0:18::1:1","config":{"metadata":{"a":"b"},"dns":{"skip_registration":true}}}`,
		`{"id":"m1","id":"m1"}`, "{\"id\":\"m1\",\n\"state\":\"\\u0073topped\",\"region\":\"ams\",\"private_ip\":\"fdaa:0:18:0:0::1\",\"x\":[1e999]}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		w := newWorld(t)
		w.send("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
		_, put := w.send("PUT", "/v1/apps/web/machines/m1", body)
		_, got := w.send("GET", "/v1/apps/web/machines/m1", "")
		if put.Code == 201 {
			if want := bytes.Trim([]byte(body), " \t\r\n"); !bytes.Equal(got.Body.Bytes(), want) {
				t.Errorf("put %q, got %q", want, got.Body)
			}
			// The machine can be exported and imported again.
			_, file := w.send("GET", "/v1/export", "")
			if _, again := w.send("POST", "/v1/import", file.Body.String()); again.Code != 200 || again.Header().Get(IndexHeader) != "2" {
				t.Errorf("put %q, exported %s, imported: %s", body, file.Body, shown(again))
			}
			_, stopped := w.send("POST", "/v1/apps/web/machines/m1/stop", "")
			if m := w.store.Snapshot().Machine("m1"); m != nil && (stopped.Code != 200 || m.State != "stopped") {
				t.Errorf("put %q, stopped: %s", body, shown(stopped))
			}
			return
		}
		if put.Code/100 != 4 || got.Code != 404 || w.store.Snapshot().Index != 1 {
			t.Errorf("put %q: %s", body, shown(put))
		}
	})
}

// Every query of a list is refused, or filters.
func FuzzListQuery(f *testing.F) {
	for _, seed := range []string{"", "region=ams", "state=started&state=stopped", "metadata.role=primary", "include_deleted", "network=fdaa:0:18::%2F48", "%", "ttl=1s", "metadata.=&&;"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		if bytes.ContainsAny([]byte(query), " #\r\n\x00\x7f") {
			return // impossible in a request line
		}
		for i := range len(query) {
			if query[i] < ' ' || query[i] > '~' {
				return
			}
		}
		w := newWorld(t)
		w.send("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
		w.send("PUT", "/v1/apps/web/machines/m1", m1)
		_, got := w.send("GET", "/v1/apps/web/machines?"+query, "")
		if text := got.Body.String(); got.Code == 200 && text != "["+m1+"]\n" && text != "[]\n" {
			t.Errorf("?%s: %s", query, shown(got))
		} else if got.Code != 200 && got.Code/100 != 4 {
			t.Errorf("?%s: %s", query, shown(got))
		}
	})
}
