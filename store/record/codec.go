package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// ErrEncoding is wrapped by every error about bytes that are no encoded Change,
// Entry or Result.
var ErrEncoding = errors.New("bad encoding")

// A change is written in the oldest version that can say it, so that older builds go on
// reading what concerns them and each change has one encoding.
const (
	changePlain   = 1
	changeBy      = 2 // with By, ops and preconditions from OpZoneSetting on
	entryVersion  = 1
	resultVersion = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendBinary appends the one encoding of c. It refuses a change over the limits.
func (c *Change) AppendBinary(dst []byte) ([]byte, error) {
	if len(c.Ops) > MaxOps || len(c.Pre) > MaxOps {
		return dst, fmt.Errorf("a change has %d ops and %d preconditions, at most %d are allowed", len(c.Ops), len(c.Pre), MaxOps)
	}
	start := len(dst)
	version := c.version()
	dst = append(dst, version)
	dst = append(dst, c.ID[:]...)
	if version >= changeBy {
		if !validBy(c.By) {
			return dst, fmt.Errorf("the author %q of a change is not as Author makes it", c.By)
		}
		dst = append(append(dst, byte(len(c.By))), c.By...)
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(c.Pre)))
	var err error
	for i := range c.Pre {
		p := &c.Pre[i]
		dst = append(dst, byte(p.Kind))
		dst = appendName(appendName(dst, p.Zone), p.Owner)
		dst = binary.BigEndian.AppendUint16(dst, uint16(p.Type))
		dst = binary.BigEndian.AppendUint32(dst, p.Serial)
		if dst, err = appendData(dst, p.Data); err != nil {
			return dst, err
		}
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(c.Ops)))
	for i := range c.Ops {
		o := &c.Ops[i]
		dst = append(dst, byte(o.Kind), o.Flags)
		dst = appendName(appendName(dst, o.Zone), o.Owner)
		dst = binary.BigEndian.AppendUint16(dst, uint16(o.Type))
		dst = binary.BigEndian.AppendUint32(dst, o.TTL)
		if o.Kind.load() {
			dst = append(dst, o.Load[:]...)
		}
		if dst, err = appendData(dst, o.Data); err != nil {
			return dst, err
		}
	}
	if n := c.sizeOf(len(dst) - start); n > MaxChange {
		return dst, fmt.Errorf("a change is %d octets long, at most %d are allowed; split it", n, MaxChange)
	}
	return dst, nil
}

// version is the oldest version of the encoding that can say c.
func (c *Change) version() byte {
	newer := c.By != ""
	for i := range c.Pre {
		newer = newer || c.Pre[i].Kind >= PreZoneSettingIs
	}
	for i := range c.Ops {
		newer = newer || c.Ops[i].Kind >= OpZoneSetting || c.Ops[i].Flags&OpPulled != 0
	}
	if newer {
		return changeBy
	}
	return changePlain
}

// sizeOf is what of the octets of c's encoding counts for MaxChange: the author does not, so that
// no change gets too long on its way by getting one.
func (c *Change) sizeOf(octets int) int {
	if c.version() < changeBy {
		return octets
	}
	return octets - 1 - len(c.By)
}

// Level is the feature level (Entry.Level) a node needs for an encoded change: the version it is
// written in. Octets that are no change may give any.
func Level(encoded []byte) uint16 {
	if len(encoded) == 0 {
		return changePlain
	}
	return uint16(encoded[0])
}

// MaxBy is the longest author of a change in octets: a key's name and an address.
const MaxBy = 255

// Author makes s fit for the By of a change: printable ASCII, no longer than MaxBy.
func Author(s string) string {
	out := []byte(s[:min(len(s), MaxBy)])
	for i, c := range out {
		if c < ' ' || c > '~' {
			out[i] = '?'
		}
	}
	return string(out)
}

func validBy(s string) bool { return Author(s) == s }

func (k OpKind) load() bool { return k >= OpLoadBegin && k <= OpLoadAbort }

func appendName(dst []byte, n Name) []byte {
	return append(append(dst, byte(len(n))), n...)
}

