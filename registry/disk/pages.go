package disk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// This file reads bbolt's file format. bbolt maps its file into memory and trusts
// it; doc.go says what damage gets through bbolt and the checksums of records.
//
//	file    meta, meta, then pages of all kinds; numbers are in the processor's byte order
//	page    id 8, kind 2, count of elements 2, count of further pages that belong to it 4, elements
//	meta    magic 4, version 4, page size 4, flags 4, root 8, sequence 8, list of free pages 8, end 8, transaction 8, FNV-1a 8
//	branch  elements of position 4, key length 4, page 8; a position counts from its element
//	leaf    elements of flags 4, position 4, key length 4, value length 4
//	bucket  a value in the root's leaves: page 8, sequence 8; if page is 0, a leaf page follows
//	free    page ids of 8; if the count is 0xffff, the real count comes first
const (
	pageHeader  = 16
	metaLen     = 64 // without the page header
	elementLen  = 16
	bucketLen   = 16
	kindBranch  = 0x01
	kindLeaf    = 0x02
	kindMeta    = 0x04
	kindFree    = 0x10
	boltMagic   = 0xed0cdaed
	boltVersion = 2

	// pageSize is the page size of all our files, in octets. bbolt's default is that
	// of the system, and a file could not be moved to a system with larger pages.
	pageSize = 4096
)

var native = binary.NativeEndian

// pages reads the pages of a file, and checks that each is in use once or free.
type pages struct {
	file io.ReaderAt
	boltMeta
	used   []bool // by page id
	faults Faults // damage beside which reading went on
}

// A boltMeta says where things are in a file. All but txid are page ids; end is
// the first that is not in the file.
type boltMeta struct {
	root, free, end, txid uint64
}

// damaged returns an error about what is in the file.
func damaged(format string, args ...any) error { return Faults{fmt.Sprintf(format, args...)} }

// openPages reads the meta pages. If one of the two is damaged it returns an error, and
// also the pages that the other one leads to. They are whole, but may be one write old:
// the damaged page can be that of the last write, or that of a write that was never
// finished.
func openPages(file io.ReaderAt, size int64) (*pages, error) {
	if size == 0 {
		return nil, damaged("the file is empty")
	}
	p := &pages{file: file}
	var lost [2]error
	for i := range lost {
		m, err := readMeta(file, i)
		switch {
		case isDamage(err):
			lost[i] = err
		case err != nil:
			return nil, err
		case m.txid >= p.txid:
			p.boltMeta = m
		}
	}
	if lost[0] != nil && lost[1] != nil {
		return nil, damaged("this is no database, or its beginning is lost: %v", lost[0])
	}
	if p.end < 4 || p.end > uint64(size)/pageSize {
		return nil, damaged("the file is cut off: it has %d octets, and should have at least %d pages of %d", size, p.end, pageSize)
	}
	p.used = make([]bool, p.end)
	for i, err := range lost {
		if err != nil {
			return p, damaged("meta page %d is damaged: %v; without it the last write may be missing (internaldns data compact goes on without it)", i, err)
		}
	}
	return p, nil
}

func readMeta(file io.ReaderAt, i int) (m boltMeta, err error) {
	b := make([]byte, pageHeader+metaLen)
	if _, err := file.ReadAt(b, int64(i)*pageSize); err == io.EOF {
		return m, damaged("it is cut off")
	} else if err != nil {
		return m, err
	}
	if kind := native.Uint16(b[8:]); native.Uint64(b) != uint64(i) || kind != kindMeta {
		return m, damaged("it is another page")
	}
	b = b[pageHeader:]
	sum := fnv.New64a()
	sum.Write(b[:metaLen-8])
	switch size := native.Uint32(b[8:]); {
	case native.Uint32(b) != boltMagic:
		return m, damaged("its magic number is wrong")
	case native.Uint32(b[4:]) != boltVersion:
		return m, damaged("it is of bbolt's format %d, want %d", native.Uint32(b[4:]), boltVersion)
	case sum.Sum64() != native.Uint64(b[metaLen-8:]):
		return m, damaged("its checksum is wrong")
	case size != pageSize:
		return m, damaged("pages have %d octets, want %d", size, pageSize)
	}
	return boltMeta{
		root: native.Uint64(b[16:]), free: native.Uint64(b[32:]),
		end: native.Uint64(b[40:]), txid: native.Uint64(b[48:]),
	}, nil
}

// use notes that a page is in use, or free.
func (p *pages) use(id uint64) error {
	if id < 2 || id >= p.end {
		return damaged("page %d is not in the file", id)
	}
	if p.used[id] {
		return damaged("page %d is used twice", id)
	}
	p.used[id] = true
	return nil
}

