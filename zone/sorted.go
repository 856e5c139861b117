package zone

import "slices"

// A sorted is a persistent sorted sequence without duplicates: insert and
// remove return a new one, and readers of the old one see nothing. A short one
// is one slice. A long one is cut into chunks, of which a change copies one, and
// the list of chunks, which a commit copies once.
type sorted[T any] struct {
	short []T
	long  *chunked[T] // nil: all is in short
}

type chunked[T any] struct {
	edit   edit  // the commit that made the list and may change it in place
	chunks [][]T // none empty; what is in them never changes
}

// chunkMax is the most elements in a chunk. With 128, a change to a sequence of
// 10,000 addresses copies 4 kB.
const chunkMax = 128

func (s sorted[T]) empty() bool { return len(s.short) == 0 && s.long == nil }

// chunks yields the elements in order, in slices that nobody may change.
func (s sorted[T]) chunks(yield func([]T) bool) {
	if s.long == nil {
		if len(s.short) > 0 {
			yield(s.short)
		}
		return
	}
	for _, c := range s.long.chunks {
		if !yield(c) {
			return
		}
	}
}

// find returns the element for which cmp gives 0. cmp gives a negative number
// for elements before it and a positive one for elements behind it.
func (s sorted[T]) find(cmp func(T) int) (v T, ok bool) {
	chunk := s.short
	if s.long != nil {
		chunk = s.long.chunks[s.chunkOf(cmp)]
	}
	if i, ok := search(chunk, cmp); ok {
		return chunk[i], true
	}
	return v, false
}

// chunkOf returns the chunk of a long sequence that holds what cmp looks for,
// if any does: the last that does not begin behind it.
func (s sorted[T]) chunkOf(cmp func(T) int) int {
	lo, hi := 0, len(s.long.chunks)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if cmp(s.long.chunks[mid][0]) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return max(lo-1, 0)
}

func search[T any](chunk []T, cmp func(T) int) (int, bool) {
	lo, hi := 0, len(chunk)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		c := cmp(chunk[mid])
		if c == 0 {
			return mid, true
		}
		if c < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, false
}

// own returns l if e may change it, else a copy that e may change.
func (l *chunked[T]) own(e edit) *chunked[T] {
	if l.edit == e {
		return l
	}
	return &chunked[T]{e, slices.Clone(l.chunks)}
}

// insert returns s with v, in the place of the element that cmp finds if there
// is one. Earlier results of the same commit are no longer good.
func (s sorted[T]) insert(e edit, v T, cmp func(T) int) sorted[T] {
	if s.long == nil {
		grown := inserted(s.short, v, cmp)
		if len(grown) <= chunkMax {
			return sorted[T]{short: grown}
		}
		return sorted[T]{long: &chunked[T]{e, [][]T{grown[: chunkMax/2 : chunkMax/2], grown[chunkMax/2:]}}}
	}
	i := s.chunkOf(cmp)
	l := s.long.own(e)
	l.chunks[i] = inserted(l.chunks[i], v, cmp)
	if c := l.chunks[i]; len(c) > chunkMax {
		l.chunks[i] = c[: len(c)/2 : len(c)/2]
		l.chunks = slices.Insert(l.chunks, i+1, c[len(c)/2:])
	}
	return sorted[T]{long: l}
}

// inserted returns a copy of chunk with v, without room to grow.
func inserted[T any](chunk []T, v T, cmp func(T) int) []T {
	i, found := search(chunk, cmp)
	if found {
		c := slices.Clone(chunk)
		c[i] = v
		return c
	}
	return insertedAt(chunk, i, v)
}

// remove returns s without the element that cmp finds. Earlier results of the
// same commit are no longer good.
func (s sorted[T]) remove(e edit, cmp func(T) int) sorted[T] {
	if s.long == nil {
		return sorted[T]{short: removed(s.short, cmp)}
	}
	i := s.chunkOf(cmp)
	c := removed(s.long.chunks[i], cmp)
	if len(c) == len(s.long.chunks[i]) {
		return s
	}
	l := s.long.own(e)
	l.chunks[i] = c
	// Neighbours that have shrunk are joined, so that chunks stay few.
	if i+1 < len(l.chunks) && len(c)+len(l.chunks[i+1]) <= chunkMax/2 {
		l.chunks[i] = slices.Concat(c, l.chunks[i+1])
		l.chunks = slices.Delete(l.chunks, i+1, i+2)
	} else if len(c) == 0 {
		l.chunks = slices.Delete(l.chunks, i, i+1)
	}
	if len(l.chunks) == 1 {
		return sorted[T]{short: l.chunks[0]}
	}
	return sorted[T]{long: l}
}

func removed[T any](chunk []T, cmp func(T) int) []T {
	i, found := search(chunk, cmp)
	if !found {
		return chunk
	}
	return removedAt(chunk, i)
}