func appendData(dst []byte, data [][]byte) ([]byte, error) {
	if len(data) > MaxRecords {
		return dst, fmt.Errorf("an op has %d records, at most %d are allowed", len(data), MaxRecords)
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(data)))
	for _, d := range data {
		if len(d) > MaxRData {
			return dst, fmt.Errorf("%w: %d octets, at most %d are allowed", ErrRData, len(d), MaxRData)
		}
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(d)))
		dst = append(dst, d...)
	}
	return dst, nil
}

// reader takes an encoding apart; after the first fault all it gives is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || len(r.b) < n {
		r.fail("cut short")
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) fail(why string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrEncoding, why)
	}
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// name reads a name; empty ones are for fields that may be left out.
func (r *reader) name() Name {
	n := Name(r.take(int(r.u8())))
	if n != "" && !n.Valid() {
		r.fail("a name is not in wire form")
	}
	return n
}

func (r *reader) data() [][]byte {
	n := int(r.u16())
	if n*2 > len(r.b) { // before allocating by a count from outside
		r.fail("more records counted than there are octets")
		return nil
	}
	if n == 0 {
		return nil
	}
	out := make([][]byte, n)
	for i := range out {
		out[i] = r.take(int(r.u16()))
		if out[i] == nil {
			out[i] = []byte{}
		}
	}
	return out
}

// DecodeChange is the inverse of AppendBinary: what it accepts encodes to the
// same octets. The result shares b.
func DecodeChange(b []byte) (Change, error) {
	var c Change
	if len(b) > MaxChange+1+MaxBy {
		return c, fmt.Errorf("%w: a change of %d octets, at most %d are allowed", ErrEncoding, len(b), MaxChange)
	}
	r := reader{b: b}
	version := r.u8()
	if version < changePlain || version > changeBy {
		r.fail(fmt.Sprintf("change version %d, this build knows up to %d", version, changeBy))
	}
	copy(c.ID[:], r.take(len(c.ID)))
	if version >= changeBy {
		if c.By = string(r.take(int(r.u8()))); !validBy(c.By) {
			r.fail("the author of a change is not printable")
		}
	}
	for n := int(r.u16()); n > 0 && r.err == nil; n-- {
		p := Precondition{Kind: PreKind(r.u8()), Zone: r.name(), Owner: r.name(), Type: Type(r.u16()), Serial: r.u32(), Data: r.data()}
		if p.Kind == 0 || p.Kind >= preKinds {
			r.fail(fmt.Sprintf("unknown precondition %d", p.Kind))
		}
		c.Pre = append(c.Pre, p)
	}
	for n := int(r.u16()); n > 0 && r.err == nil; n-- {
		o := Op{Kind: OpKind(r.u8()), Flags: r.u8(), Zone: r.name(), Owner: r.name(), Type: Type(r.u16()), TTL: r.u32()}
		if o.Kind == 0 || o.Kind >= opKinds || o.Flags&^opFlags != 0 {
			r.fail(fmt.Sprintf("unknown %v with flags %#x", o.Kind, o.Flags))
		}
		if o.Kind.load() {
			copy(o.Load[:], r.take(len(o.Load)))
		}
		o.Data = r.data()
		c.Ops = append(c.Ops, o)
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail(fmt.Sprintf("%d octets too many", len(r.b)))
	}
	if r.err == nil && c.sizeOf(len(b)) > MaxChange {
		r.fail(fmt.Sprintf("a change of %d octets, at most %d are allowed", len(b), MaxChange))
	}
	if r.err == nil && version != c.version() {
		r.fail(fmt.Sprintf("change version %d where %d would do", version, c.version()))
	}
	if r.err != nil {
		return Change{}, r.err
	}
	return c, nil
}

// entryHeader is version, CRC, cluster, time, level, count.
const entryHeader = 1 + 4 + 16 + 8 + 2 + 4

// EntryOverhead is what an Entry adds to the size of its changes, in octets, for each change.
const EntryOverhead = 4

