// Package tsig verifies and makes signed DNS messages (RFC 8945).
//
// It owns the TSIG record, the algorithms and the order of the checks: form, key,
// MAC, time. A MAC is compared in constant time. It keeps no state: keys
// come from who asks, and the time too.
//
// It must never know where keys are kept, what a message is about, or a socket.
package tsig

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/eider-dns/eider/store/record"
)

// Error is the error field of a TSIG record (RFC 8945 section 4.2).
type Error uint16

// The errors. A message with one is answered NOTAUTH.
const (
	NoError  Error = 0
	BadSig   Error = 16
	BadKey   Error = 17
	BadTime  Error = 18
	BadTrunc Error = 22
)

func (e Error) String() string {
	switch e {
	case NoError:
		return "no error"
	case BadSig:
		return "BADSIG"
	case BadKey:
		return "BADKEY"
	case BadTime:
		return "BADTIME"
	case BadTrunc:
		return "BADTRUNC"
	}
	return fmt.Sprintf("TSIG error %d", uint16(e))
}

// ErrFormat is wrapped by every error about a message that can have no valid
// signature whatever the key: it is answered FORMERR, without a signature.
var ErrFormat = errors.New("bad TSIG")

// errPlace is about a TSIG record at a place where none may be (RFC 8945 section 5.1).
var errPlace = fmt.Errorf("%w: it is not the last record", ErrFormat)

const (
	headerSize = 12
	classANY   = 255
	// fudge is how many seconds clocks may differ, for what is signed here (RFC 8945 section 10).
	fudge = 300
	// maxFudge bounds what a sender may ask for, in seconds: a message is good for
	// replaying that long.
	maxFudge = 3600
)

// Request is what a reply's signature depends on: the signature of the message it answers.
type Request struct {
	Key   *Key // nil if the key is not known; then Error is BadKey
	Error Error

	keyName   record.Name
	algorithm record.Name
	mac       []byte // as it came
	time      uint64 // seconds
	fudge     uint16
	id        uint16 // of the message as it was signed
}

// Good tells whether the message was signed by Key, just now.
func (r *Request) Good() bool { return r != nil && r.Error == NoError }

// Time is the second the message says it was signed in.
func (r *Request) Time() time.Time { return time.Unix(int64(r.time), 0) }

// KeyName is the name in the TSIG record, in lower case, known or not.
func (r *Request) KeyName() record.Name { return r.keyName }

// Find looks a key up by its name in lower case; nil if there is none.
type Find func(name record.Name) *Key

// Verify looks for a TSIG record at the end of msg and checks it (RFC 8945 section
// 5.2). Without one the Request is nil. With one, end is where the message
// without it ends, and Request.Error says what is wrong with it. The error is
// about messages that make no sense, and wraps ErrFormat. msg is not changed.
func Verify(msg []byte, find Find, now time.Time) (req *Request, end int, err error) {
	at, err := lastRecord(msg)
	if err != nil || at == 0 {
		return nil, len(msg), err
	}
	r, err := parse(msg, at)
	if err != nil {
		return nil, len(msg), err
	}
	if err := r.size(); err != nil {
		return nil, len(msg), err
	}
	r.check(msg, at, find, now)
	return r, at, nil
}

// Present tells whether msg ends with a TSIG record, well formed or not.
func Present(msg []byte) bool {
	at, err := lastRecord(msg)
	return err == nil && at > 0 || errors.Is(err, errPlace)
}

// size checks the length of the MAC (RFC 8945 section 5.2.2.1): longer than the hash, or cut
// to less than half of it or 10 octets, is a format error whatever the key allows.
func (r *Request) size() error {
	for a := MD5; a < algorithms; a++ {
		if size := len(r.mac); r.algorithm == table[a].name && (size > a.Size() || size < max(leastMAC, a.Size()/2)) {
			return fmt.Errorf("%w: a MAC of %d octets for %v", ErrFormat, size, a)
		}
	}
	return nil
}

