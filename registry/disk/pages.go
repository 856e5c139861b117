package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// What follows reads bbolt's file format, page by page, with everything checked
// that bbolt takes for granted: it maps the file into memory and follows what it
// finds there, so that a damaged page or one that cannot be read ends the
// process. A file is given to bbolt after it was read here.
//
//	file    meta, meta, then pages of all kinds; numbers are as the processor has them
//	page    id 8, flags 2, count 2, overflow 4 (further pages that belong to it), elements
//	meta    magic 4, version 4, page size 4, flags 4, root 8, sequence 8, freelist 8, end 8, transaction 8, FNV-1a 8
//	branch  elements of position 4, key length 4, page 8; positions count from the element
//	leaf    elements of flags 4, position 4, key length 4, value length 4
//	bucket  a value in the root's leaves: page 8, sequence 8; page 0: a leaf page follows
const (
	pageHeader = 16
	pageMeta   = 64 // without the header
	element    = 16

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagMeta     = 0x04
	flagFreelist = 0x10

	flagBucket = 0x01 // of an element

	boltMagic   = 0xed0cdaed
	boltVersion = 2

	// pageSize is that of all files that we make. bbolt would take that of the
	// system, and a file could not be moved to one that has larger pages.
	pageSize = 4096

	// maxOverflow bounds what is read at once, to 1 GiB.
	maxOverflow = 1<<30/pageSize - 1
)

var native = binary.NativeEndian

// A boltMeta says where things are in a file.
type boltMeta struct {
	root, freelist, end, txid uint64
}

// pages reads the pages of a file.
type pages struct {
	file io.ReaderAt
	boltMeta
	seen []uint64 // a bit for each page that is in use or free
	// goOn is told of damage, and says whether to read what is beside it.
	goOn func(error) bool
}

// openPages reads the meta pages. Beside a metaError it returns what the other
// page leads to.
func openPages(file io.ReaderAt, size int64) (*pages, error) {
	if size == 0 {
		return nil, errors.New("the file is empty")
	}
	var metas [2]boltMeta
	var errs [2]error
	for i := range metas {
		metas[i], errs[i] = readMeta(file, i)
	}
	p := &pages{file: file, boltMeta: metas[0], goOn: func(error) bool { return false }}
	switch {
	case errs[0] != nil && errs[1] != nil:
		return nil, fmt.Errorf("this is no database, or its beginning is lost: %w", errs[0])
	case errs[0] != nil:
		p.boltMeta = metas[1]
	case errs[1] == nil && metas[1].txid > metas[0].txid:
		p.boltMeta = metas[1]
	}
	if p.end < 4 || p.end > uint64(size)/pageSize {
		return nil, fmt.Errorf("the file is cut off: it has %d octets, and should have at least %d pages of %d", size, p.end, pageSize)
	}
	p.seen = make([]uint64, p.end/64+1)
	for i, err := range errs {
		if err != nil {
			return p, &metaError{i, err}
		}
	}
	return p, nil
}

// A metaError says that one of the two meta pages is damaged. What the other one
// leads to is whole, but may be one write old: nothing tells a damaged page of
// the last write from one of a write that was never finished.
type metaError struct {
	page int
	err  error
}

func (e *metaError) Error() string {
	return fmt.Sprintf("meta page %d is damaged: %v; without it the last write may be missing (internaldns data compact goes on without it)", e.page, e.err)
}

