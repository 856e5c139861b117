package format

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
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
		before := []byte(tt.object)
		o := parsed(t, before)
		o.Drop("absent")
		if got := string(o.JSON()); got != tt.object {
			t.Errorf("dropped an absent member from %s: %s", tt.object, got)
		}
		o.Set("k", []byte("1"))
		if got := string(o.JSON()); got != tt.set {
			t.Errorf("set in %s\n got %s\nwant %s", tt.object, got, tt.set)
		}
		o = parsed(t, before)
		o.Drop("k")
		if got := string(o.JSON()); got != tt.dropped {
			t.Errorf("dropped from %s\n got %s\nwant %s", tt.object, got, tt.dropped)
		}
		if string(before) != tt.object {
			t.Errorf("the octets that were parsed have changed from %s to %s", tt.object, before)
		}
	}
}

func TestAKeyThatIsGivenTwiceIsNamedLikeOtherFields(t *testing.T) {
	for object, want := range map[string]string{
		`{"a":1,"a":2}`:                       "a: the key is given twice",
		`{"a":{"b/c":1,"b/c":2}}`:             "a.b/c: the key is given twice",
		`{"a":{"checks":[{},{"b":1,"b":2}]}}`: "a.checks[1].b: the key is given twice",
	} {
		if _, err := ParseObject([]byte(object)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", object, err, want)
		}
	}
}

// After many changes, the positions of members are those that parsing the octets
// finds.
func TestChangesMoveTheMembersAfterThem(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	names, values := []string{"a", "bb", "é\"", ""}, []string{"1", `"text"`, `{ "a" : [ ] }`, "null"}
	for range 200 {
		o := parsed(t, []byte(` { "a" : 1 , "x":{"y":[2]},"bb" :3 } `)[1:])
		for range 20 {
			name := names[r.IntN(len(names))]
			if r.IntN(3) == 0 {
				o.Drop(name)
			} else {
				o.Set(name, []byte(values[r.IntN(len(values))]))
			}
			again := parsed(t, o.JSON())
			if !slices.Equal(o.members, again.members) {
				t.Fatalf("%s: the members are at %v, want %v", o.JSON(), o.members, again.members)
			}
		}
	}
}

func parsed(t *testing.T, octets []byte) *Object {
	t.Helper()
	o, err := ParseObject(octets)
	if err != nil {
		t.Fatalf("%s: %v", octets, err)
	}
	return o
}

// meaning is the slow twin: what an object means to encoding/json.
func meaning(t *testing.T, object []byte) map[string]any {
	t.Helper()
	var v map[string]any
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", object, err)
	}
	return v
}

// After a member is set or dropped, all other members mean what they meant.
func FuzzSetAndDropField(f *testing.F) {
	for _, seed := range []string{`{}`, ` { "a" : [1,2.0,{"k":""}] , "k" : null }`, `{"k":{"k":{}},"":"","ÿ":"\u0000"}`, "{\n\t\"k\":1,\r\n\"b\":2\n}\n"} {
		f.Add([]byte(seed), "k")
		f.Add([]byte(seed), "")
	}
	f.Fuzz(func(t *testing.T, object []byte, name string) {
		valid := jsontext.Value(object).IsValid() && jsontext.Value(object).Kind() == jsontext.KindBeginObject
		if _, err := ParseObject(object); (err == nil) != valid {
			t.Errorf("%q: parsed with error %v, want an object: %v", object, err, valid)
		}
		if !valid {
			return
		}
		object = bytes.Trim(object, " \t\r\n")
		if _, err := jsontext.AppendQuote(nil, name); err != nil {
			return // JSON cannot have this name
		}
		want := meaning(t, object)
		want[name] = json.Number("17")
		o := parsed(t, object)
		o.Set(name, []byte("17"))
		set := o.JSON()
		if got := meaning(t, set); !reflect.DeepEqual(got, want) {
			t.Errorf("set %q in %s: %s", name, object, set)
		}
		if v := o.Value(name); string(v) != "17" {
			t.Errorf("member %q of %s is %s", name, set, v)
		}
		delete(want, name)
		o.Drop(name)
		dropped := o.JSON()
		if got := meaning(t, dropped); !reflect.DeepEqual(got, want) {
			t.Errorf("dropped %q from %s: %s", name, set, dropped)
		}
		if o := parsed(t, object); o.Value(name) == nil {
			if o.Drop(name); !bytes.Equal(o.JSON(), object) {
				t.Errorf("dropped %q, which is not there, from %s", name, object)
			}
		}
	})
}
