// Package access is who may do what: TSIG keys and the rules that name them.
//
// It owns the form of both in the replicated settings, the sealing of secrets, and
// the one function that decides for every transport and operation
// (Snapshot.Allows). Nothing is allowed that no rule allows. Reading is by an
// immutable Snapshot, made again when the settings have changed.
//
// It must never know sockets, messages, or how the cluster agrees.
package access

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store/record"
)

// Reader reads settings from one view of the store.
type Reader interface {
	Setting(id record.Setting) []byte
}

// Operation is what someone wants to do.
type Operation uint8

// The operations. One appears here when something asks for it, so that no rule
// promises what nobody enforces.
const (
	Update   Operation = 1 << iota // DNS UPDATE (RFC 2136)
	Transfer                       // AXFR and IXFR (RFC 5936, RFC 1995)
	Notify                         // NOTIFY (RFC 1996)
	// Query is any other question. It differs from the rest: a zone that no rule is about
	// may be asked by everyone, one with a rule only by those its rules name.
	Query
)

var operations = [...]struct {
	op   Operation
	name string
}{{Update, "update"}, {Transfer, "transfer"}, {Notify, "notify"}, {Query, "query"}}

// ParseOperation reads the name of an operation.
func ParseOperation(s string) (Operation, error) {
	for _, o := range operations {
		if s == o.name {
			return o.op, nil
		}
	}
	return 0, fmt.Errorf("%q is no operation a rule can allow; there are update, transfer, notify and query", s)
}

// Names are the names of the operations in o.
func (o Operation) Names() (names []string) {
	for _, k := range operations {
		if o&k.op != 0 {
			names = append(names, k.name)
		}
	}
	return names
}

// Who is someone who asks: where from, and with which key, if the message was
// signed and verified.
type Who struct {
	From netip.Addr
	Key  record.Name // lower case; empty: not signed
}

// Snapshot is all keys and rules at one time. It never changes.
type Snapshot struct {
	state  state
	made   time.Time
	keys   map[record.Name]*tsig.Key
	closed map[record.Name]struct{} // keys this node cannot open
	rules  map[record.Name][]Rule   // by zone, lower case

	guarded map[string][]Rule // those about queries, by the key of their zone
}

// Key is the key of that name in lower case. If the cluster has it, but this node
// cannot open it, key is nil and closed true.
func (s *Snapshot) Key(name record.Name) (key *tsig.Key, closed bool) {
	_, closed = s.closed[name]
	return s.keys[name], closed
}

// Closed is how many keys this node cannot open.
func (s *Snapshot) Closed() int { return len(s.closed) }

// Allows is the one place that decides whether someone may do op in the zone with
// apex zone, to the RRset owner/t; t 0 stands for all types of owner. Without an
// owner it tells whether any rule is for them at all.
func (s *Snapshot) Allows(who Who, op Operation, zone, owner record.Name, t record.Type) bool {
	rules := s.rules[zone.Lower()]
	return slices.ContainsFunc(rules, func(r Rule) bool {
		return r.admits(who, op) && (owner == "" || r.covers(who, owner, t))
	})
}

// ErrClosed: a message is signed with a key of the cluster's that this node cannot open.
var ErrClosed = errors.New("this node lacks the secret of the cluster, so the key could not be opened")

// Verify says who sent msg. sig is nil if it is not signed, and not good if the
// signature is not; end is where it ends without its TSIG record. An error wraps
// ErrClosed, or tsig.ErrFormat.
func (s *Snapshot) Verify(msg []byte, from netip.Addr, now time.Time) (who Who, sig *tsig.Request, end int, err error) {
	who.From = from.Unmap()
	closed := false
	sig, end, err = tsig.Verify(msg, func(name record.Name) (key *tsig.Key) {
		key, closed = s.Key(name)
		return key
	}, now)
	switch {
	case err != nil || sig == nil:
		return who, nil, len(msg), err
	case closed && !sig.Good():
		return who, nil, len(msg), fmt.Errorf("%w: %v", ErrClosed, sig.KeyName())
	case sig.Good():
		who.Key = sig.Key.Name
	}
	return who, sig, end, nil
}

// Cache makes a Snapshot when there is something new. It is safe for any goroutine.
type Cache struct {
	secret  *Secret
	current atomic.Pointer[Snapshot]
}

// NewCache makes a Cache that opens keys with secret.
func NewCache(secret *Secret) *Cache { return &Cache{secret: secret} }

// reopenEvery is how often keys that could not be opened are tried again: a secret
// may be brought to a node while it runs.
const reopenEvery = time.Second

