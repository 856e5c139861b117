package registry

// A few is a map that is a list while it is small, as most batches are one
// event: a map costs 300 octets for its first key. The zero few is ready to use.
type few[K comparable, V any] struct {
	list []fewEntry[K, V] // unless there is m
	m    map[K]V
	size int // how many keys to make room for when there is to be m
}

type fewEntry[K comparable, V any] struct {
	key K
	val V
}

// mostFew is how many keys are looked for by comparing them all.
const mostFew = 8

func (f *few[K, V]) get(key K) (val V, ok bool) {
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

// add adds a key that is not there.
func (f *few[K, V]) add(key K, val V) {
	if f.m == nil && len(f.list) < mostFew {
		f.list = append(f.list, fewEntry[K, V]{key, val})
		return
	}
	if f.m == nil {
		f.m = make(map[K]V, max(f.size, 2*mostFew))
		for _, e := range f.list {
			f.m[e.key] = e.val
		}
		f.list = nil
	}
	f.m[key] = val
}