// page reads a page with the further pages that belong to it.
func (p *pages) page(id uint64) ([]byte, error) {
	if err := p.use(id); err != nil {
		return nil, err
	}
	b := make([]byte, pageSize)
	if _, err := p.file.ReadAt(b, int64(id)*pageSize); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	if got := native.Uint64(b); got != id {
		return nil, damaged("page %d has the id of page %d", id, got)
	}
	further := uint64(native.Uint32(b[12:]))
	for i := range further { // ends at the end of the file
		if err := p.use(id + 1 + i); err != nil {
			return nil, err
		}
	}
	if further > 0 {
		b = append(b, make([]byte, further*pageSize)...)
		if _, err := p.file.ReadAt(b[pageSize:], int64(id+1)*pageSize); err != nil {
			return nil, fmt.Errorf("read page %d: %w", id, err)
		}
	}
	return b, nil
}

// An element is an entry of a branch page or a leaf page.
type element struct {
	key, value []byte // a branch has no values
	flags      uint32 // in a leaf: 0 for a record, 1 for a bucket
	child      uint64 // in a branch: the page with the keys from key on
}

// elements returns the entries of page b. Their keys must ascend, be at least
// from, and, unless to is nil, below to.
func elements(b []byte, from, to []byte) ([]element, error) {
	kind, count := native.Uint16(b[8:]), native.Uint16(b[10:])
	if kind != kindLeaf && kind != kindBranch {
		return nil, damaged("it is of another kind, %#x", kind)
	}
	head := pageHeader + uint64(count)*elementLen
	if head > uint64(len(b)) {
		return nil, damaged("its elements do not fit into it")
	}
	list := make([]element, count)
	for i := range list {
		e, at := &list[i], uint64(pageHeader+i*elementLen)
		field := func(n uint64) uint64 { return uint64(native.Uint32(b[at+4*n:])) }
		position, length, value := field(0), field(1), uint64(0)
		if kind == kindLeaf {
			e.flags = uint32(field(0))
			position, length, value = field(1), field(2), field(3)
		} else {
			e.child = native.Uint64(b[at+8:])
		}
		start := at + position
		if start < head || length == 0 || start+length+value > uint64(len(b)) {
			return nil, damaged("an element of it lies outside of it")
		}
		e.key, e.value = b[start:start+length], b[start+length:start+length+value]
		if order := bytes.Compare(e.key, from); order < 0 || order == 0 && i > 0 || to != nil && bytes.Compare(e.key, to) >= 0 {
			return nil, damaged("its keys are not in order")
		}
		from = e.key
	}
	return list, nil
}

// walk calls leaf for the elements of each leaf page below page id, in the order
// of their keys, which must be at least from, and, unless to is nil, below to.
func (p *pages) walk(id uint64, from, to []byte, leaf func([]element) error) error {
	b, err := p.page(id)
	if err != nil {
		return err
	}
	list, err := elements(b, from, to)
	switch isLeaf := native.Uint16(b[8:]) == kindLeaf; {
	case err != nil:
		return fmt.Errorf("page %d: %w", id, err)
	case isLeaf:
		return leaf(list)
	case len(list) == 0:
		return damaged("page %d: it is empty", id)
	}
	for i, e := range list {
		end := to
		if i+1 < len(list) {
			end = list[i+1].key
		}
		if err := p.faults.take(p.walk(e.child, e.key, end, leaf)); err != nil {
			return err
		}
	}
	return nil
}

// buckets returns the value of each bucket by its name.
func (p *pages) buckets() (map[string][]byte, error) {
	values := make(map[string][]byte)
	err := p.walk(p.root, nil, nil, func(list []element) error {
		for _, e := range list {
			if e.flags != 1 || len(e.value) < bucketLen {
				return damaged("%q is no bucket", e.key)
			}
			values[string(e.key)] = e.value
		}
		return nil
	})
	return values, err
}

// bucket calls leaf for the elements of each leaf page of a bucket, by its value.
func (p *pages) bucket(value []byte, leaf func([]element) error) error {
	if root := native.Uint64(value); root != 0 {
		return p.walk(root, nil, nil, leaf)
	}
	inline := value[bucketLen:]
	if len(inline) < pageHeader {
		return damaged("it is cut off")
	}
	list, err := elements(inline, nil, nil)
	if err == nil && native.Uint16(inline[8:]) != kindLeaf {
		err = damaged("it is of another kind")
	}
	if err != nil {
		return err
	}
	return leaf(list)
}

// checkFree reads the list of free pages, after all buckets: each page is in use
// or free.
func (p *pages) checkFree() error {
	b, err := p.page(p.free)
	if err != nil {
		return err
	}
	if kind := native.Uint16(b[8:]); kind != kindFree {
		return damaged("page %d is of another kind, %#x", p.free, kind)
	}
	count, ids := uint64(native.Uint16(b[10:])), b[pageHeader:]
	if count == 0xffff {
		count, ids = native.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids))/8 {
		return damaged("its page ids do not fit into it")
	}
	for i := range count {
		if err := p.use(native.Uint64(ids[8*i:])); err != nil {
			return err
		}
	}
	for id := uint64(2); id < p.end; id++ {
		if !p.used[id] {
			return damaged("page %d is neither used nor in it", id)
		}
	}
	return nil
}
