package lookup

import (
	"encoding/binary"

	"github.com/eider-dns/eider/store/record"
)

// soaTail is the fixed part of a SOA's rdata: serial, refresh, retry, expire, minimum.
const soaTail = 5 * 4

// Expire is the EXPIRE field of the SOA of the zone that q is about, in seconds: how long whoever is
// cut off may go on with the zone (RFC 1035 section 3.3.13). It works in a, so it comes before Resolve.
func Expire(r Reader, q *Question, a *Answer) (seconds uint32, ok bool) {
	a.name.set(q.Name, true)
	ref, ok := a.zoneOf(r, q)
	if !ok {
		return 0, false
	}
	set := r.Get(ref.ID, a.name.key[:ref.KeyLen], record.TypeSOA)
	if set == nil {
		return 0, false
	}
	it := set.Data()
	if !it.Next() || len(it.RData()) < soaTail {
		return 0, false
	}
	data := it.RData()
	return binary.BigEndian.Uint32(data[len(data)-8:]), true
}
