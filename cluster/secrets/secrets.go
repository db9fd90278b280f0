// Package secrets keeps the keys that all nodes of the cluster share: those of
// DNS Cookies (RFC 9018 section 5).
//
// They are a setting of the replicated state, so any node answers with what
// another made, also alone and after a restart. The leader makes the first ones
// and rotates them: next becomes current, current becomes previous, and a new
// next is announced a whole period before anyone uses it, so that nodes which
// learn of a rotation a moment apart still take each other's cookies. What is
// random is made before it is proposed, and each proposal holds only if the
// setting is still as it was read, so two nodes that both believe to lead cannot
// undo each other.
//
// It knows a Proposer, who leads, and a reader of the setting; it must never know
// Raft, the store, or what a cookie looks like.
package secrets

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/eider-dns/eider/store/record"
)

const (
	// Period is how long a key is in use. RFC 9018 section 5 asks for 25 hours at the
	// most on average, and for longer than a cookie lasts, which is one hour.
	Period = 24 * time.Hour
	// look is how often the setting is read: other nodes rotate, too.
	look = time.Second
	// proposeTime bounds one proposal of the leader; it tries again at the next look.
	proposeTime = 5 * time.Second
	// rotateTries is how often Rotate tries again when another rotation came between.
	rotateTries = 3
)

// Key is one secret.
type Key [16]byte

// Keys are the secrets in use. Cookies are made with Current; those made with any are good.
type Keys struct {
	Previous Key // zero: none yet
	Current  Key
	Next     Key
}

const (
	version   = 1
	valueSize = 1 + 8 + 3*len(Key{}) // version, time, keys
)

// errValue is about a setting this build cannot read.
var errValue = errors.New("the cluster's cookie secrets are in a form this build does not know")

// encode is the value of the setting; at is when the keys came into use.
func (k *Keys) encode(at time.Time) []byte {
	b := binary.BigEndian.AppendUint64([]byte{version}, uint64(at.Unix()))
	return append(append(append(b, k.Previous[:]...), k.Current[:]...), k.Next[:]...)
}

func decode(b []byte) (k Keys, at time.Time, err error) {
	if len(b) != valueSize || b[0] != version {
		return k, at, errValue
	}
	at = time.Unix(int64(binary.BigEndian.Uint64(b[1:])), 0)
	for i, key := range [3]*Key{&k.Previous, &k.Current, &k.Next} {
		copy(key[:], b[9+i*len(key):])
	}
	return k, at, nil
}

// Proposer takes changes to the cluster; *cluster.Node is one.
type Proposer interface {
	Propose(ctx context.Context, changes []record.Change) ([]record.Result, error)
}

// Options says what a Keeper stands on; all but Now and Log are needed. The
// functions are called from any goroutine and must not block.
type Options struct {
	Proposer Proposer
	Leading  func() bool   // this node leads now
	Setting  func() []byte // value of record.SettingCookies in the newest view, nil if there is none; it is not kept
	Publish  func(Keys)    // takes new keys; one call at a time

	Now func() time.Time // default time.Now
	Log *slog.Logger     // nil: none
}

// Keeper watches over the secrets of one node. Its methods may be called from any goroutine.
type Keeper struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}

	mu        sync.Mutex // guards what follows, and orders calls of Publish
	published string     // the value whose keys were published last
	odd       string     // the last value that could not be read
}

// Open publishes the keys there are, and goes on watching until Close.
func Open(o Options) *Keeper {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{o: o, done: make(chan struct{})}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.publish()
	go k.run()
	return k
}

// Close ends the watch; a proposal under way is given up and may still be done.
func (k *Keeper) Close() {
	k.cancel()
	<-k.done
}

func (k *Keeper) run() {
	defer close(k.done)
	t := time.NewTicker(look)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			k.turn()
		case <-k.ctx.Done():
			return
		}
	}
}

// turn publishes what is new and, on the leader, proposes what is due.
func (k *Keeper) turn() {
	value := k.publish()
	if !k.o.Leading() || !k.due(value) {
		return
	}
	ctx, cancel := context.WithTimeout(k.ctx, proposeTime)
	defer cancel()
	switch res, err := k.propose(ctx, value); {
	case err != nil:
		k.o.Log.Debug("cookie secrets not rotated", slog.Any("err", err)) // once a second, until there is a quorum
	case res.Status == record.OK:
		k.o.Log.Info("cookie secrets rotated", slog.Uint64("index", res.Index))
		k.publish()
	}
}

// Look publishes the keys of now at once, for a node that is about to answer with a state it has just applied again. It is
// watched every second all the same.
func (k *Keeper) Look() { k.publish() }

// publish hands on the keys, if they are others than before, and gives the setting's value.
func (k *Keeper) publish() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	value := k.o.Setting()
	if value == nil || string(value) == k.published || string(value) == k.odd {
		return value
	}
	keys, _, err := decode(value)
	if err != nil {
		k.odd = string(value)
		k.o.Log.Warn("cookies stay as they are", slog.Any("err", err))
		return value
	}
	k.published = string(value)
	k.o.Publish(keys)
	return value
}

// due tells whether there are no keys yet, or they have been in use for a period;
// or for longer than that from the future, by a clock that was wrong.
func (k *Keeper) due(value []byte) bool {
	if value == nil {
		return true
	}
	_, at, err := decode(value)
	age := k.o.Now().Sub(at)
	return err == nil && (age >= Period || age <= -Period)
}

// propose proposes the keys that follow those in value.
func (k *Keeper) propose(ctx context.Context, value []byte) (record.Result, error) {
	pre := record.Precondition{Kind: record.PreSettingIs, Type: record.SettingCookies}
	var keys Keys
	if value == nil {
		keys.Current = random()
	} else {
		old, _, err := decode(value)
		if err != nil {
			return record.Result{}, err
		}
		pre.Data = [][]byte{value}
		keys.Previous, keys.Current = old.Current, old.Next
	}
	keys.Next = random()
	results, err := k.o.Proposer.Propose(ctx, []record.Change{{
		Pre: []record.Precondition{pre},
		Ops: []record.Op{{Kind: record.OpSetting, Type: record.SettingCookies, Data: [][]byte{keys.encode(k.o.Now())}}},
	}})
	if err != nil || len(results) == 0 {
		return record.Result{}, err
	}
	return results[0], nil
}

func random() (k Key) {
	_, _ = rand.Read(k[:]) // never fails
	return k
}

// Rotate rotates the keys now, from whatever node. When it returns this node uses
// them; the others do within moments, and take cookies of both meanwhile. The keys
// of before the rotation before this one end: rotate twice to be rid of a secret
// that became known.
func (k *Keeper) Rotate(ctx context.Context) (record.Result, error) {
	for range rotateTries {
		res, err := k.propose(ctx, k.publish())
		switch {
		case err != nil:
			return res, fmt.Errorf("rotate the cookie secrets: %w", err)
		case res.Status == record.OK:
			k.publish()
			return res, nil
		case res.Cause != record.CauseSetting:
			return res, fmt.Errorf("rotate the cookie secrets: %v: %s", res.Status, res.Reason)
		}
	}
	return record.Result{}, errors.New("rotate the cookie secrets: others rotate them at the same time; look before trying again")
}
