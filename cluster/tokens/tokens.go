// Package tokens keeps the tokens with which programs ask nodes over the network.
//
// They are settings of the replicated state, so a token made at one node counts at
// all, and one removed counts nowhere, as soon as the change has reached them. What
// is kept is a hash: who reads the log, a checkpoint or a backup can use none.
//
// It knows a Proposer and a reader of settings; it must never know a socket, or
// what a role lets its owner do.
package tokens

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eider-dns/eider/store/record"
)

// Role is what a token lets its owner do.
type Role string

// The roles.
const (
	Admin   Role = "admin"   // everything an operator may
	Read    Role = "read"    // look at everything but secrets
	Metrics Role = "metrics" // the metrics alone
)

// ParseRole reads a role.
func ParseRole(s string) (Role, error) {
	if r := Role(s); r == Admin || r == Read || r == Metrics {
		return r, nil
	}
	return "", fmt.Errorf("%q is no role; there are admin, read and metrics", s)
}

const (
	// prefix lets programs that look for secrets in files find ours.
	prefix = "eider_"
	// secretSize is the length of a token in octets: 256 random bits cannot be guessed, which is why
	// one round of SHA-256 protects them; slow hashes are for what people think up.
	secretSize = 32
	// MaxName is the longest name in octets.
	MaxName = 63
	// textSize is the length of a token as it is written.
	textSize = len(prefix) + (secretSize*8+5)/6
)

// Secret is a token as its owner has it.
type Secret [secretSize]byte

// New makes a token.
func New() (s Secret) {
	_, _ = rand.Read(s[:]) // never fails
	return s
}

// Text is how a token is written. It is shown once.
func (s Secret) Text() string { return prefix + base64.RawURLEncoding.EncodeToString(s[:]) }

// String keeps tokens out of logs.
func (s Secret) String() string { return "a token" }

// GoString does, too.
func (s Secret) GoString() string { return "a token" }

var errForm = errors.New("that is no token of an Eider cluster; `eider token add` makes one")