// At is the Snapshot of a view. It costs one look at one setting if nothing has
// changed since the last one.
func (c *Cache) At(view Reader) *Snapshot {
	have := c.current.Load()
	if have != nil && bytes.Equal(view.Setting(record.SettingAccess), have.state.encoded) &&
		(len(have.closed) == 0 || time.Since(have.made) < reopenEvery) {
		return have
	}
	s := &Snapshot{
		state: readState(view), made: time.Now(), keys: make(map[record.Name]*tsig.Key),
		closed: make(map[record.Name]struct{}), rules: make(map[record.Name][]Rule), guarded: make(map[string][]Rule),
	}
	for i := range s.state.keys {
		sealed, ok := readKey(view, i)
		if !ok {
			continue
		}
		key, err := c.secret.open(sealed)
		if err != nil {
			s.closed[sealed.name] = struct{}{}
			continue
		}
		s.keys[key.Name] = key
	}
	for i := range s.state.rules {
		r, ok := readRule(view, i)
		if !ok {
			r, ok = unreadableGuard(view, i)
		}
		if ok {
			zone := r.Zone.Lower()
			s.rules[zone] = append(s.rules[zone], r)
			if r.Allow&Query != 0 {
				key := string(r.Zone.Key())
				s.guarded[key] = append(s.guarded[key], r)
			}
		}
	}
	c.current.Store(s)
	return s
}

// state is the value of record.SettingAccess.
type state struct {
	encoded     []byte // as it is in the view, nil if there was never a key or rule
	version     uint64 // counts changes
	keys, rules uint16 // places in use, and some that are free again
	fingerprint [8]byte
}

const stateSize = 8 + 2 + 2 + 8

func readState(view Reader) (s state) {
	b := view.Setting(record.SettingAccess)
	if len(b) != stateSize {
		return s
	}
	s.encoded = bytes.Clone(b)
	s.version = binary.BigEndian.Uint64(b)
	s.keys, s.rules = binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:])
	s.keys, s.rules = min(s.keys, record.MaxAccess), min(s.rules, record.MaxAccess)
	copy(s.fingerprint[:], b[12:])
	return s
}

func (s state) append() []byte {
	b := binary.BigEndian.AppendUint64(nil, s.version)
	b = binary.BigEndian.AppendUint16(b, s.keys)
	b = binary.BigEndian.AppendUint16(b, s.rules)
	return append(b, s.fingerprint[:]...)
}

// Match is how a rule's owner is compared.
type Match string

// The ways (BIND's update-policy has them under the same names).
const (
	MatchAny      Match = ""         // every owner in the zone
	MatchExact    Match = "exact"    // the name itself
	MatchSubtree  Match = "subtree"  // the name and all below it
	MatchWildcard Match = "wildcard" // all below the name, "*." taken off
	MatchSelf     Match = "self"     // the name of the key
)

// Rule lets someone do something. Key and Prefixes both count, if both are there.
type Rule struct {
	ID       int // its place, to remove it by
	Zone     record.Name
	Key      record.Name    // empty: signed or not
	Prefixes []netip.Prefix // empty: from anywhere
	Allow    Operation
	Match    Match
	Owner    record.Name
	Types    []record.Type // empty: all
}

// MaxRuleList is the most prefixes, and the most types, of one rule.
const MaxRuleList = 64

// Check tells what is wrong with a rule.
func (r *Rule) Check() error {
	switch {
	case !r.Zone.Valid():
		return fmt.Errorf("a rule is for one zone; for example --zone example.com")
	case r.Key == "" && len(r.Prefixes) == 0:
		return fmt.Errorf("a rule needs a key, a prefix, or both; --prefix 0.0.0.0/0 and --prefix ::/0 are everyone")
	case len(r.Allow.Names()) == 0:
		return fmt.Errorf("a rule allows something; for example --allow update,transfer")
	case r.Allow&Update == 0 && (r.Match != MatchAny || len(r.Types) > 0):
		return fmt.Errorf("owners and types are for updates; %s is allowed for a whole zone", strings.Join(r.Allow.Names(), ","))
	case len(r.Prefixes) > MaxRuleList || len(r.Types) > MaxRuleList:
		return fmt.Errorf("a rule has at most %d prefixes and %d types; add another rule", MaxRuleList, MaxRuleList)
	case r.Match == MatchSelf && r.Key == "":
		return fmt.Errorf("owner self is the name of the key, so it needs --key")
	case r.Match != MatchAny && r.Match != MatchSelf && !r.Owner.In(r.Zone):
		return fmt.Errorf("%v is not in the zone %v", r.Owner, r.Zone)
	}
	for _, t := range r.Types {
		if t.Meta() {
			return fmt.Errorf("%v is no type of data; leave the types out to allow all", t)
		}
	}
	return nil
}

func (r *Rule) admits(who Who, op Operation) bool {
	if r.Allow&op == 0 || r.Key != "" && r.Key != who.Key || r.Key == "" && len(r.Prefixes) == 0 {
		return false
	}
	from := who.From.Unmap()
	return len(r.Prefixes) == 0 || slices.ContainsFunc(r.Prefixes, func(p netip.Prefix) bool { return p.Contains(from) })
}