// lastRecord is where the TSIG record starts, 0 if there is none. It is the last
// one of the additional section, and the only one (RFC 8945 section 5.1).
func lastRecord(msg []byte) (int, error) {
	if len(msg) < headerSize {
		return 0, fmt.Errorf("%w: a message of %d octets", ErrFormat, len(msg))
	}
	at := headerSize
	for range binary.BigEndian.Uint16(msg[4:]) {
		if at = skipName(msg, at); at < 0 || at+4 > len(msg) {
			return 0, fmt.Errorf("%w: the question is cut short", ErrFormat)
		}
		at += 4
	}
	records := 0
	for i := 6; i < headerSize; i += 2 {
		records += int(binary.BigEndian.Uint16(msg[i:]))
	}
	additional := int(binary.BigEndian.Uint16(msg[10:]))
	for i := range records {
		start := at
		if at = skipName(msg, at); at < 0 || at+10 > len(msg) {
			return 0, fmt.Errorf("%w: record %d is cut short", ErrFormat, i+1)
		}
		t := record.Type(binary.BigEndian.Uint16(msg[at:]))
		at += 10 + int(binary.BigEndian.Uint16(msg[at+8:]))
		if at > len(msg) {
			return 0, fmt.Errorf("%w: record %d is cut short", ErrFormat, i+1)
		}
		if t == record.TypeTSIG {
			if i != records-1 || additional == 0 {
				return 0, errPlace
			}
			if at != len(msg) {
				return 0, fmt.Errorf("%w: there is something behind it", ErrFormat)
			}
			return start, nil
		}
	}
	return 0, nil
}

// skipName is where a name ends that may be compressed; -1 if there is none.
func skipName(p []byte, at int) int {
	for i := at; i < len(p) && i-at < record.MaxName; i += int(p[i]) + 1 {
		switch {
		case p[i] == 0:
			return i + 1
		case p[i] >= 0xc0:
			return i + 2
		case p[i] > record.MaxLabel:
			return -1
		}
	}
	return -1
}

// parse reads the TSIG record at msg[at:], which lastRecord has measured.
func parse(msg []byte, at int) (*Request, error) {
	owner, at, err := record.AppendExpandedName(nil, msg, at)
	if err != nil {
		return nil, fmt.Errorf("%w: its owner: %w", ErrFormat, err)
	}
	if binary.BigEndian.Uint16(msg[at+2:]) != classANY || binary.BigEndian.Uint32(msg[at+4:]) != 0 {
		return nil, fmt.Errorf("%w: its class is not ANY, or its TTL not 0", ErrFormat)
	}
	rdata := msg[at+10:]
	name, n, err := record.NameFromWire(rdata)
	if err != nil || len(rdata) < n+10 {
		return nil, fmt.Errorf("%w: its algorithm is no name", ErrFormat)
	}
	r := &Request{keyName: record.Name(owner).Lower(), algorithm: name.Lower()}
	rdata = rdata[n:]
	r.time = uint64(binary.BigEndian.Uint16(rdata))<<32 | uint64(binary.BigEndian.Uint32(rdata[2:]))
	r.fudge = binary.BigEndian.Uint16(rdata[6:])
	size := int(binary.BigEndian.Uint16(rdata[8:]))
	rdata = rdata[10:]
	if len(rdata) < size+6 {
		return nil, fmt.Errorf("%w: its MAC is cut short", ErrFormat)
	}
	r.mac, rdata = append([]byte(nil), rdata[:size]...), rdata[size:]
	r.id = binary.BigEndian.Uint16(rdata)
	if other := int(binary.BigEndian.Uint16(rdata[4:])); len(rdata) != 6+other {
		return nil, fmt.Errorf("%w: its other data do not add up", ErrFormat)
	}
	return r, nil
}

// check is RFC 8945 sections 5.2.1 to 5.2.4, in their order.
func (r *Request) check(msg []byte, end int, find Find, now time.Time) {
	key := find(r.keyName)
	if key == nil || r.algorithm != table[key.Algorithm].name { // a key has one algorithm
		r.Error = BadKey
		return
	}
	header := append([]byte(nil), msg[:headerSize]...)
	binary.BigEndian.PutUint16(header, r.id)
	binary.BigEndian.PutUint16(header[10:], binary.BigEndian.Uint16(header[10:])-1)
	otherStart := len(msg) - otherLen(msg, end)
	want := key.mac(header, msg[headerSize:end], variables(key, r.time, r.fudge, errorAt(msg, otherStart), msg[otherStart:]))
	switch {
	case !hmac.Equal(want[:min(len(r.mac), len(want))], r.mac):
		r.Error = BadSig
		return
	}
	r.Key = key
	allowed := uint64(min(r.fudge, maxFudge))
	at := uint64(max(now.Unix(), 0))
	switch {
	case at > r.time+allowed || r.time > at+allowed:
		r.Error = BadTime
	case len(r.mac) < key.MinMAC:
		r.Error = BadTrunc
	}
}

