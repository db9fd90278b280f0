package store

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/eider-dns/eider/store/record"
)

// fileView answers from one read transaction on the file until the tree is
// built. A value with a wrong checksum makes it answer nothing more: no zone is
// found from then on, so queries are refused rather than answered wrongly.
//
// bbolt calls a Tx not for concurrent use; that holds for what writes. Reading the
// pages of a read-only one through cursors of their own touches nothing shared.
type fileView struct {
	tx      *bbolt.Tx
	data    *bbolt.Bucket
	damaged atomic.Bool
}

func openFileView(db *bbolt.DB) (v *View, meta Meta, err error) {
	tx, err := db.Begin(false)
	if err != nil {
		return nil, Meta{}, err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil { // bbolt panics on some damage
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
		if err != nil {
			_ = tx.Rollback()
		}
	}()
	m, data, err := readMeta(tx)
	if err != nil {
		return nil, Meta{}, err
	}
	v = &View{index: m.Index, file: &fileView{tx: tx, data: data}}
	v.refs.Store(1)
	return v, m.Meta, nil
}

// guard ends a read that met damage bbolt panics on, or a page that is not
// there: nothing is answered any more, and the process lives to say so. Use it
// as `defer f.guard(debug.SetPanicOnFault(true))`.
func (f *fileView) guard(before bool) {
	debug.SetPanicOnFault(before)
	if r := recover(); r != nil {
		f.damaged.Store(true)
	}
}

func (f *fileView) end() { _ = f.tx.Rollback() }

// value checks what a cursor gave; nil if there is nothing or it is damaged.
func (f *fileView) value(key, stored []byte) []byte {
	if key == nil {
		return nil
	}
	val, _, err := checkSummed(key, stored)
	if err == nil {
		err = checkValue(key, val)
	}
	if err != nil {
		f.damaged.Store(true)
		return nil
	}
	return val
}

// floor finds the last key not behind k.
func (f *fileView) floor(k []byte) (key, val []byte) {
	c := f.data.Cursor()
	key, val = c.Seek(k)
	if key == nil {
		return c.Last()
	}
	if !bytes.Equal(key, k) {
		return c.Prev()
	}
	return key, val
}

func (f *fileView) zone(key []byte) (ref record.ZoneRef, ok bool) {
	defer f.guard(debug.SetPanicOnFault(true))
	if f.damaged.Load() {
		return record.ZoneRef{}, false
	}
	for k := append([]byte{spaceZone}, key...); ; {
		apex, stored := f.floor(k)
		same := commonPrefix(apex, k)
		if same == 0 {
			return record.ZoneRef{}, false
		}
		if same == len(apex) {
			val := f.value(apex, stored)
			if val == nil {
				return record.ZoneRef{}, false
			}
			return record.ZoneRef{ID: zoneIDOf(val), KeyLen: same - 1, Depths: record.AnyDepths}, true
		}
		k = k[:1+len(ancestorWithin(k[1:], same-1))]
	}
}

func (f *fileView) get(zone uint32, key []byte, t record.Type) record.Set {
	defer f.guard(debug.SetPanicOnFault(true))
	k := appendSetKey(nil, spaceOf(t), zone, key, t)
	found, stored := f.data.Cursor().Seek(k)
	if !bytes.Equal(found, k) {
		return nil
	}
	return f.value(found, stored)
}

func (f *fileView) node(zone uint32, key []byte, dst []record.TypeSet) (sets []record.TypeSet, exists bool) {
	defer f.guard(debug.SetPanicOnFault(true))
	name := append(appendIDKey(nil, spaceRRset, zone), key...)
	own := append(name, 0)
	c := f.data.Cursor()
	k, stored := c.Seek(own)
	if !bytes.HasPrefix(k, name) {
		return dst, false
	}
	for ; bytes.HasPrefix(k, own); k, stored = c.Next() {
		if set := f.value(k, stored); set != nil {
			_, _, t, _ := splitSetKey(k)
			dst = append(dst, record.TypeSet{Type: t, Set: set})
		}
	}
	return dst, true
}

func (f *fileView) before(zone uint32, key []byte, t record.Type, dst []byte) (owner []byte, set record.Set) {
	defer f.guard(debug.SetPanicOnFault(true))
	space := spaceOf(t)
	k, stored := f.floor(appendSetKey(nil, space, zone, key, t))
	if !bytes.HasPrefix(k, appendIDKey(nil, space, zone)) {
		k, stored = f.floor(appendIDKey(nil, space, zone+1))
		if !bytes.HasPrefix(k, appendIDKey(nil, space, zone)) {
			return dst, nil
		}
	}
	_, name, _, _ := splitSetKey(k)
	return append(dst, name...), f.value(k, stored)
}
