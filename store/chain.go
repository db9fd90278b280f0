package store

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/eider-dns/eider/store/record"
)

// chainKey is where the hash chain is, beside the meta value: a build that knows no
// chains passes over it, and leaves it behind at an older index, by which it is told that it no longer counts.
var chainKey = []byte("chain")

// appendChain appends the value of chainKey: the index of the meta value it belongs to, and the chain.
func (m *Meta) appendChain(dst []byte) []byte {
	dst, _ = m.Chain.AppendBinary(binary.BigEndian.AppendUint64(dst, m.Index)) // never an error
	return dst
}

// setChain takes the chain from what is stored for chainKey, or begins one: stored may be nil, of
// another index, or of a build with another form of chain. Damage is an error.
func (m *Meta) setChain(stored []byte) error {
	m.Chain = record.NewChain(m.Index)
	if stored == nil {
		return nil
	}
	v, _, err := checkSummed(chainKey, stored)
	if err != nil {
		return err
	}
	if len(v) < 8 || binary.BigEndian.Uint64(v) != m.Index {
		return nil
	}
	if c, err := record.DecodeChain(v[8:]); err == nil {
		m.Chain = c
	}
	return nil
}

// chainUp adds an entry and what was decided about it to the chain. Reasons are left out: a newer
// build may put them in other words.
func (b *batchState) chainUp(e *Entry, results []record.Result) {
	open, ok := b.chain.Begin(e.Index)
	if !ok {
		return
	}
	if b.hash == nil {
		b.hash = sha256.New()
	}
	b.hash.Reset()
	buf := b.hashed[:0]
	for _, v := range [...]uint64{open, e.Index, e.Term, uint64(e.Time), uint64(len(e.Changes))} {
		buf = binary.BigEndian.AppendUint64(buf, v)
	}
	buf = append(buf, e.Cluster[:]...)
	for i := range results {
		r := &results[i]
		buf = append(buf, byte(r.Status), byte(r.Cause), byte(len(r.Zones)))
		buf = binary.BigEndian.AppendUint64(buf, r.Index)
		for _, z := range r.Zones {
			buf = binary.BigEndian.AppendUint32(buf, z.Serial)
			buf = append(append(buf, byte(len(z.Zone))), z.Zone...)
		}
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(e.Changes[i])))
	}
	b.hash.Write(buf)
	for _, c := range e.Changes {
		b.hash.Write(c)
	}
	b.hashed = b.hash.Sum(buf[:0])
	b.chain.Add(e.Index, binary.BigEndian.Uint64(b.hashed))
}
