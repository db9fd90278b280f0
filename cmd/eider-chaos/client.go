package main

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store/record"
)

const (
	apex = "chaos.test."
	// generation is how long clients fight over the same RRsets; then come new
	// ones, so that each history stays small enough to be judged.
	generation = 4 * time.Second
	rrsets     = 3 // of one generation
	// liveMarkers is how many markers of one client are there at a time, at the most.
	liveMarkers = 150
	// proposeTime is what a client gives a change.
	proposeTime = 3 * time.Second
	// retries is how often a change with an unknown outcome is sent again under its id.
	retries = 4
	// pace is the mean pause between the changes of one client: the machine is shared.
	pace = 25 * time.Millisecond
	// ttl of all records, in seconds.
	ttl = 60
)

// presence is what is known of a marker, a record only one client ever touches.
type presence int

const (
	absent presence = iota
	present
	either // the outcome of its last change is unknown
)

// client makes changes at one node, one after another.
type client struct {
	s    *session
	id   int
	home *node
	rnd  *rand.Rand

	next    int      // number of the next marker
	markers []string // present ones, oldest first
	expect  map[string]presence
	pairs   [][2]string // of transactions with an unknown outcome: nobody touches them again
	entries []entry
	checked int    // reads of what it wrote
	index   uint64 // the newest it was told of: what its sessions ask for
	reads   map[admin.Consistency]int
	vain    int // reads that were not answered
}

func newClient(s *session, id int, home *node) *client {
	return &client{s: s, id: id, home: home, rnd: s.rand(uint64(1000 + id)), expect: map[string]presence{}, reads: map[admin.Consistency]int{}}
}

// run makes changes until ctx ends.
func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		e := c.change()
		pause := time.Duration(c.rnd.Int64N(int64(2 * pace)))
		if e.out.status == 0 {
			pause += 4 * pace
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// change makes one change of a kind drawn at random.
func (c *client) change() entry {
	switch x := c.rnd.IntN(100); {
	case x < 20:
		return c.read()
	case x < 45:
		return c.fight()
	case x < 55:
		return c.pair()
	case len(c.markers) >= liveMarkers || x < 65 && len(c.markers) > 0:
		return c.unmark()
	}
	return c.mark()
}

// mark adds a marker of its own and, at times, reads it where it was added.
func (c *client) mark() entry {
	name := fmt.Sprintf("m%d-%d.%s", c.id, c.next, apex)
	c.next++
	e := c.propose(record.Change{Ops: []record.Op{{Kind: record.OpAdd, Owner: record.MustName(name), Type: record.TypeA, TTL: ttl, Data: [][]byte{valueData(99)}}}}, entry{what: "add " + name})
	c.note(e, name, present)
	if e.out.status == record.OK {
		c.markers = append(c.markers, name)
	}
	return e
}

// unmark takes the oldest marker away.
func (c *client) unmark() entry {
	name := c.markers[0]
	c.markers = c.markers[1:]
	e := c.propose(record.Change{Ops: []record.Op{{Kind: record.OpRemove, Owner: record.MustName(name), Type: record.TypeA, Data: [][]byte{valueData(99)}}}}, entry{what: "remove " + name})
	c.note(e, name, absent)
	if c.expect[name] == present {
		c.markers = append(c.markers, name)
	}
	return e
}

// note keeps what is known of a marker after a change that was to bring it to want.
func (c *client) note(e entry, name string, want presence) {
	switch {
	case e.out.status == record.OK:
		c.expect[name] = want
		c.readBack(e, name, want)
	case e.out.status != 0:
		c.s.fail("a change of a record nobody else touches was answered %v: %v", e.out, e)
	case !e.out.known:
		c.expect[name] = either
	}
}

// pair adds two markers in one transaction of lines: both or neither.
func (c *client) pair() entry {
	a := fmt.Sprintf("p%d-%d-a.%s", c.id, c.next, apex)
	b := fmt.Sprintf("p%d-%d-b.%s", c.id, c.next, apex)
	c.next++
	e := entry{client: c.id, node: c.home.index, what: "pair " + a + " " + b, call: c.s.now(), tries: 1}
	answers, err := c.home.Lines("BEGIN", "ADD: "+a+" 60 A 10.9.0.99", "ADD: "+b+" 60 A 10.9.0.99", "COMMIT")
	e.ret = c.s.now()
	var dial *net.OpError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial":
		e.out.known = true
	case err != nil:
	default:
		last := answers[len(answers)-1]
		word, rest, _ := strings.Cut(last, " ")
		switch {
		case word == "OK":
			e.out.status = record.OK
			e.serial = serialIn(rest)
		case strings.HasPrefix(last, "UNAVAILABLE: not done"):
			e.out.known = true
		case word != "UNAVAILABLE:":
			c.s.fail("a transaction of two new records was answered %q", answers)
			e.out.known = true
		}
	}
	c.entries = append(c.entries, e)
	c.note(e, a, present)
	c.note(e, b, present)
	switch {
	case e.out.status == record.OK:
		c.markers = append(c.markers, a, b)
	case !e.out.known:
		c.pairs = append(c.pairs, [2]string{a, b})
	}
	return e
}

func serialIn(answer string) uint32 {
	for _, f := range strings.Fields(answer) {
		if s, ok := strings.CutPrefix(f, "serial="); ok {
			n, _ := strconv.ParseUint(s, 10, 32)
			return uint32(n)
		}
	}
	return 0
}

