package admin

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

// maxOpenLoads is how many zones of one file are loaded side by side. The store
// keeps 64 loads open in all, and other nodes may be loading too. A file with
// more zones is read once more for each so many.
const maxOpenLoads = 16

// opOverhead is about what an op of a load adds to its names and data in a
// change: kind, flags, lengths, type, TTL, load id and count.
const opOverhead = 30

// builder collects records as OpLoadAdd ops; records of one RRset that follow
// one another share an op.
type builder struct {
	chunks   int // how many changes it may fill; 0: any number
	load     record.LoadID
	flags    uint8
	ops      []record.Op
	size     int // octets, about
	records  int
	overflow bool // with chunks > 0: there was more
}

func newBuilder(chunks int) *builder { return &builder{chunks: chunks} }

// add takes a record in; it keeps rr.Data.
func (b *builder) add(rr zonefile.RR) {
	b.records++
	if n := len(b.ops); n > 0 {
		last := &b.ops[n-1]
		if last.Type == rr.Type && last.TTL == rr.TTL && last.Owner == rr.Owner {
			last.Data = append(last.Data, rr.Data)
			b.size += len(rr.Data) + 2
			return
		}
	}
	b.ops = append(b.ops, record.Op{
		Kind: record.OpLoadAdd, Flags: b.flags, Load: b.load,
		Owner: rr.Owner, Type: rr.Type, TTL: rr.TTL, Data: [][]byte{rr.Data},
	})
	b.size += len(rr.Owner) + len(rr.Data) + opOverhead
}

// keep is add until there is more than one change holds; then it forgets all.
func (b *builder) keep(rr zonefile.RR) error {
	if b.overflow {
		return nil
	}
	b.add(rr)
	if b.size > loadChunk {
		b.overflow, b.ops = true, nil
	}
	return nil
}

// take is the change of what was collected.
func (b *builder) take() record.Change {
	c := record.Change{ID: newRequestID(), Ops: b.ops}
	b.ops, b.size = nil, 0
	return c
}

// zoneLoad is the load of one zone of a file.
type zoneLoad struct {
	builder
	apex  record.Name
	begun bool
	done  bool // committed, or found to be there already
	gone  bool // done or refused: what else belongs to it is dropped
	out   Loaded
}

// largeLoad loads one file in several changes.
type largeLoad struct {
	run   *loadRun
	src   Source
	apex  map[record.Name]*zoneLoad // of all zones of the file, in lower case; nil: loaded another time
	loads []*zoneLoad               // those loaded this time
	total int
	sent  int

	group  []record.Change
	owners []*zoneLoad   // of each change of the group
	reply  chan proposed // of the group being proposed; nil: none is
	flying []*zoneLoad
	cancel context.CancelFunc
}

type proposed struct {
	results []record.Result
	err     error
}

// large loads a file that takes more than one change, reading it again.
func (r *loadRun) large(ctx context.Context, src Source, sum zonefile.Summary, start time.Time) error {
	for apexes := range slices.Chunk(sum.Apexes, maxOpenLoads) {
		l := &largeLoad{run: r, src: src, total: sum.Records, apex: make(map[record.Name]*zoneLoad)}
		for _, apex := range sum.Apexes {
			l.apex[apex.Lower()] = nil
		}
		for _, apex := range apexes {
			z := &zoneLoad{apex: apex, out: Loaded{Source: src, Zone: apex}}
			z.load, z.flags = newRequestID(), r.flags()&record.OpLenient
			l.loads, l.apex[apex.Lower()] = append(l.loads, z), z
		}
		if err := l.load(ctx, start); err != nil {
			return err
		}
	}
	return nil
}

// load loads the zones l.loads. Its error ends the run.
func (l *largeLoad) load(ctx context.Context, start time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begins := make([]record.Change, len(l.loads))
	for i, z := range l.loads {
		begins[i] = record.Change{ID: z.load, Ops: []record.Op{l.run.begin(z.apex, z.load)}}
	}
	results, err := l.run.propose(ctx, begins)
	for i, res := range results {
		z := l.loads[i]
		z.begun = res.Status == record.OK
		if !z.begun {
			z.gone = true
			z.out.decided(res)
		}
	}
	if err == nil && l.live() {
		_, err = zonefile.ReadFile(l.src.Path, l.run.options(l.src, false), func(rr zonefile.RR) error { return l.add(ctx, rr) })
		if err == nil {
			err = l.finish(ctx)
		}
	}
	l.drain()
	l.abort(ctx)
	return l.report(err, start)
}

// live tells whether any zone of the file is still being loaded.
func (l *largeLoad) live() bool {
	for _, z := range l.loads {
		if !z.gone {
			return true
		}
	}
	return false
}