func readMeta(file io.ReaderAt, i int) (m boltMeta, err error) {
	b := make([]byte, pageHeader+pageMeta)
	if _, err := file.ReadAt(b, int64(i)*pageSize); err != nil {
		return m, err
	}
	if flags := native.Uint16(b[8:]); native.Uint64(b) != uint64(i) || flags != flagMeta {
		return m, errors.New("it is another page")
	}
	b = b[pageHeader:]
	switch sum := fnv.New64a(); {
	case native.Uint32(b) != boltMagic:
		return m, errors.New("it does not begin like one")
	case native.Uint32(b[4:]) != boltVersion:
		return m, fmt.Errorf("it is of bbolt's format %d, want %d", native.Uint32(b[4:]), boltVersion)
	default:
		sum.Write(b[:56])
		if sum.Sum64() != native.Uint64(b[56:]) {
			return m, errors.New("its checksum is wrong")
		}
	}
	if size := native.Uint32(b[8:]); size != pageSize {
		return m, fmt.Errorf("pages have %d octets, want %d", size, pageSize)
	}
	return boltMeta{
		root: native.Uint64(b[16:]), freelist: native.Uint64(b[32:]),
		end: native.Uint64(b[40:]), txid: native.Uint64(b[48:]),
	}, nil
}

// use notes that a page is in use or free, which it can be once.
func (p *pages) use(id uint64) error {
	switch {
	case id < 2 || id >= p.end:
		return fmt.Errorf("page %d is not in the file", id)
	case p.seen[id/64]&(1<<(id%64)) != 0:
		return fmt.Errorf("page %d is used twice", id)
	}
	p.seen[id/64] |= 1 << (id % 64)
	return nil
}

// page reads a page with those that belong to it.
func (p *pages) page(id uint64) ([]byte, error) {
	if err := p.use(id); err != nil {
		return nil, err
	}
	b := make([]byte, pageSize)
	if _, err := p.file.ReadAt(b, int64(id)*pageSize); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	if got := native.Uint64(b); got != id {
		return nil, fmt.Errorf("page %d says that it is page %d", id, got)
	}
	more := uint64(native.Uint32(b[12:]))
	if more > maxOverflow {
		return nil, fmt.Errorf("page %d says that %d more belong to it", id, more)
	}
	for i := range more {
		if err := p.use(id + 1 + i); err != nil {
			return nil, err
		}
	}
	if more > 0 {
		b = append(b, make([]byte, more*pageSize)...)
		if _, err := p.file.ReadAt(b[pageSize:], int64(id+1)*pageSize); err != nil {
			return nil, fmt.Errorf("read page %d: %w", id, err)
		}
	}
	return b, nil
}

