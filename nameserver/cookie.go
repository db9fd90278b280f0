package nameserver

import (
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
)

// CookieSecret is one key of server cookies.
type CookieSecret [16]byte

// CookieSecrets are the keys of server cookies, which all nodes of a cluster
// share (RFC 9018 section 5). Cookies are made with Current; those made with
// Previous are still good, and so are those of Next, which another node may have
// begun to use a moment before this one. A key of zeros is none.
type CookieSecrets struct{ Previous, Current, Next CookieSecret }

// SetCookieSecrets changes the keys, from any goroutine, at any time. Before the
// first call, and without a Current, cookies are passed over as any unknown option.
func (s *Server) SetCookieSecrets(c CookieSecrets) {
	if c.Current == (CookieSecret{}) {
		s.secrets.Store(nil)
		return
	}
	s.secrets.Store(&c)
}

const (
	optionCookie = 10 // RFC 7873

	clientCookieSize = 8
	serverCookieSize = 16 // of ours (RFC 9018 section 4)
	cookieSize       = clientCookieSize + serverCookieSize
	minServerCookie  = 8 // of others (RFC 7873 section 4)
	maxServerCookie  = 32
	cookieVersion    = 1

	// Seconds (RFC 9018 section 4.3): how old a cookie may be, how far its time may
	// be ahead of our clock, and at which age it is replaced.
	cookieMaxAge   = 3600
	cookieMaxAhead = 300
	cookieRenewAge = 1800
)

// cookieState is what the cookie of a query proves.
type cookieState uint8

const (
	cookieNone   cookieState = iota // the query has none, or we have no keys
	cookieClient                    // who asks speaks of cookies, but has none of ours that is good
	cookieValid                     // who asks gets what is sent to its address
)

// validCookieLength tells whether a COOKIE option can be so long (RFC 7873 section 5.2.2).
func validCookieLength(n int) bool {
	return n == clientCookieSize || n >= clientCookieSize+minServerCookie && n <= clientCookieSize+maxServerCookie
}

// checkCookie reads the query's cookie and prepares the one of the reply.
func (s *Server) checkCookie(w *scratch) {
	w.cookieState = cookieNone
	asked := w.query.cookie
	if asked == nil || !w.from.IsValid() {
		return
	}
	secrets := s.secrets.Load()
	if secrets == nil {
		return
	}
	now := s.clock.unix.Load()
	w.cookieState = cookieClient
	copy(w.cookie[:], asked[:clientCookieSize])
	if len(asked) == cookieSize {
		made, age := secrets.maker(asked, w.from, now)
		if made != nil {
			w.cookieState = cookieValid
			w.counts.cookies.Add(1)
			if age <= cookieRenewAge && made != &secrets.Previous {
				copy(w.cookie[:], asked)
				return
			}
		}
	}
	c := w.cookie[:]
	binary.BigEndian.PutUint32(c[clientCookieSize:], cookieVersion<<24)
	binary.BigEndian.PutUint32(c[clientCookieSize+4:], now)
	binary.LittleEndian.PutUint64(c[clientCookieSize+8:], cookieHash(&secrets.Current, c, w.from))
}

// maker is the key that made a cookie of our length, for that address and not too
// long ago, and the cookie's age in seconds; nil if none did.
func (c *CookieSecrets) maker(cookie []byte, from netip.Addr, now uint32) (secret *CookieSecret, age int32) {
	age = int32(now - binary.BigEndian.Uint32(cookie[clientCookieSize+4:])) // serial arithmetic (RFC 1982)
	if cookie[clientCookieSize] != cookieVersion || age > cookieMaxAge || age < -cookieMaxAhead {
		return nil, 0
	}
	hash := binary.LittleEndian.Uint64(cookie[clientCookieSize+8:])
	for _, secret = range [...]*CookieSecret{&c.Current, &c.Previous, &c.Next} {
		if *secret != (CookieSecret{}) && equalHash(hash, cookieHash(secret, cookie, from)) {
			return secret, age
		}
	}
	return nil, 0
}

// equalHash takes as long whether they are equal or not.
func equalHash(a, b uint64) bool {
	return subtle.ConstantTimeEq(int32(a), int32(b))&subtle.ConstantTimeEq(int32(a>>32), int32(b>>32)) == 1
}

// cookieHash is the hash over client cookie, version, reserved octets and time of
// a cookie, and the client's address (RFC 9018 section 4.4).
func cookieHash(secret *CookieSecret, cookie []byte, from netip.Addr) uint64 {
	const head = clientCookieSize + 8
	var b [head + 16]byte
	n := copy(b[:head], cookie)
	if from.Is4() || from.Is4In6() {
		a := from.As4()
		n += copy(b[n:], a[:])
	} else {
		a := from.As16()
		n += copy(b[n:], a[:])
	}
	return sipHash((*[16]byte)(secret), b[:n])
}
