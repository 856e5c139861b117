package index

// A Small is a map that is a list while it has few keys, since most batches are one
// event: a map costs 300 octets for its first key. The zero Small is ready to use.
type Small[K comparable, V any] struct {
	list []smallEntry[K, V] // unless there is m
	m    map[K]V
	Size int // how many keys to make room for when there is to be m
}

type smallEntry[K comparable, V any] struct {
	key K
	val V
}

// maxSmall is how many keys a Small compares one by one before it makes a map.
const maxSmall = 8

// Get returns the value of key, and whether it is there.
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

// Add adds a key that is not there.
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