// Parse reads what Text writes, and nothing else. The error shows none of it.
func Parse(text string) (s Secret, err error) {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok || len(text) != textSize {
		return s, errForm
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil || len(b) != secretSize {
		return s, errForm
	}
	return Secret(b), nil
}

func (s Secret) hash() [sha256.Size]byte {
	return sha256.Sum256(append([]byte("eider token\x00"), s[:]...))
}

// Token is what is known of a token.
type Token struct {
	Name    string    `json:"name"`
	Role    Role      `json:"role"`
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
}

// Expired tells whether a token counts no more.
func (t Token) Expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// kept is the value of a setting.
type kept struct {
	Token
	Hash []byte `json:"hash"`
}

// Reader reads settings from one view of the store.
type Reader interface {
	Setting(id record.Setting) []byte
	Close()
}

// Keeper reads and changes the tokens of the cluster, at any node. Its methods may
// be called from any goroutine.
type Keeper struct {
	View    func() Reader // nil if there is none yet
	Propose func(ctx context.Context, changes []record.Change) ([]record.Result, error)
	CatchUp func(context.Context) // waits a moment until View shows what any node has answered; nil if it always does
	Now     func() time.Time      // default time.Now
}

func (k *Keeper) now() time.Time {
	if k.Now != nil {
		return k.Now()
	}
	return time.Now()
}

var errNoView = errors.New("the node has no data yet")

// state is the value of record.SettingTokens: it counts changes, so that they come
// one after the other, and the places in use.
type state struct {
	encoded []byte
	version uint64
	used    uint16
}

func readState(view Reader) (s state) {
	b := view.Setting(record.SettingTokens)
	if len(b) == 8+2 {
		s.encoded = bytes.Clone(b)
		s.version, s.used = binary.BigEndian.Uint64(b), min(binary.BigEndian.Uint16(b[8:]), record.MaxTokens)
	}
	return s
}

func read(view Reader, place uint16) (t kept, ok bool) {
	b := view.Setting(record.SettingToken + record.Setting(place))
	if b == nil || json.Unmarshal(b, &t) != nil || len(t.Hash) != sha256.Size {
		return kept{}, false
	}
	return t, true
}

// Find is the token that was shown, if the cluster has it and it has not expired.
// All are looked at, in constant time each.
func (k *Keeper) Find(shown Secret) (found Token, ok bool) {
	view := k.View()
	if view == nil {
		return Token{}, false
	}
	defer view.Close()
	hash := shown.hash()
	for i := range readState(view).used {
		if t, there := read(view, i); there && subtle.ConstantTimeCompare(t.Hash, hash[:]) == 1 {
			found, ok = t.Token, true
		}
	}
	return found, ok && !found.Expired(k.now())
}

// List is all tokens, by name, the expired ones among them.
func (k *Keeper) List() ([]Token, error) {
	view := k.View()
	if view == nil {
		return nil, errNoView
	}
	defer view.Close()
	out := []Token{}
	for i := range readState(view).used {
		if t, ok := read(view, i); ok {
			out = append(out, t.Token)
		}
	}
	slices.SortFunc(out, func(a, b Token) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// NotFoundError says which token there is none of.
type NotFoundError struct{ Name string }

func (e *NotFoundError) Error() string { return fmt.Sprintf("there is no token %q", e.Name) }

// Add adds a token of a name not in use; life 0 is for ever.
func (k *Keeper) Add(ctx context.Context, name string, role Role, life time.Duration) (Secret, record.Result, error) {
	if err := checkName(name); err != nil {
		return Secret{}, record.Result{}, err
	}
	if _, err := ParseRole(string(role)); err != nil {
		return Secret{}, record.Result{}, err
	}
	secret := New()
	hash := secret.hash()
	t := kept{Token{Name: name, Role: role, Made: k.now().UTC().Truncate(time.Second)}, hash[:]}
	if life > 0 {
		t.Expires = t.Made.Add(life)
	}
	value, err := json.Marshal(t)
	if err != nil {
		return Secret{}, record.Result{}, err
	}
	res, err := k.edit(ctx, func(view Reader, s *state) (record.Op, error) {
		place, free := s.used, false
		for i := range s.used {
			have, ok := read(view, i)
			if ok && have.Name == name {
				return record.Op{}, fmt.Errorf("there is a token %q already; remove it first, or take another name", name)
			}
			if !ok && !free && view.Setting(record.SettingToken+record.Setting(i)) == nil {
				place, free = i, true
			}
		}
		if place == record.MaxTokens {
			return record.Op{}, fmt.Errorf("there are %d tokens already, the most there can be; remove some", record.MaxTokens)
		}
		s.used = max(s.used, place+1)
		return record.Op{Kind: record.OpSetting, Type: record.SettingToken + record.Setting(place), Data: [][]byte{value}}, nil
	})
	return secret, res, err
}

// Remove removes a token; it counts no more at any node that has applied the change.
func (k *Keeper) Remove(ctx context.Context, name string) (record.Result, error) {
	return k.edit(ctx, func(view Reader, s *state) (record.Op, error) {
		for i := range s.used {
			if have, ok := read(view, i); ok && have.Name == name {
				return record.Op{Kind: record.OpSetting, Type: record.SettingToken + record.Setting(i)}, nil
			}
		}
		return record.Op{}, &NotFoundError{name}
	})
}

func checkName(name string) error {
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_')
	}
	if name == "" || len(name) > MaxName || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("%.80q is no name of a token: 1 to %d letters, digits, '.', '-' or '_'; for example \"external-dns\"", name, MaxName)
	}
	return nil
}

// edit proposes what plan makes of the current state, on condition that it is
// still that.
func (k *Keeper) edit(ctx context.Context, plan func(view Reader, s *state) (record.Op, error)) (record.Result, error) {
	return record.Edit(ctx, "tokens", k.Propose, k.CatchUp, func() (record.Change, error) { return k.plan(plan) })
}

func (k *Keeper) plan(plan func(view Reader, s *state) (record.Op, error)) (record.Change, error) {
	view := k.View()
	if view == nil {
		return record.Change{}, errNoView
	}
	defer view.Close()
	s := readState(view)
	op, err := plan(view, &s)
	if err != nil {
		return record.Change{}, err
	}
	value := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, s.version+1), s.used)
	pre := record.Precondition{Kind: record.PreSettingIs, Type: record.SettingTokens}
	if s.encoded != nil {
		pre.Data = [][]byte{s.encoded}
	}
	return record.Change{
		Pre: []record.Precondition{pre},
		Ops: []record.Op{op, {Kind: record.OpSetting, Type: record.SettingTokens, Data: [][]byte{value}}},
	}, nil
}