// fight changes an RRset that all clients change.
func (c *client) fight() entry {
	o := op{rrset: c.s.rrset(c.rnd.IntN(rrsets)), deed: deed(c.rnd.IntN(int(read))), value: c.rnd.IntN(values)}
	owner := record.MustName(o.rrset)
	ch := record.Change{Ops: []record.Op{{Owner: owner, Type: record.TypeA, TTL: ttl, Data: [][]byte{valueData(o.value)}}}}
	switch o.deed {
	case add:
		ch.Ops[0].Kind = record.OpAdd
	case remove:
		ch.Ops[0].Kind = record.OpRemove
	case clean:
		ch.Ops[0] = record.Op{Kind: record.OpRemoveRRset, Owner: owner, Type: record.TypeA}
	case cas:
		if r, err := c.home.ask(o.rrset, dns.TypeA); err == nil {
			o.old = answerMask(r)
		}
		pre := record.Precondition{Kind: record.PreRRsetEquals, Owner: owner, Type: record.TypeA, Data: o.old.data()}
		if o.old == 0 {
			pre = record.Precondition{Kind: record.PreRRsetAbsent, Owner: owner, Type: record.TypeA}
		}
		ch.Pre = []record.Precondition{pre}
		fallthrough
	default:
		ch.Ops[0].Kind = record.OpReplaceRRset
	}
	return c.propose(ch, entry{op: o})
}

// read looks at an RRset that all clients change, at any node and level.
func (c *client) read() entry {
	at := c.s.nodes[c.rnd.IntN(len(c.s.nodes))]
	l := admin.Level{Consistency: []admin.Consistency{admin.Local, admin.Session, admin.Linearizable}[c.rnd.IntN(3)], Wait: proposeTime}
	if l.Consistency == admin.Session {
		if l.Index = c.index; l.Index == 0 {
			l.Consistency = admin.Local
		}
	}
	e := entry{client: c.id, node: at.index, op: op{rrset: c.s.rrset(c.rnd.IntN(rrsets)), deed: read, level: l}, tries: 1}
	before := at.look()
	e.call = c.s.now()
	ctx, cancel := context.WithTimeout(context.Background(), 2*proposeTime)
	defer cancel()
	var err error
	e.index, err = at.client.At(l).Records(ctx, admin.Filter{Owner: record.MustName(e.op.rrset), Type: record.TypeA}, func(r admin.Record) error {
		v := 0
		if _, err := fmt.Sscanf(r.RData, "10.9.0.%d", &v); err != nil || v < 0 || v >= values {
			return fmt.Errorf("%s is %s", r.Owner, r.RData)
		}
		e.out.state |= 1 << v
		return nil
	})
	e.ret, e.resets = c.s.now(), before.resets
	after := at.look()
	if err != nil || before.fresh || after.fresh || before.resets != after.resets || at.behind(after) {
		c.vain++
		return e
	}
	e.out.status = record.OK
	c.reads[l.Consistency]++
	c.entries = append(c.entries, e)
	return e
}

// propose sends a change to the home node; if the outcome is unknown, at times
// again, to any node, under the same id, which must change nothing.
func (c *client) propose(ch record.Change, e entry) entry {
	if _, err := crand.Read(ch.ID[:]); err != nil {
		panic(err) // never
	}
	e.client, e.node, e.call = c.id, c.home.index, c.s.now()
	again := c.rnd.IntN(2) == 0
	at := c.home
	maybe := false // a try before may have been done
	for e.tries = 1; ; e.tries++ {
		ctx, cancel := context.WithTimeout(context.Background(), proposeTime)
		results, err := at.client.Propose(ctx, []record.Change{ch})
		cancel()
		if len(results) == 1 && results[0].Status != 0 {
			e.out.status = results[0].Status
			for _, z := range results[0].Zones {
				e.serial = z.Serial
			}
			e.index = results[0].Index
			c.index = max(c.index, e.index)
			break
		}
		if !errors.Is(err, admin.ErrNoLeader) {
			maybe = true
		}
		if !maybe || !again || e.tries > retries {
			e.out.known = !maybe
			break
		}
		at = c.s.nodes[c.rnd.IntN(len(c.s.nodes))]
		time.Sleep(4 * pace)
	}
	e.ret = c.s.now()
	c.entries = append(c.entries, e)
	return e
}

// readBack asks the node that took the change: it shows it, also across a kill,
// unless its disk lost something in between.
func (c *client) readBack(e entry, name string, want presence) {
	if e.tries > 1 || c.rnd.IntN(3) > 0 {
		return
	}
	before := c.home.look()
	r, err := c.home.ask(name, dns.TypeA)
	after := c.home.look()
	if err != nil || before.fresh || after.fresh || before.resets != after.resets {
		return
	}
	c.checked++
	if got := slices.ContainsFunc(r.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeA }); got != (want == present) {
		c.s.fail("node %s does not show a change it answered OK: %v; it says\n%v", c.home.ID, e, r)
	}
}

// answerMask is the content of an RRset in an answer.
func answerMask(r *dns.Msg) mask {
	var list []int
	for _, rr := range r.Answer {
		if a, ok := rr.(*dns.A); ok {
			list = append(list, int(a.A.To4()[3]))
		}
	}
	return maskOf(list)
}
