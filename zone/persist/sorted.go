package persist

import "slices"

// A Sorted is a persistent sequence in ascending order without duplicates. A short
// one is one slice. A long one is cut into chunks: a change copies one chunk, and
// a commit copies the list of chunks once. The zero Sorted is empty.
//
// Its methods take a function cmp that says where an element is: it returns 0 for
// the element, a negative number for all before it, and a positive number for all
// after it.
type Sorted[T any] struct {
	short []T
	long  *chunked[T] // nil: all elements are in short
}

type chunked[T any] struct {
	edit   Edit  // the commit that made the list and may change it in place
	chunks [][]T // none is empty; the elements of a chunk never change
}

// ChunkMax is the most elements in a chunk. With 128, a change to a sequence of
// 10,000 addresses copies 4 kB.
const ChunkMax = 128

// Slice returns the Sorted with the elements of s, at most ChunkMax. It keeps s:
// the elements must be in order, and change only when the Sorted is no longer in
// use.
func Slice[T any](s []T) Sorted[T] { return Sorted[T]{short: s} }

// Empty reports whether s has no elements.
func (s Sorted[T]) Empty() bool { return len(s.short) == 0 && s.long == nil }

// Short returns all elements if they are in one slice, and reports whether they
// are. The slice never changes.
func (s Sorted[T]) Short() (elements []T, ok bool) { return s.short, s.long == nil }

// Chunk returns the i-th chunk of s; nil if s has no more than i.
func (s Sorted[T]) Chunk(i int) []T {
	switch {
	case s.long != nil && i < len(s.long.chunks):
		return s.long.chunks[i]
	case s.long == nil && i == 0:
		return s.short
	}
	return nil
}

// Chunks yields the elements in order, chunk by chunk. Callers must not change
// the chunks.
func (s Sorted[T]) Chunks(yield func([]T) bool) {
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

// Find returns the element for which cmp returns 0.
func (s Sorted[T]) Find(cmp func(T) int) (v T, ok bool) {
	chunk := s.short
	if s.long != nil {
		chunk = s.long.chunks[s.chunkOf(cmp)]
	}
	if i, ok := search(chunk, cmp); ok {
		return chunk[i], true
	}
	return v, false
}

// chunkOf returns the index of the chunk of a long sequence that the element for
// cmp belongs to: the last chunk whose first element is not after it.
func (s Sorted[T]) chunkOf(cmp func(T) int) int {
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

// search returns the index of the element for cmp, or the index at which to
// insert it.
func search[T any](chunk []T, cmp func(T) int) (i int, found bool) {
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
func (l *chunked[T]) own(e Edit) *chunked[T] {
	if l.edit == e {
		return l
	}
	return &chunked[T]{e, slices.Clone(l.chunks)}
}

// Insert returns s with v. v replaces the element for cmp, if there is one.
func (s Sorted[T]) Insert(e Edit, v T, cmp func(T) int) Sorted[T] {
	if s.long == nil {
		grown := inserted(s.short, v, cmp)
		if len(grown) <= ChunkMax {
			return Slice(grown)
		}
		return Sorted[T]{long: &chunked[T]{e, [][]T{grown[: ChunkMax/2 : ChunkMax/2], grown[ChunkMax/2:]}}}
	}
	i := s.chunkOf(cmp)
	l := s.long.own(e)
	l.chunks[i] = inserted(l.chunks[i], v, cmp)
	if c := l.chunks[i]; len(c) > ChunkMax {
		l.chunks[i] = c[: len(c)/2 : len(c)/2]
		l.chunks = slices.Insert(l.chunks, i+1, c[len(c)/2:])
	}
	return Sorted[T]{long: l}
}

// inserted returns a copy of chunk with v, without spare capacity.
func inserted[T any](chunk []T, v T, cmp func(T) int) []T {
	i, found := search(chunk, cmp)
	if found {
		c := slices.Clone(chunk)
		c[i] = v
		return c
	}
	return insertedAt(chunk, i, v)
}

// Remove returns s without the element for cmp. It returns s if there is none.
func (s Sorted[T]) Remove(e Edit, cmp func(T) int) Sorted[T] {
	if s.long == nil {
		return Slice(removed(s.short, cmp))
	}
	i := s.chunkOf(cmp)
	c := removed(s.long.chunks[i], cmp)
	if len(c) == len(s.long.chunks[i]) {
		return s
	}
	l := s.long.own(e)
	l.chunks[i] = c
	// Small neighbours are joined, so that chunks stay few.
	if i+1 < len(l.chunks) && len(c)+len(l.chunks[i+1]) <= ChunkMax/2 {
		l.chunks[i] = slices.Concat(c, l.chunks[i+1])
		l.chunks = slices.Delete(l.chunks, i+1, i+2)
	} else if len(c) == 0 {
		l.chunks = slices.Delete(l.chunks, i, i+1)
	}
	if len(l.chunks) == 1 {
		return Slice(l.chunks[0])
	}
	return Sorted[T]{long: l}
}

func removed[T any](chunk []T, cmp func(T) int) []T {
	i, found := search(chunk, cmp)
	if !found {
		return chunk
	}
	return removedAt(chunk, i)
}
