package tsig

import (
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // asked for by name, key by key, for old clients
	"crypto/sha1" //nolint:gosec // still what some clients know only
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/eider-dns/eider/store/record"
)

// Algorithm is how a MAC is made. The numbers are kept for good.
type Algorithm uint8

// The algorithms (RFC 8945 section 6).
const (
	MD5    Algorithm = iota + 1 // hmac-md5.sig-alg.reg.int, for old clients
	SHA1                        // hmac-sha1
	SHA224                      // hmac-sha224
	SHA256                      // hmac-sha256
	SHA384                      // hmac-sha384
	SHA512                      // hmac-sha512
	algorithms
)

var table = [algorithms]struct {
	short string
	name  record.Name // on the wire
	make  func() hash.Hash
	size  int // of the MAC, octets
}{
	MD5:    {"hmac-md5", record.MustName("hmac-md5.sig-alg.reg.int."), md5.New, md5.Size},
	SHA1:   {"hmac-sha1", record.MustName("hmac-sha1."), sha1.New, sha1.Size},
	SHA224: {"hmac-sha224", record.MustName("hmac-sha224."), sha256.New224, sha256.Size224},
	SHA256: {"hmac-sha256", record.MustName("hmac-sha256."), sha256.New, sha256.Size},
	SHA384: {"hmac-sha384", record.MustName("hmac-sha384."), sha512.New384, sha512.Size384},
	SHA512: {"hmac-sha512", record.MustName("hmac-sha512."), sha512.New, sha512.Size},
}

// Valid tells whether a is one of the algorithms.
func (a Algorithm) Valid() bool { return a > 0 && a < algorithms }

// Size is the length of a whole MAC in octets.
func (a Algorithm) Size() int { return table[a].size }

func (a Algorithm) String() string {
	if !a.Valid() {
		return fmt.Sprintf("algorithm %d", uint8(a))
	}
	return table[a].short
}

// leastMAC is the shortest a MAC may be cut to, in octets (RFC 8945 section 5.2.2.1).
const leastMAC = 10

// MaxSecret is the longest secret of a key in octets; HMAC hashes longer ones
// than a block down, so more gives nothing.
const MaxSecret = 128

// Key is a secret two parties share.
type Key struct {
	Name      record.Name // lower case
	Algorithm Algorithm
	MinMAC    int // octets a MAC may be cut to; the whole size if it may not be cut
	Secret    []byte
}

// ParseAlgorithm reads "hmac-sha256", or "hmac-sha256-128" for MACs that may be
// cut to so many bits. minMAC is in octets.
func ParseAlgorithm(s string) (a Algorithm, minMAC int, err error) {
	text := strings.TrimSuffix(strings.ToLower(s), ".")
	text = strings.Replace(text, "hmac-md5.sig-alg.reg.int", "hmac-md5", 1)
	for a := MD5; a < algorithms; a++ {
		rest, ok := strings.CutPrefix(text, table[a].short)
		switch {
		case !ok:
		case rest == "":
			return a, a.Size(), nil
		case rest[0] == '-':
			bits, err := strconv.Atoi(rest[1:])
			if n := bits / 8; err != nil || bits%8 != 0 || n < max(leastMAC, a.Size()/2) || n > a.Size() {
				return 0, 0, fmt.Errorf("%q: a MAC of %v may be cut to %d bits at the least, in steps of 8 (RFC 8945 section 5.2.2.1)", s, a, 8*max(leastMAC, a.Size()/2))
			}
			return a, bits / 8, nil
		}
	}
	return 0, 0, fmt.Errorf("%q is no algorithm; there are hmac-sha256, hmac-sha224, hmac-sha384, hmac-sha512, hmac-sha1 and, for clients that know no other, hmac-md5", s)
}

// AlgorithmText is the inverse of ParseAlgorithm.
func (k *Key) AlgorithmText() string {
	if k.MinMAC < k.Algorithm.Size() {
		return fmt.Sprintf("%v-%d", k.Algorithm, 8*k.MinMAC)
	}
	return k.Algorithm.String()
}

// Check tells what is wrong with a key.
func (k *Key) Check() error {
	switch {
	case !k.Name.Valid() || k.Name == record.Root:
		return errors.New("a key needs a name, for example \"ddns-key\"")
	case !k.Algorithm.Valid():
		return fmt.Errorf("%v is not known", k.Algorithm)
	case k.MinMAC < max(leastMAC, k.Algorithm.Size()/2) || k.MinMAC > k.Algorithm.Size():
		return fmt.Errorf("MACs of %v cannot be cut to %d octets", k.Algorithm, k.MinMAC)
	case len(k.Secret) == 0 || len(k.Secret) > MaxSecret:
		return fmt.Errorf("a secret has from 1 to %d octets, not %d", MaxSecret, len(k.Secret))
	}
	return nil
}

// ParseSecret reads a secret in base64, as all programs write it.
func ParseSecret(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, errors.New("the secret is not base64; for example the output of `head -c 32 /dev/urandom | base64`") // err would show part of it
	}
	return b, nil
}

// mac is the MAC of the parts, one after the other.
func (k *Key) mac(parts ...[]byte) []byte {
	h := hmac.New(table[k.Algorithm].make, k.Secret)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