// walk calls leaf for the leaf pages below page id, in the order of their keys,
// which must be from from and, unless it is nil, below to.
func (p *pages) walk(id uint64, from, to []byte, leaf func(page []byte) error) error {
	b, err := p.page(id)
	if err != nil {
		return err
	}
	if native.Uint16(b[8:]) == flagLeaf {
		if err := inRange(b, from, to); err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		return leaf(b)
	}
	type child struct {
		key []byte
		id  uint64
	}
	var children []child
	for key, e := range elements(b, flagBranch, &err) {
		children = append(children, child{key, native.Uint64(b[e+8:])})
	}
	if err == nil && len(children) == 0 {
		err = errors.New("there is nothing in it")
	}
	if err == nil {
		err = inRange(b, from, to)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	for i, c := range children {
		end := to
		if i+1 < len(children) {
			end = children[i+1].key
		}
		if err := p.walk(c.id, c.key, end, leaf); err != nil && !p.goOn(err) {
			return err
		}
	}
	return nil
}

// inRange checks the first and the last key of a page. That they ascend is
// checked by elements.
func inRange(b, from, to []byte) error {
	var err error
	n := 0
	var last []byte
	for key := range elements(b, native.Uint16(b[8:]), &err) {
		if n == 0 && bytes.Compare(key, from) < 0 {
			return errOrder
		}
		n, last = n+1, key
	}
	if err == nil && n > 0 && to != nil && bytes.Compare(last, to) >= 0 {
		return errOrder
	}
	return err
}

var errOrder = errors.New("its keys are not in order")

// elements yields the keys of a page of that kind and where their elements
// begin. It ends with an error in err if the page is not as it should be.
func elements(b []byte, kind uint16, err *error) func(func(key []byte, at int) bool) {
	return func(yield func([]byte, int) bool) {
		if flags := native.Uint16(b[8:]); flags != kind || kind != flagLeaf && kind != flagBranch {
			*err = fmt.Errorf("it is of another kind, %#x", flags)
			return
		}
		count := int(native.Uint16(b[10:]))
		if pageHeader+count*element > len(b) {
			*err = errors.New("it says that it holds more than it can")
			return
		}
		var last []byte
		for i := range count {
			at := pageHeader + i*element
			position, length := uint64(native.Uint32(b[at:])), uint64(native.Uint32(b[at+4:]))
			size := length // of key and value
			if kind == flagLeaf {
				position, length = uint64(native.Uint32(b[at+4:])), uint64(native.Uint32(b[at+8:]))
				size = length + uint64(native.Uint32(b[at+12:]))
			}
			start := uint64(at) + position
			if start < uint64(pageHeader+count*element) || start+size > uint64(len(b)) {
				*err = errors.New("something in it lies outside of it")
				return
			}
			key := b[start : start+length]
			if i > 0 && bytes.Compare(last, key) >= 0 {
				*err = errOrder
				return
			}
			if last = key; !yield(key, at) {
				return
			}
		}
	}
}

// value returns the value of the leaf element at, whose bounds elements checked,
// and its flags.
func value(b []byte, at int) (v []byte, flags uint32) {
	start := at + int(native.Uint32(b[at+4:])) + int(native.Uint32(b[at+8:]))
	return b[start : start+int(native.Uint32(b[at+12:]))], native.Uint32(b[at:])
}

// buckets calls leaf for the leaf pages of every bucket that is wanted, buckets
// and pages in the order of their names and keys.
func (p *pages) buckets(wanted func(bucket string) bool, leaf func(bucket string, page []byte) error) error {
	return p.walk(p.root, nil, nil, func(b []byte) error {
		var err error
		for name, at := range elements(b, flagLeaf, &err) {
			bucket := string(name)
			v, flags := value(b, at)
			if flags != flagBucket || len(v) < 16 {
				return fmt.Errorf("%q is no bucket", bucket)
			}
			if !wanted(bucket) {
				continue
			}
			if err := p.bucket(v, func(b []byte) error { return leaf(bucket, b) }); err != nil {
				if err = fmt.Errorf("bucket %s: %w", bucket, err); !p.goOn(err) {
					return err
				}
			}
		}
		return err
	})
}

// bucket calls leaf for the leaf pages of a bucket, whose value in the root is v.
func (p *pages) bucket(v []byte, leaf func(page []byte) error) error {
	if root := native.Uint64(v); root != 0 {
		return p.walk(root, nil, nil, leaf)
	}
	inline := v[16:]
	if len(inline) < pageHeader {
		return errors.New("it is cut off")
	}
	if native.Uint16(inline[8:]) != flagLeaf {
		return errors.New("it is of another kind")
	}
	if err := inRange(inline, nil, nil); err != nil {
		return err
	}
	return leaf(inline)
}

// free reads the list of free pages, after all buckets: each page is used or
// free.
func (p *pages) free() error {
	b, err := p.page(p.freelist)
	if err != nil {
		return fmt.Errorf("list of free pages: %w", err)
	}
	if flags := native.Uint16(b[8:]); flags != flagFreelist {
		return fmt.Errorf("list of free pages: page %d is of another kind, %#x", p.freelist, flags)
	}
	count, at := uint64(native.Uint16(b[10:])), pageHeader
	if count == 0xffff { // stands in the first place then
		count, at = native.Uint64(b[at:]), at+8
	}
	if count > uint64(len(b)-at)/8 {
		return errors.New("list of free pages: it says that it holds more than it can")
	}
	for i := range int(count) {
		if err := p.use(native.Uint64(b[at+8*i:])); err != nil {
			return fmt.Errorf("list of free pages: %w", err)
		}
	}
	for id := uint64(2); id < p.end; id++ {
		if p.use(id) == nil {
			return fmt.Errorf("list of free pages: page %d is neither used nor in it", id)
		}
	}
	return nil
}
