// Package boltfile reads a bbolt file without bbolt, to find out whether bbolt may
// open it.
//
// On damage bbolt panics, in places in a goroutine of its own, follows pages in
// circles, or touches what is beyond the end of the file, which ends the process.
// This reader takes octets by plain reads, checks every length before it uses it, and visits a
// page once at the most, so any file gives an error or its content, in time and memory bounded by its size.
// It knows the format (bbolt v1.5.0, whose version is pinned) and must never know what keys and values mean.
package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"syscall"
)

// Errors that callers branch on.
var (
	// ErrDamaged: the file is not what bbolt wrote.
	ErrDamaged = errors.New("it is damaged")
	// ErrLocked: a process has it open, so it changes while it is read.
	ErrLocked = errors.New("it is in use by another process")
)

// The format: internal/common of bbolt v1.5.0.
const (
	magic         = 0xED0CDAED
	version       = 2
	pageHeader    = 16 // id u64, flags u16, count u16, overflow u32
	element       = 16 // branch: position u32, key u32, child u64; leaf: flags, position, key, value, u32 each
	metaLength    = pageHeader + 64
	flagBranch    = 0x01
	flagLeaf      = 0x02
	flagFreelist  = 0x10
	leafBucket    = 0x01 // flag of a leaf element whose value is a bucket
	bucketHeader  = 16   // root u64, sequence u64; root 0: the page follows in the value
	noFreelist    = ^uint64(0)
	manyFree      = 0xFFFF // as count of a freelist page: the count is its first id
	minPage       = 512
	maxPage       = 64 << 10
	firstDataPage = 2
	// maxDepth bounds pages within pages. Two children each would fill a file of 2^40 pages before.
	maxDepth = 40
	// maxSpan is the largest page with its overflow, in octets: larger than any value stored here.
	maxSpan = 256 << 20
)

// Info is what the newest meta page says.
type Info struct {
	PageSize int
	Pages    uint64 // in use, with those of the free list
	TxID     uint64
	Free     uint64 // pages in the free list; 0 if none is kept in the file
	OneMeta  bool   // one of its two meta pages is damaged: the last transaction may be lost
}

// file is one walk.
type file struct {
	Info
	r       io.ReaderAt
	size    uint64
	visited []uint64 // bits
	fn      Func
	path    []byte // names of the bucket, each behind a /
}

// Func gets every key of every bucket in order. bucket is the names from the root, with
// a / before each. The slices are good until it returns.
type Func func(bucket, key, value []byte) error

// Walk reads the file at path whole and calls fn for each key. It holds the lock bbolt takes, and gives
// ErrLocked if another does. An error of fn ends the walk and is returned as it is.
func Walk(path string, fn Func) (Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Info{}, err
	}
	if !info.Mode().IsRegular() {
		return Info{}, fmt.Errorf("%w: it is no regular file", ErrDamaged)
	}
	if err := lock(f); err != nil {
		return Info{}, err
	}
	w := &file{r: f, size: uint64(info.Size()), fn: fn}
	if err := w.walk(); err != nil {
		if errors.Is(err, syscall.EIO) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return Info{}, err
	}
	return w.Info, nil
}

func damaged(page uint64, format string, args ...any) error {
	return fmt.Errorf("%w: page %d %s", ErrDamaged, page, fmt.Sprintf(format, args...))
}

func (w *file) walk() error {
	root, freelist, err := w.meta()
	if err != nil {
		return err
	}
	w.visited = make([]uint64, w.Pages/64+1)
	if err := w.tree(root, nil, nil, 0); err != nil {
		return err
	}
	if freelist != noFreelist {
		return w.freelist(freelist)
	}
	return nil
}

