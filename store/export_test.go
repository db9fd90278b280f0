package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/eider-dns/eider/store/record"
)

// CheckIndex compares the names index of a resident view with its tree: every name and
// zone is found, with what it owns, and nothing else is there but garbage of contents that are gone.
func CheckIndex(v *View) error {
	n, want := &v.names, 0
	live := map[uint32]record.Depths{}
	var err error
	eachName(v.root, apexLens(v.root), func(id uint32, name []byte, sets []record.TypeSet) {
		want++
		d := live[id]
		for _, s := range sets {
			switch s.Type {
			case record.TypeNS:
				d.Cuts.Add(record.KeyLabels(name))
			case record.TypeDNAME:
				d.DNAMEs.Add(record.KeyLabels(name))
			}
		}
		if bytes.HasSuffix(append([]byte{0}, name...), []byte("\x00*\x00")) {
			d.Wildcards.Add(record.KeyLabels(name))
		}
		live[id] = d
		h := hashName(name)
		p := n.bucket(at(h, n.buckets))
		i, _ := p.find(h, id, name)
		if i < 0 {
			err = fmt.Errorf("content %d: %q is not in the index", id, name)
			return
		}
		if e := appendNameEntry(nil, id, name, sets); !bytes.HasPrefix(p[p.start(i):], e) || p.start(i+1)-p.start(i) != padded(len(e)) {
			err = fmt.Errorf("content %d: %q has other sets in the index: %q, want %q", id, name, p[p.start(i):p.start(i+1)], e)
		}
		if got, exists := v.Node(id, name, nil); !exists || fmt.Sprint(got) != fmt.Sprint(sets) {
			err = fmt.Errorf("content %d: Node %q gives %v, want %v", id, name, got, sets)
		}
		for _, s := range sets {
			if got := v.Get(id, name, s.Type); !bytes.Equal(got, s.Set) {
				err = fmt.Errorf("content %d: Get %q %v gives %x, want %x", id, name, s.Type, got, s.Set)
			}
		}
	})
	table := *n
	table.few = nil
	zones := 0
	eachZone(v.root, func(apex, val []byte) {
		want++
		zones++
		ref, ok := v.Zone(apex)
		id := zoneIDOf(val)
		if !ok || ref.ID != id || ref.KeyLen != len(apex) {
			err = fmt.Errorf("zone %q: got %v %v, want content %d", apex, ref, ok, id)
		}
		if other, _ := table.zone(apex); other != ref {
			err = fmt.Errorf("zone %q: got %v, in the table %v", apex, ref, other)
		}
		if d := live[id]; d.Cuts&^ref.Depths.Cuts|d.DNAMEs&^ref.Depths.DNAMEs|d.Wildcards&^ref.Depths.Wildcards != 0 {
			err = fmt.Errorf("zone %q: told %b, there is %b", apex, ref.Depths, d)
		}
	})
	if few := zones <= maxFew; few != (n.few != nil) || few && len(n.few) != zones {
		err = fmt.Errorf("%d zones are gone through, there are %d", len(n.few), zones)
	}
	have, size := 0, 0
	for b := range n.buckets {
		p := n.bucket(b)
		size += len(p)
		for i := range p.count() {
			id, key := p.zoneOf(i), p.keyOf(i)
			if at(hashName(key), n.buckets) != b {
				err = fmt.Errorf("content %d: %q is in the wrong bucket", id, key)
			}
			if _, ok := live[id]; ok || id == 0 {
				have++
			}
		}
	}
	if err == nil && have != want {
		err = fmt.Errorf("%d names and zones in the index, want %d", have, want)
	}
	if err == nil && size > int(n.buckets)*bucketSize {
		err = fmt.Errorf("%d octets in %d buckets", size, n.buckets)
	}
	return err
}

// IndexGarbage counts the entries of contents that are gone.
func IndexGarbage(v *View) (garbage int) {
	for b := range v.names.buckets {
		p := v.names.bucket(b)
		for i := range p.count() {
			prefix := appendIDKey(nil, spaceRRset, p.zoneOf(i))
			var c cursor
			if binary.BigEndian.Uint32(prefix[1:]) != 0 && (!c.seek(v.root, prefix) || !c.hasPrefix(prefix)) {
				garbage++
			}
		}
	}
	return garbage
}
