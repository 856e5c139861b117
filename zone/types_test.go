package zone

import (
	"reflect"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/zone/persist"
)

// From a View no path leads to the facts of another network: neither through fields, however
// deep, nor through methods of other packages that package zone can call on them.
func TestViewHasNoPathToOtherNetworks(t *testing.T) {
	const module = "github.com/internaldns/internaldns/"
	containers := map[reflect.Type]reflect.Type{ // and the type of their elements
		reflect.TypeFor[persist.Trie[*app]]():        reflect.TypeFor[*app](),
		reflect.TypeFor[persist.Trie[*named]]():      reflect.TypeFor[*named](),
		reflect.TypeFor[persist.Trie[*peer]]():       reflect.TypeFor[*peer](),
		reflect.TypeFor[persist.Trie[*flycastApp]](): reflect.TypeFor[*flycastApp](),
		reflect.TypeFor[persist.Trie[*block]]():      reflect.TypeFor[*block](),
		reflect.TypeFor[persist.Sorted[address]]():   reflect.TypeFor[address](),
		reflect.TypeFor[persist.Sorted[vm]]():        reflect.TypeFor[vm](),
		reflect.TypeFor[persist.Sorted[holder]]():    reflect.TypeFor[holder](),
		reflect.TypeFor[persist.Edit]():              reflect.TypeFor[uint64](),
	}
	forbidden := []string{"zone.Table", "zone.Publisher", "zone.commit", "[]zone.Client", "registry.Snapshot", "registry.Store", "registry.Tx",
		"registry.Changes", "registry.Flycast", "persist.Trie[*" + module + "zone.view]", "persist.Trie[*zone.view]"}
	seen := make(map[reflect.Type]bool)
	var walk func(at reflect.Type, path string)
	walk = func(at reflect.Type, path string) {
		if seen[at] {
			return
		}
		seen[at] = true
		path += " " + at.String()
		for _, name := range forbidden {
			if strings.Contains(at.String(), name) {
				t.Errorf("a View leads to %s:%s", name, path)
				return
			}
		}
		if element, ok := containers[at]; ok {
			walk(element, path)
			return
		}
		if at.PkgPath() == module+"zone/persist" {
			t.Errorf("a View leads to a container of unknown elements:%s", path)
		}
		ours := at.PkgPath() == "" || strings.HasPrefix(at.PkgPath(), module)
		for i := range at.NumMethod() { // of registry, by which its hidden fields can be read
			if strings.HasPrefix(at.PkgPath(), module+"registry") || at.Kind() == reflect.Pointer && strings.HasPrefix(at.Elem().PkgPath(), module+"registry") {
				walk(at.Method(i).Type, path+"."+at.Method(i).Name)
			}
		}
		switch at.Kind() {
		case reflect.UnsafePointer:
			t.Errorf("a View leads to an untyped pointer:%s", path)
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Chan:
			walk(at.Elem(), path)
		case reflect.Map:
			walk(at.Key(), path)
			walk(at.Elem(), path)
		case reflect.Func:
			for i := range at.NumIn() {
				walk(at.In(i), path)
			}
			for i := range at.NumOut() {
				walk(at.Out(i), path)
			}
		case reflect.Struct:
			for i := range at.NumField() {
				f := at.Field(i)
				if ours && (f.IsExported() || at.PkgPath() == strings.TrimSuffix(module+"zone", "/")) {
					walk(f.Type, path+"."+f.Name)
				}
			}
		}
	}
	walk(reflect.TypeFor[View](), "")
	if !seen[reflect.TypeFor[*app]()] || !seen[reflect.TypeFor[*named]()] || !seen[reflect.TypeFor[*geography]()] {
		t.Error("the walk did not reach an app, a name below it and the geography: it tests too little")
	}
}