// zoneOf is the load the owner belongs to, that of the closest apex above it;
// nil with found if that zone is not loaded this time.
func (l *largeLoad) zoneOf(owner record.Name) (z *zoneLoad, found bool) {
	for n := owner.Lower(); ; n = n.Parent() {
		if z, found = l.apex[n]; found || n == record.Root {
			return z, found
		}
	}
}

// add takes one record of the file.
func (l *largeLoad) add(ctx context.Context, rr zonefile.RR) error {
	z, found := l.zoneOf(rr.Owner)
	if !found {
		return fmt.Errorf("%s:%d: %s is in no zone of this file", l.src.Path, rr.Line, rr.Owner)
	}
	if z == nil || z.gone {
		return nil
	}
	z.add(rr)
	if z.size < loadChunk {
		return nil
	}
	return l.push(ctx, z)
}

// push queues what z has collected, and proposes the group when it is full.
func (l *largeLoad) push(ctx context.Context, z *zoneLoad) error {
	if len(z.ops) == 0 {
		return nil
	}
	l.group, l.owners = append(l.group, z.take()), append(l.owners, z)
	if len(l.group) < loadGroup {
		return nil
	}
	return l.send(ctx)
}

// send waits for the group before and starts proposing this one, so that the
// file is read meanwhile.
func (l *largeLoad) send(ctx context.Context) error {
	if err := l.collect(); err != nil {
		return err
	}
	if len(l.group) == 0 {
		return nil
	}
	group := l.group
	l.flying, l.group, l.owners = l.owners, nil, nil
	l.reply = make(chan proposed, 1)
	ctx, l.cancel = context.WithCancel(ctx)
	go func(reply chan<- proposed) {
		results, err := l.run.propose(ctx, group)
		reply <- proposed{results, err}
	}(l.reply)
	for _, c := range group {
		for i := range c.Ops {
			l.sent += len(c.Ops[i].Data)
		}
	}
	return nil
}

// collect waits for the group being proposed.
func (l *largeLoad) collect() error {
	if l.reply == nil {
		return nil
	}
	got := <-l.reply
	l.cancel()
	l.reply = nil
	l.run.progress(Progress{Source: l.src, Sent: l.sent, Total: l.total})
	for i, res := range got.results {
		if z := l.flying[i]; res.Status == record.Refused && !z.gone {
			z.gone = true
			z.out.decided(res)
		}
	}
	return got.err
}

// drain ends a proposal that is still under way.
func (l *largeLoad) drain() {
	if l.reply != nil {
		l.cancel()
		<-l.reply
		l.reply = nil
	}
}

// finish sends the rest and commits every zone.
func (l *largeLoad) finish(ctx context.Context) error {
	for _, z := range l.loads {
		if !z.gone {
			if err := l.push(ctx, z); err != nil {
				return err
			}
		}
	}
	if err := l.send(ctx); err != nil {
		return err
	}
	if err := l.collect(); err != nil {
		return err
	}
	var commits []record.Change
	var of []*zoneLoad
	for _, z := range l.loads {
		if !z.gone {
			commits = append(commits, *newChange(author(l.src), []record.Op{l.run.commit(z.apex, z.load, z.records)}))
			of = append(of, z)
		}
	}
	if len(commits) == 0 {
		return nil
	}
	results, err := l.run.propose(ctx, commits)
	for i, res := range results {
		of[i].gone, of[i].done = true, res.Status != record.Refused
		of[i].out.Records = of[i].records
		of[i].out.decided(res)
	}
	return err
}

// abort makes the cluster forget what was sent and not committed, if it can be told.
func (l *largeLoad) abort(ctx context.Context) {
	var aborts []record.Change
	for _, z := range l.loads {
		if z.begun && !z.done {
			aborts = append(aborts, *newChange(author(l.src), []record.Op{{Kind: record.OpLoadAbort, Owner: z.apex, Load: z.load}}))
		}
	}
	if len(aborts) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	l.run.Proposer.Propose(ctx, aborts) //nolint:errcheck // an unfinished load is invisible, and the store purges it
}

// report tells what became of each zone. err, if any, is that of all that were
// not decided.
func (l *largeLoad) report(err error, start time.Time) error {
	for _, z := range l.loads {
		if !z.gone && err != nil {
			z.out.Err = err
		}
		z.out.Took = time.Since(start)
		if z.out.Err == nil {
			l.run.each(z.out)
		} else if bad := l.run.bad(z.out); bad != nil {
			return bad
		}
	}
	if err != nil && outcomeOf(err) != failed {
		return err // the cluster takes no changes: the next file would fare no better
	}
	return nil
}
