package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store/record"
)

// View is a Reader that is given back.
type View interface {
	Reader
	Close()
}

// Editor changes keys and rules. Its methods may be called from any goroutine, at
// any node: each change counts only if nothing else has changed meanwhile, and is
// made again if something has.
type Editor struct {
	Secret  *Secret
	View    func() View // nil if there is none yet
	Propose func(ctx context.Context, changes []record.Change) ([]record.Result, error)
	// CatchUp waits a moment until View shows what any node has answered: a key may be made at one node, and the rule that
	// names it right after at another. Nil if it always does.
	CatchUp func(ctx context.Context)
}

var (
	errNoView = errors.New("the node has no data yet")
	errFull   = fmt.Errorf("there are %d already, the most there can be", record.MaxAccess)
)

// NotFoundError says what there is none of.
type NotFoundError struct{ What string }

func (e *NotFoundError) Error() string { return "there is no " + e.What }

// edit proposes what plan makes of the current state.
func (e *Editor) edit(ctx context.Context, plan func(view Reader, s *state) (record.Op, error)) (record.Result, error) {
	return record.Edit(ctx, "keys and rules", e.Propose, e.CatchUp, func() (record.Change, error) { return e.plan(plan) })
}

func (e *Editor) plan(plan func(view Reader, s *state) (record.Op, error)) (record.Change, error) {
	view := e.View()
	if view == nil {
		return record.Change{}, errNoView
	}
	defer view.Close()
	s := readState(view)
	before := s.encoded
	op, err := plan(view, &s)
	if err != nil {
		return record.Change{}, err
	}
	s.version++
	pre := record.Precondition{Kind: record.PreSettingIs, Type: record.SettingAccess}
	if before != nil {
		pre.Data = [][]byte{before}
	}
	return record.Change{
		Pre: []record.Precondition{pre},
		Ops: []record.Op{op, {Kind: record.OpSetting, Type: record.SettingAccess, Data: [][]byte{s.append()}}},
	}, nil
}

// free is the first place without a value, and how many places are in use with it.
func free(view Reader, first record.Setting, used uint16) (place, now uint16, err error) {
	for i := range used {
		if view.Setting(first+record.Setting(i)) == nil {
			return i, used, nil
		}
	}
	if used >= record.MaxAccess {
		return 0, used, errFull
	}
	return used, used + 1, nil
}

// KeyInfo is a key without its secret.
type KeyInfo struct {
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"`
	Usable    bool   `json:"usable"` // at the node that was asked
}

// AddKey adds a key.
func (e *Editor) AddKey(ctx context.Context, k *tsig.Key) (record.Result, error) {
	if err := k.Check(); err != nil {
		return record.Result{}, err
	}
	value, err := e.Secret.seal(k)
	if err != nil {
		return record.Result{}, err
	}
	ours, err := e.Secret.fingerprint()
	if err != nil {
		return record.Result{}, err
	}
	return e.edit(ctx, func(view Reader, s *state) (record.Op, error) {
		some := false
		for i := range s.keys {
			have, ok := readKey(view, i)
			some = some || ok
			if ok && have.name == k.Name.Lower() {
				return record.Op{}, fmt.Errorf("there is a key %s already; remove it first, or add one of another name", have.Name)
			}
		}
		if some && s.fingerprint != ours {
			return record.Op{}, errors.New("the keys of the cluster are sealed with another secret than this node has; copy the secret file of the other nodes here")
		}
		s.fingerprint = ours
		place, used, err := free(view, record.SettingKeys, s.keys)
		s.keys = used
		return record.Op{Kind: record.OpSetting, Type: record.SettingKeys + record.Setting(place), Data: [][]byte{value}}, err
	})
}

// RemoveKey removes a key that no rule names.
func (e *Editor) RemoveKey(ctx context.Context, name record.Name) (record.Result, error) {
	name = name.Lower()
	return e.edit(ctx, func(view Reader, s *state) (record.Op, error) {
		for i := range s.rules {
			if r, ok := readRule(view, i); ok && r.Key == name {
				return record.Op{}, fmt.Errorf("rule %d of zone %v names the key %v; remove that first: eider acl remove %d", r.ID, r.Zone, name, r.ID)
			}
		}
		for i := range s.keys {
			if have, ok := readKey(view, i); ok && have.name == name {
				return record.Op{Kind: record.OpSetting, Type: record.SettingKeys + record.Setting(i)}, nil
			}
		}
		return record.Op{}, &NotFoundError{fmt.Sprintf("key %v", name)}
	})
}

// Keys lists the keys, by name.
func (e *Editor) Keys() ([]KeyInfo, error) {
	view := e.View()
	if view == nil {
		return nil, errNoView
	}
	defer view.Close()
	out := []KeyInfo{}
	for i := range readState(view).keys {
		if k, ok := readKey(view, i); ok {
			_, err := e.Secret.open(k)
			out = append(out, KeyInfo{Name: k.Name, Algorithm: k.Algorithm, Usable: err == nil})
		}
	}
	slices.SortFunc(out, func(a, b KeyInfo) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out, nil
}

// Key is one key with its secret.
func (e *Editor) Key(name record.Name) (*tsig.Key, error) {
	view := e.View()
	if view == nil {
		return nil, errNoView
	}
	defer view.Close()
	for i := range readState(view).keys {
		if k, ok := readKey(view, i); ok && k.name == name.Lower() {
			return e.Secret.open(k)
		}
	}
	return nil, &NotFoundError{fmt.Sprintf("key %v", name)}
}

// AddRule adds a rule; its ID is given to it here.
func (e *Editor) AddRule(ctx context.Context, r Rule) (id int, res record.Result, err error) {
	if err := r.Check(); err != nil {
		return 0, res, err
	}
	r.ID = 0
	value, err := json.Marshal(r)
	if err != nil {
		return 0, res, err
	}
	if len(value) > record.MaxSetting {
		return 0, res, fmt.Errorf("the rule takes %d octets, at most %d are possible; make two of it", len(value), record.MaxSetting)
	}
	res, err = e.edit(ctx, func(view Reader, s *state) (record.Op, error) {
		known := r.Key == ""
		for i := range s.keys {
			k, ok := readKey(view, i)
			known = known || ok && k.name == r.Key
		}
		if !known {
			return record.Op{}, &NotFoundError{fmt.Sprintf("key %v; add it first: eider key add %v", r.Key, r.Key)}
		}
		place, used, err := free(view, record.SettingRules, s.rules)
		s.rules, id = used, int(place)+1
		return record.Op{Kind: record.OpSetting, Type: record.SettingRules + record.Setting(place), Data: [][]byte{value}}, err
	})
	return id, res, err
}

// RemoveRule removes the rule with that ID.
func (e *Editor) RemoveRule(ctx context.Context, id int) (record.Result, error) {
	return e.edit(ctx, func(view Reader, s *state) (record.Op, error) {
		place := record.SettingRules + record.Setting(id-1)
		if id < 1 || id > int(s.rules) || view.Setting(place) == nil {
			return record.Op{}, &NotFoundError{fmt.Sprintf("rule %d", id)}
		}
		return record.Op{Kind: record.OpSetting, Type: place}, nil
	})
}

// Rules lists the rules, in the order of their IDs.
func (e *Editor) Rules() ([]Rule, error) {
	view := e.View()
	if view == nil {
		return nil, errNoView
	}
	defer view.Close()
	out := []Rule{}
	for i := range readState(view).rules {
		if r, ok := readRule(view, i); ok {
			out = append(out, r)
		}
	}
	return out, nil
}