func (r *Rule) covers(who Who, owner record.Name, t record.Type) bool {
	if len(r.Types) > 0 && !slices.Contains(r.Types, t) {
		return false
	}
	switch r.Match {
	case MatchAny:
		return true
	case MatchExact:
		return owner.Equal(r.Owner)
	case MatchSubtree:
		return owner.In(r.Owner)
	case MatchWildcard:
		return owner.In(r.Owner) && !owner.Equal(r.Owner)
	case MatchSelf:
		return who.Key != "" && owner.Equal(who.Key)
	}
	return false
}

// OwnerText is how a rule's owner is written, the inverse of ParseOwner.
func (r *Rule) OwnerText() string {
	switch r.Match {
	case MatchAny:
		return "any"
	case MatchSelf:
		return "self"
	case MatchWildcard:
		return "wildcard:*." + strings.TrimPrefix(r.Owner.String(), ".")
	}
	return string(r.Match) + ":" + r.Owner.String()
}

// ParseOwner reads "NAME", "exact:NAME", "subtree:NAME", "wildcard:*.NAME", "self" or "any".
func ParseOwner(s string) (Match, record.Name, error) {
	match, text, ok := strings.Cut(s, ":")
	switch {
	case s == "" || s == "any":
		return MatchAny, "", nil
	case s == "self":
		return MatchSelf, "", nil
	case !ok:
		match, text = string(MatchExact), s
	}
	name, err := record.ParseName(text)
	if err != nil {
		return "", "", fmt.Errorf("owner %q: %w", s, err)
	}
	switch m := Match(match); m {
	case MatchExact, MatchSubtree:
		return m, name, nil
	case MatchWildcard:
		if !name.Wildcard() {
			return "", "", fmt.Errorf("owner %q: a wildcard starts with \"*.\", for example \"wildcard:*.dyn.example.com\"", s)
		}
		return m, name.Parent(), nil
	}
	return "", "", fmt.Errorf("owner %q: it is NAME, subtree:NAME, wildcard:*.NAME, self or any", s)
}

// ruleJSON is the form of a rule in the settings, and for programs.
type ruleJSON struct {
	ID       int            `json:"id,omitempty"`
	Zone     string         `json:"zone"`
	Key      string         `json:"key,omitempty"`
	Prefixes []netip.Prefix `json:"prefixes,omitempty"`
	Allow    []string       `json:"allow"`
	Owner    string         `json:"owner"`
	Types    []string       `json:"types,omitempty"`
}

// MarshalJSON writes the form UnmarshalJSON reads.
func (r Rule) MarshalJSON() ([]byte, error) {
	j := ruleJSON{ID: r.ID, Zone: r.Zone.String(), Prefixes: r.Prefixes, Allow: r.Allow.Names(), Owner: r.OwnerText()}
	if r.Key != "" {
		j.Key = r.Key.String()
	}
	for _, t := range r.Types {
		j.Types = append(j.Types, t.String())
	}
	return json.Marshal(j)
}

// UnmarshalJSON refuses what it does not know: a rule that is not understood must not allow.
func (r *Rule) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var j ruleJSON
	err := dec.Decode(&j)
	if err != nil {
		return err
	}
	*r = Rule{ID: j.ID, Prefixes: j.Prefixes}
	if r.Zone, err = record.ParseName(j.Zone); err != nil {
		return fmt.Errorf("zone: %w", err)
	}
	if j.Key != "" {
		if r.Key, err = record.ParseName(j.Key); err != nil {
			return fmt.Errorf("key: %w", err)
		}
		r.Key = r.Key.Lower()
	}
	for _, s := range j.Allow {
		op, err := ParseOperation(s)
		if err != nil {
			return err
		}
		r.Allow |= op
	}
	if r.Match, r.Owner, err = ParseOwner(j.Owner); err != nil {
		return err
	}
	for _, s := range j.Types {
		t, ok := record.ParseType(s)
		if !ok {
			return fmt.Errorf("type %q is not known", s)
		}
		r.Types = append(r.Types, t)
	}
	for _, p := range r.Prefixes {
		if !p.IsValid() {
			return fmt.Errorf("a prefix is not one")
		}
	}
	return r.Check()
}

func readRule(view Reader, place uint16) (r Rule, ok bool) {
	b := view.Setting(record.SettingRules + record.Setting(place))
	if b == nil || json.Unmarshal(b, &r) != nil {
		return Rule{}, false
	}
	r.ID = int(place) + 1
	return r, true
}

// unreadableGuard is what a rule that cannot be read, from a newer build say, still
// means: if it may be about queries, its zone is not for everyone.
func unreadableGuard(view Reader, place uint16) (Rule, bool) {
	var j struct {
		Zone  string
		Allow []string
	}
	b := view.Setting(record.SettingRules + record.Setting(place))
	if b == nil || json.Unmarshal(b, &j) != nil {
		return Rule{}, false
	}
	zone, err := record.ParseName(j.Zone)
	guards := slices.ContainsFunc(j.Allow, func(s string) bool {
		op, err := ParseOperation(s)
		return err != nil || op == Query
	})
	return Rule{Zone: zone, Allow: Query}, err == nil && guards
}
