package index

// A Small is a map that is a list while it has few keys: a Go map takes 300 octets for
// its first key, and most batches of events have one. The zero Small is ready to use.
type Small[K comparable, V any] struct {
	list []smallEntry[K, V] // nil if there is m
	m    map[K]V
	Size int // how many keys to make room for in m
}

type smallEntry[K comparable, V any] struct {
	key K
	val V
}

// maxSmall is how many keys a Small compares one by one before it makes a map.
const maxSmall = 8

// Get returns the value of key, and reports whether there is one.
func (f *Small[K, V]) Get(key K) (val V, ok bool) {
	if f.m != nil {
		val, ok = f.m[key]
		return val, ok
	}
	for i := range f.list {
		if f.list[i].key == key {
			return f.list[i].val, true
		}
	}
	return val, false
}

// Add adds a key that the map does not have.
func (f *Small[K, V]) Add(key K, val V) {
	if f.m == nil && len(f.list) < maxSmall {
		f.list = append(f.list, smallEntry[K, V]{key, val})
		return
	}
	if f.m == nil {
		f.m = make(map[K]V, max(f.Size, 2*maxSmall))
		for _, e := range f.list {
			f.m[e.key] = e.val
		}
		f.list = nil
	}
	f.m[key] = val
}
