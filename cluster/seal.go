package cluster

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// What Raft keeps beside the log, term and vote above all, has no checksum in raft-boltdb, and a flipped
// bit there is a vote given twice. So a checksum follows each value here. A number of 8 octets stays
// readable to builds before there was one; their values have none and pass.

// sealMark stands between a value and its checksum. No value Raft writes ends in it by itself: numbers have 8
// octets, and addresses no zero.
const (
	sealMark   = 0
	sealLength = 1 + crc32.Size
)

func seal(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	out := append(append(make([]byte, 0, len(value)+sealLength), value...), sealMark)
	return binary.BigEndian.AppendUint32(out, sum)
}

// unseal gives the value of a key, or an error if it is not what was written.
func unseal(key, stored []byte) ([]byte, error) {
	at := len(stored) - sealLength
	if string(key) == string(keyLogID) || string(key) == string(keyBoot) || len(stored) == 8 || at < 0 || stored[at] != sealMark {
		return stored, nil
	}
	value := stored[:at:at]
	if sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value); sum != binary.BigEndian.Uint32(stored[at+1:]) {
		return nil, fmt.Errorf("the value of %q beside the log has a wrong checksum", key)
	}
	return value, nil
}
