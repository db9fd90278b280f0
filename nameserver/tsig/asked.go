package tsig

import (
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"time"
)

// maxUnsigned is how many messages of a reply may follow one another without a
// signature (RFC 8945 section 5.3.1).
const maxUnsigned = 99

// ErrNotSigned: a reply, or its end, came without the signature it must have.
var ErrNotSigned = errors.New("the reply is not signed")

// ReplyError is what the other side found wrong with a request. Signed tells whether
// it proved to be the other side.
type ReplyError struct {
	Code   Error
	Signed bool
}

func (e *ReplyError) Error() string {
	if e.Signed {
		return fmt.Sprintf("the server answers %v", e.Code)
	}
	return fmt.Sprintf("the server answers %v, unsigned", e.Code)
}

// Asked is the asking end of a signed exchange: it checks the messages of the
// reply in the order they come. It is for one goroutine.
type Asked struct {
	key      *Key
	sum      hash.Hash // of what the next MAC is made of, so far
	first    bool      // no message was checked yet
	unsigned int       // messages since the last signed one
}

// Ask signs a request: msg, a whole message, with its TSIG record appended.
func Ask(msg []byte, key *Key, now time.Time) (signed []byte, a *Asked) {
	at := uint64(max(now.Unix(), 0))
	mac := key.mac(msg, variables(key, at, fudge, NoError, nil))
	a = &Asked{key: key, first: true}
	a.begin(mac)
	return appendRecord(msg, key.Name, table[key.Algorithm].name, at, fudge, mac, NoError, nil), a
}

// begin starts the next MAC, which covers the one before.
func (a *Asked) begin(prior []byte) {
	a.sum = hmac.New(table[a.key.Algorithm].make, a.key.Secret)
	a.sum.Write(binary.BigEndian.AppendUint16(nil, uint16(len(prior))))
	a.sum.Write(prior)
}

// Check takes the next message of the reply; end is where it ends without its TSIG
// record. One without a signature may be used only when a later one was good (RFC
// 8945 section 5.3.1): Settled tells. A message that is refused leaves no trace, so over UDP, where anyone
// can send one, it is passed over and the right one waited for (RFC 8945 section 5.3.2); over TCP the exchange is over.
func (a *Asked) Check(msg []byte, now time.Time) (end int, err error) {
	at, err := lastRecord(msg)
	switch {
	case err != nil:
		return 0, err
	case at == 0 && a.first:
		return 0, ErrNotSigned
	case at == 0:
		if a.unsigned++; a.unsigned > maxUnsigned {
			return 0, fmt.Errorf("%w: more than %d messages one after the other", ErrNotSigned, maxUnsigned)
		}
		a.sum.Write(msg)
		return len(msg), nil
	}
	r, err := parse(msg, at)
	if err != nil {
		return 0, err
	}
	otherStart := len(msg) - otherLen(msg, at)
	code := errorAt(msg, otherStart)
	switch {
	case r.keyName != a.key.Name || r.algorithm != table[a.key.Algorithm].name:
		return 0, fmt.Errorf("%w: it is signed with another key, %v", ErrFormat, r.keyName)
	case len(r.mac) == 0 && (code == BadKey || code == BadSig):
		return 0, &ReplyError{Code: code}
	}
	if err := r.size(); err != nil {
		return 0, err
	}
	sum, err := a.sum.(hash.Cloner).Clone() // every HMAC of the table can be cloned
	if err != nil {
		return 0, err
	}
	sum.Write(binary.BigEndian.AppendUint16(nil, r.id))
	sum.Write(msg[2:10])
	sum.Write(binary.BigEndian.AppendUint16(nil, binary.BigEndian.Uint16(msg[10:])-1))
	sum.Write(msg[headerSize:at])
	if a.first {
		sum.Write(variables(a.key, r.time, r.fudge, code, msg[otherStart:]))
	} else {
		sum.Write(appendTime(nil, r.time, r.fudge))
	}
	want := sum.Sum(nil)
	nowAt, allowed := uint64(max(now.Unix(), 0)), uint64(min(r.fudge, maxFudge))
	switch {
	case len(r.mac) < a.key.MinMAC || !hmac.Equal(want[:len(r.mac)], r.mac):
		return 0, fmt.Errorf("the signature of the reply is not that of key %v", a.key.Name)
	case code != NoError:
		return 0, &ReplyError{Code: code, Signed: true}
	case nowAt > r.time+allowed || r.time > nowAt+allowed:
		return 0, fmt.Errorf("the reply was signed %d s from now by this clock, more than %d s is not taken", int64(nowAt)-int64(r.time), allowed)
	}
	a.first, a.unsigned = false, 0
	a.begin(r.mac)
	return at, nil
}

// Settled tells whether all messages so far are covered by a good signature.
func (a *Asked) Settled() bool { return !a.first && a.unsigned == 0 }
