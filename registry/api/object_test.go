package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func TestOneFieldChangesAndAllOtherOctetsStay(t *testing.T) {
	for _, tt := range []struct{ object, set, dropped string }{
		{`{}`, `{"k":1}`, `{}`},
		{`{ }`, `{"k":1 }`, `{ }`},
		{"{\n}", "{\"k\":1\n}", "{\n}"},
		{`{"k":0}`, `{"k":1}`, `{}`},
		{`{ "k" : [0, {"k":2}] , "b":2}`, `{ "k" : 1 , "b":2}`, `{ "b":2}`},
		{`{"a":1.50,  "k":"k", "b" :{ } }`, `{"a":1.50,  "k":1, "b" :{ } }`, `{"a":1.50,  "b" :{ } }`},
		{`{"a":{"k":5}, "k":null }`, `{"a":{"k":5}, "k":1 }`, `{"a":{"k":5} }`},
		{`{"a":"k","b":[] }`, `{"a":"k","b":[],"k":1 }`, `{"a":"k","b":[] }`},
		{`{"\u006b":0}`, `{"\u006b":1}`, `{}`},
		{`{"a":"\ud83d\ude00","k":0}`, `{"a":"\ud83d\ude00","k":1}`, `{"a":"\ud83d\ude00"}`},
	} {
		if got := string(setField([]byte(tt.object), "k", []byte("1"))); got != tt.set {
			t.Errorf("set in %s\n got %s\nwant %s", tt.object, got, tt.set)
		}
		if got := string(dropField([]byte(tt.object), "k")); got != tt.dropped {
			t.Errorf("dropped from %s\n got %s\nwant %s", tt.object, got, tt.dropped)
		}
		if got := string(replaceField([]byte(tt.object), "absent", []byte("1"))); got != tt.object {
			t.Errorf("replaced what is not in %s: %s", tt.object, got)
		}
	}
}

// decoded is the slow twin: what an object means to encoding/json.
func decoded(t *testing.T, object []byte) map[string]any {
	t.Helper()
	var v map[string]any
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", object, err)
	}
	return v
}

// Whatever an object is, after a field is set or dropped it means the same but
// for that field.
func FuzzSetAndDropField(f *testing.F) {
	for _, seed := range []string{`{}`, ` { "a" : [1,2.0,{"k":""}] , "k" : null }`, `{"k":{"k":{}},"":"","ÿ":"\u0000"}`, "{\n\t\"k\":1,\r\n\"b\":2\n}\n"} {
		f.Add([]byte(seed), "k")
		f.Add([]byte(seed), "")
	}
	f.Fuzz(func(t *testing.T, object []byte, name string) {
		if !jsontext.Value(object).IsValid() || jsontext.Value(object).Kind() != jsontext.KindBeginObject {
			return
		}
		object = bytes.Trim(object, " \t\r\n")
		if _, err := jsontext.AppendQuote(nil, name); err != nil {
			return // no name that can come out of JSON
		}
		want := decoded(t, object)
		want[name] = json.Number("17")
		set := setField(object, name, []byte("17"))
		if got := decoded(t, set); !reflect.DeepEqual(got, want) {
			t.Errorf("set %q in %s: %s", name, object, set)
		}
		if v := field(set, name); string(v) != "17" {
			t.Errorf("field %q of %s is %s", name, set, v)
		}
		delete(want, name)
		dropped := dropField(set, name)
		if got := decoded(t, dropped); !reflect.DeepEqual(got, want) {
			t.Errorf("dropped %q from %s: %s", name, set, dropped)
		}
		if field(object, name) == nil && !bytes.Equal(dropField(object, name), object) {
			t.Errorf("dropped %q, which is not there, from %s", name, object)
		}
	})
}

// Whatever is put as a machine is refused by its faults, or comes back octet for
// octet.
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
			// What was taken can be exported and imported again.
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

// No query does anything but what it says: it is refused, or filters.
func FuzzListQuery(f *testing.F) {
	for _, seed := range []string{"", "region=ams", "state=started&state=stopped", "metadata.role=primary", "include_deleted", "network=fdaa:0:18::%2F48", "%", "ttl=1s", "metadata.=&&;"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		if bytes.ContainsAny([]byte(query), " #\r\n\x00\x7f") {
			return // not in a request line
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