// AppendBinary appends the encoding of e, with a CRC-32C over all that follows it.
func (e *Entry) AppendBinary(dst []byte) ([]byte, error) {
	start, size := len(dst), entryHeader
	for _, c := range e.Changes {
		size += EntryOverhead + len(c)
	}
	dst = append(slices.Grow(dst, size), entryVersion, 0, 0, 0, 0)
	dst = append(dst, e.Cluster[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Time))
	dst = binary.BigEndian.AppendUint16(dst, e.Level)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(e.Changes)))
	for _, c := range e.Changes {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(c)))
		dst = append(dst, c...)
	}
	binary.BigEndian.PutUint32(dst[start+1:], crc32.Checksum(dst[start+5:], castagnoli))
	return dst, nil
}

// DecodeEntry is the inverse of AppendBinary. It checks the CRC and the frame,
// not the changes within. The result shares b.
func DecodeEntry(b []byte) (Entry, error) {
	var e Entry
	if len(b) < entryHeader {
		return e, fmt.Errorf("%w: a log entry of %d octets", ErrEncoding, len(b))
	}
	if b[0] != entryVersion {
		return e, fmt.Errorf("%w: log entry version %d, this build knows %d", ErrEncoding, b[0], entryVersion)
	}
	if crc32.Checksum(b[5:], castagnoli) != binary.BigEndian.Uint32(b[1:]) {
		return e, fmt.Errorf("%w: the checksum of a log entry does not match", ErrEncoding)
	}
	r := reader{b: b[5:]}
	copy(e.Cluster[:], r.take(len(e.Cluster)))
	e.Time = int64(r.u64())
	e.Level = r.u16()
	n := int(r.u32())
	if n*EntryOverhead > len(r.b) {
		return Entry{}, fmt.Errorf("%w: a log entry counts %d changes in %d octets", ErrEncoding, n, len(r.b))
	}
	e.Changes = make([][]byte, 0, n)
	for range n {
		e.Changes = append(e.Changes, r.take(int(r.u32())))
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail(fmt.Sprintf("%d octets too many", len(r.b)))
	}
	if r.err != nil {
		return Entry{}, r.err
	}
	return e, nil
}

// AppendBinary appends the encoding of res; what is over its limits is cut.
func (res *Result) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, resultVersion, byte(res.Status), byte(res.Cause))
	dst = binary.BigEndian.AppendUint64(dst, res.Index)
	zones := res.Zones[:min(len(res.Zones), MaxResultZones)]
	dst = append(dst, byte(len(zones)))
	for _, z := range zones {
		dst = appendName(dst, z.Zone)
		dst = binary.BigEndian.AppendUint32(dst, z.Serial)
	}
	reason := res.Reason[:min(len(res.Reason), MaxReason)]
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(reason)))
	return append(dst, reason...), nil
}

// DecodeResult is the inverse of AppendBinary.
func DecodeResult(b []byte) (Result, error) {
	r := reader{b: b}
	if v := r.u8(); v != resultVersion {
		r.fail(fmt.Sprintf("result version %d, this build knows %d", v, resultVersion))
	}
	res := Result{Status: Status(r.u8()), Cause: Cause(r.u8()), Index: r.u64()}
	if res.Status == 0 || res.Status >= statuses || res.Cause >= causes {
		r.fail("unknown status or cause")
	}
	zones := int(r.u8())
	if zones > MaxResultZones {
		r.fail(fmt.Sprintf("%d zones, at most %d are listed", zones, MaxResultZones))
	}
	for n := zones; n > 0 && r.err == nil; n-- {
		res.Zones = append(res.Zones, ZoneSerial{Zone: r.name(), Serial: r.u32()})
	}
	reason := int(r.u16())
	if reason > MaxReason {
		r.fail(fmt.Sprintf("a reason of %d octets, at most %d are kept", reason, MaxReason))
	}
	res.Reason = string(r.take(reason))
	if r.err == nil && len(r.b) > 0 {
		r.fail(fmt.Sprintf("%d octets too many", len(r.b)))
	}
	if r.err != nil {
		return Result{}, r.err
	}
	return res, nil
}