// meta finds the newest good meta page. Where the second is depends on the page size, which the first says.
func (w *file) meta() (root, freelist uint64, err error) {
	places := []int64{0}
	for size := int64(minPage); size <= maxPage; size *= 2 {
		places = append(places, size)
	}
	found := 0
	for _, at := range places {
		m := make([]byte, metaLength)
		if _, err := w.r.ReadAt(m, at); err != nil {
			if errors.Is(err, io.EOF) {
				continue
			}
			return 0, 0, err
		}
		le, b := binary.LittleEndian, m[pageHeader:]
		sum := fnv.New64a()
		sum.Write(b[:56])
		size := le.Uint32(b[8:])
		if le.Uint32(b) != magic || le.Uint32(b[4:]) != version || sum.Sum64() != le.Uint64(b[56:]) ||
			at != 0 && int64(size) != at || size < minPage || size > maxPage || size&(size-1) != 0 {
			continue
		}
		found++
		if tx := le.Uint64(b[48:]); found == 1 || tx > w.TxID {
			w.Info = Info{PageSize: int(size), Pages: le.Uint64(b[40:]), TxID: tx}
			root, freelist = le.Uint64(b[16:]), le.Uint64(b[32:])
		}
	}
	if found == 0 {
		return 0, 0, fmt.Errorf("%w: neither of its meta pages is whole", ErrDamaged)
	}
	w.OneMeta = found == 1
	if w.Pages > w.size/uint64(w.PageSize) {
		return 0, 0, fmt.Errorf("%w: it has %d octets and must have %d pages of %d", ErrDamaged, w.size, w.Pages, w.PageSize)
	}
	return root, freelist, nil
}

// page reads one page with its overflow, and marks all of it as visited.
func (w *file) page(id uint64) ([]byte, error) {
	if id < firstDataPage || id >= w.Pages {
		return nil, damaged(id, "is beyond the %d in use", w.Pages)
	}
	at := int64(id) * int64(w.PageSize)
	p := make([]byte, w.PageSize)
	if _, err := w.r.ReadAt(p, at); err != nil {
		return nil, err
	}
	if has := binary.LittleEndian.Uint64(p); has != id {
		return nil, damaged(id, "says it is page %d", has)
	}
	span := uint64(binary.LittleEndian.Uint32(p[12:])) + 1
	if span > w.Pages-id || span*uint64(w.PageSize) > maxSpan {
		return nil, damaged(id, "says it is %d pages long", span)
	}
	for i := id; i < id+span; i++ {
		if w.visited[i/64]>>(i%64)&1 != 0 {
			return nil, damaged(i, "is used twice")
		}
		w.visited[i/64] |= 1 << (i % 64)
	}
	if span > 1 {
		more := make([]byte, span*uint64(w.PageSize))
		if _, err := w.r.ReadAt(more, at); err != nil {
			return nil, err
		}
		p = more
	}
	return p, nil
}

// tree walks the pages of a bucket below id, whose keys are from low on and below high (nil: any).
func (w *file) tree(id uint64, low, high []byte, depth int) error {
	if depth > maxDepth {
		return damaged(id, "is more than %d deep", maxDepth)
	}
	p, err := w.page(id)
	if err != nil {
		return err
	}
	return w.content(id, p, low, high, depth)
}

func (w *file) content(id uint64, p, low, high []byte, depth int) error {
	flags, count := binary.LittleEndian.Uint16(p[8:]), int(binary.LittleEndian.Uint16(p[10:]))
	if (flags != flagBranch && flags != flagLeaf) || pageHeader+count*element > len(p) {
		return damaged(id, "has the kind %#x and %d elements", flags, count)
	}
	if flags == flagBranch {
		if count == 0 {
			return damaged(id, "leads nowhere")
		}
		return w.branch(id, p, count, low, high, depth)
	}
	return w.leaf(id, p, count, low, high, depth)
}

// ordered checks a key against the one before it in its page, or against the least it may be.
func ordered(id uint64, i int, key, before, high []byte) error {
	switch c := bytes.Compare(before, key); {
	case i > 0 && c >= 0, i == 0 && before != nil && c > 0:
		return damaged(id, "has keys out of order")
	case high != nil && bytes.Compare(key, high) >= 0:
		return damaged(id, "has keys that belong behind it")
	}
	return nil
}