// otherLen is how many octets of other data the message ends with.
func otherLen(msg []byte, at int) int {
	at = skipName(msg, at) + 10
	at = skipName(msg, at) + 8
	at += 2 + int(binary.BigEndian.Uint16(msg[at:])) + 4
	return int(binary.BigEndian.Uint16(msg[at:]))
}

func errorAt(msg []byte, otherStart int) Error {
	return Error(binary.BigEndian.Uint16(msg[otherStart-4:]))
}

// variables are the TSIG variables that go into a MAC (RFC 8945 section 4.3.3).
func variables(key *Key, at uint64, fudge uint16, code Error, other []byte) []byte {
	b := append([]byte(key.Name), 0, classANY, 0, 0, 0, 0)
	b = append(b, table[key.Algorithm].name...)
	b = appendTime(b, at, fudge)
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	b = binary.BigEndian.AppendUint16(b, uint16(len(other)))
	return append(b, other...)
}

func appendTime(b []byte, at uint64, fudge uint16) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(at>>32))
	b = binary.BigEndian.AppendUint32(b, uint32(at))
	return binary.BigEndian.AppendUint16(b, fudge)
}

// Sign appends to reply, a whole message that answers the one r came with, its
// TSIG record (RFC 8945 section 5.3). Where there is no key both know, or the
// sender has not proved to know it, the record carries the error alone. A reply of many
// messages is signed by a Signer.
func (r *Request) Sign(reply []byte, now time.Time) []byte {
	reply, _ = r.sign(reply, r.mac, false, now)
	return reply
}

// Size is how many octets Sign appends, at the most.
func (r *Request) Size() int {
	return len(r.keyName) + 10 + len(r.algorithm) + 8 + 2 + sha512.Size + 6 + 6
}

// Signer signs the messages of a reply of many (RFC 8945 section 5.3.1), every one of
// them, so that a receiver never has to keep what it cannot check yet.
type Signer struct {
	r     *Request
	prior []byte // the MAC of the message before
	later bool
}

// Signer is for the reply to a good request.
func (r *Request) Signer() *Signer { return &Signer{r: r, prior: r.mac} }

// Sign appends the TSIG record of the next message.
func (s *Signer) Sign(msg []byte, now time.Time) []byte {
	msg, s.prior = s.r.sign(msg, s.prior, s.later, now)
	s.later = true
	return msg
}

// sign signs a message after one whose MAC is prior; a later one of several carries
// the time alone into the MAC.
func (r *Request) sign(reply, prior []byte, later bool, now time.Time) (signed, mac []byte) {
	at, window, other := uint64(max(now.Unix(), 0)), uint16(fudge), []byte(nil)
	name, algorithm := r.keyName, r.algorithm
	switch r.Error {
	case BadKey, BadSig:
		at, window = r.time, r.fudge
	case BadTime: // the client's time back, and ours beside it (RFC 8945 section 5.2.3)
		other = appendTime(nil, at, 0)[:6]
		at, window = r.time, r.fudge
	}
	if r.Key != nil {
		name, algorithm = r.Key.Name, table[r.Key.Algorithm].name
		before := binary.BigEndian.AppendUint16(nil, uint16(len(prior)))
		last := appendTime(nil, at, window)
		if !later {
			last = variables(r.Key, at, window, r.Error, other)
		}
		mac = r.Key.mac(before, prior, reply, last)
		mac = mac[:max(min(len(r.mac), len(mac)), r.Key.MinMAC)]
	}
	return appendRecord(reply, name, algorithm, at, window, mac, r.Error, other), mac
}

// appendRecord appends a TSIG record to a message, and counts it (RFC 8945 section 4.2).
func appendRecord(msg []byte, name, algorithm record.Name, at uint64, window uint16, mac []byte, code Error, other []byte) []byte {
	id := [2]byte(msg)
	binary.BigEndian.PutUint16(msg[10:], binary.BigEndian.Uint16(msg[10:])+1)
	msg = append(append(msg, name...), 0, byte(record.TypeTSIG), 0, classANY, 0, 0, 0, 0)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(algorithm)+8+2+len(mac)+6+len(other)))
	msg = appendTime(append(msg, algorithm...), at, window)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(mac)))
	msg = append(append(msg, mac...), id[:]...)
	msg = binary.BigEndian.AppendUint16(msg, uint16(code))
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(other)))
	return append(msg, other...)
}