func (w *file) branch(id uint64, p []byte, count int, low, high []byte, depth int) error {
	key := func(i int) []byte {
		at := pageHeader + i*element
		from := uint64(at) + uint64(binary.LittleEndian.Uint32(p[at:]))
		to := from + uint64(binary.LittleEndian.Uint32(p[at+4:]))
		if to > uint64(len(p)) {
			return nil
		}
		return p[from:to:to]
	}
	before := low
	for i := range count {
		k := key(i)
		if k == nil {
			return damaged(id, "has keys beyond its end")
		}
		if err := ordered(id, i, k, before, high); err != nil {
			return err
		}
		before = k
	}
	for i := range count {
		next := high
		if i+1 < count {
			next = key(i + 1)
		}
		if err := w.tree(binary.LittleEndian.Uint64(p[pageHeader+i*element+8:]), key(i), next, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *file) leaf(id uint64, p []byte, count int, low, high []byte, depth int) error {
	before := low
	for i := range count {
		at := pageHeader + i*element
		e := p[at : at+element]
		from := uint64(at) + uint64(binary.LittleEndian.Uint32(e[4:]))
		mid := from + uint64(binary.LittleEndian.Uint32(e[8:]))
		to := mid + uint64(binary.LittleEndian.Uint32(e[12:]))
		if to > uint64(len(p)) {
			return damaged(id, "has values beyond its end")
		}
		key, val := p[from:mid:mid], p[mid:to:to]
		if err := ordered(id, i, key, before, high); err != nil {
			return err
		}
		before = key
		switch binary.LittleEndian.Uint32(e) {
		case 0:
			if err := w.fn(w.path, key, val); err != nil {
				return err
			}
		case leafBucket:
			if err := w.bucket(id, key, val, depth+1); err != nil {
				return err
			}
		default:
			return damaged(id, "has an element of an unknown kind")
		}
	}
	return nil
}

func (w *file) bucket(id uint64, name, val []byte, depth int) error {
	if len(val) < bucketHeader || depth > maxDepth {
		return damaged(id, "has a bucket cut short or too deep")
	}
	length := len(w.path)
	w.path = append(append(w.path, '/'), name...)
	defer func() { w.path = w.path[:length] }()
	root := binary.LittleEndian.Uint64(val)
	if root != 0 {
		return w.tree(root, nil, nil, depth)
	}
	inline := val[bucketHeader:]
	if len(inline) < pageHeader || binary.LittleEndian.Uint16(inline[8:]) != flagLeaf {
		return damaged(id, "has a bucket within it that is no leaf")
	}
	return w.content(id, inline, nil, nil, depth)
}

// freelist checks that no page is free and in use: bbolt would write over it.
func (w *file) freelist(id uint64) error {
	p, err := w.page(id)
	if err != nil {
		return err
	}
	if flags := binary.LittleEndian.Uint16(p[8:]); flags != flagFreelist {
		return damaged(id, "has the kind %#x and should be the free list", flags)
	}
	ids := p[pageHeader:]
	count := uint64(binary.LittleEndian.Uint16(p[10:]))
	if count == manyFree {
		if len(ids) < 8 {
			return damaged(id, "has a free list cut short")
		}
		count, ids = binary.LittleEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids))/8 {
		return damaged(id, "has a free list of %d pages", count)
	}
	w.Free = count
	last := uint64(firstDataPage - 1)
	for ; count > 0; count, ids = count-1, ids[8:] {
		free := binary.LittleEndian.Uint64(ids)
		if free <= last || free >= w.Pages {
			return damaged(id, "has a free list out of order")
		}
		if w.visited[free/64]>>(free%64)&1 != 0 {
			return damaged(free, "is free and in use")
		}
		last = free
	}
	return nil
}
