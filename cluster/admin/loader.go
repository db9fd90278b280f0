package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

const (
	// loadChunk is the size in octets a change of a load is filled up to: two of
	// them fill a log entry (record.MaxEntry).
	loadChunk = 30 << 10
	// loadGroup is how many such changes are proposed together; the next group is
	// read meanwhile, so a load holds two groups in memory.
	loadGroup = 16
	// smallGroup is how many zones that fit one change are proposed together.
	smallGroup = 64
	// smallGroupSize bounds them in octets.
	smallGroupSize = 512 << 10
	// DefaultLoadTimeout is how long one proposal of a load may take.
	DefaultLoadTimeout = 30 * time.Second
	// retryPause is the wait before a proposal is repeated, if nobody tells when
	// there is a leader again.
	retryPause = 100 * time.Millisecond
	// abortTimeout is how long the abort of a failed load may take.
	abortTimeout = 5 * time.Second
)

// Loader loads zone files through any Proposer: a file is validated wholly
// before anything of it is proposed, goes through the log in changes of
// loadChunk octets, and its zone becomes visible all at once or not at all.
// Memory is bounded whatever the size of the file, but for one with a ZONEMD, which is read
// wholly to be compared with it.
type Loader struct {
	Proposer Proposer
	IfAbsent bool // a zone that exists or ever did is left alone (OpIfAbsent)
	Lenient  bool // keep what the rules of data refuse, and warn
	Strict   bool // the first bad file ends Load with its error

	// Timeout is that of one proposal, DefaultLoadTimeout if 0. Patience is how
	// long one is repeated while there is no leader; 0 means as long as ctx lasts.
	Timeout, Patience time.Duration

	Ready    func(ctx context.Context) error // waits until the cluster takes changes; may be nil
	Known    func(apex record.Name) bool     // with IfAbsent: true if a look at this node's store is enough; may be nil
	Progress func(Progress)                  // called now and then, from the goroutine of Load; may be nil
	Warn     func(zonefile.Warning)          // may be nil
}

// Progress is how far the load of a file is.
type Progress struct {
	Source Source
	Sent   int // records handed to the cluster
	Total  int // records in the file
}

// Loaded is what became of one zone of a file, or of a file if Err is set and
// Zone is empty.
type Loaded struct {
	Source    Source
	Zone      record.Name
	Records   int
	Unchanged bool // it was there already, and stayed as it was
	Serial    uint32
	Index     uint64
	Note      string // what was odd
	Took      time.Duration
	Err       error
}

// ErrRefused is wrapped by the error of a load the state machine refused.
var ErrRefused = errors.New("refused")

// Load loads sources in their order and calls each, from the goroutine it runs
// in, with what became of every zone. A bad file is told to each and the next
// one is taken, unless l.Strict is set. The error is that of a strict load, of
// ctx, or of a cluster that takes no changes within l.Patience.
func (l *Loader) Load(ctx context.Context, sources []Source, each func(Loaded)) error {
	if l.Ready != nil {
		if err := l.Ready(ctx); err != nil {
			return fmt.Errorf("waiting for the cluster before loading: %w", err)
		}
	}
	run := &loadRun{Loader: l, each: each}
	for _, src := range sources {
		if err := run.file(ctx, src); err != nil {
			return err
		}
	}
	return run.flush(ctx)
}

// loadRun is one Load.
type loadRun struct {
	*Loader
	each func(Loaded)

	small     []record.Change // whole zones in one change, not proposed yet
	smallSize int
	smallInfo []Loaded // of each of small
}

// bad reports a file or zone that was not loaded.
func (r *loadRun) bad(o Loaded) error {
	r.each(o)
	if r.Strict {
		return o.Err
	}
	return nil
}

// file loads one file. Its error ends the run.
func (r *loadRun) file(ctx context.Context, src Source) error {
	if r.IfAbsent && src.Zone != "" && r.Known != nil && r.Known(src.Zone) {
		r.each(Loaded{Source: src, Zone: src.Zone, Unchanged: true})
		return nil
	}
	start := time.Now()
	keep := newBuilder(1) // what fits one change needs no second reading
	watch := cnameWatch{path: src.Path, next: keep.keep}
	digests := digestWatch{next: watch.take}
	sum, err := zonefile.ReadFile(src.Path, r.options(src, true), digests.take)
	if err == nil && r.Lenient && r.Warn != nil && sum.Form != zonefile.Ancestor { // whose reader has warned
		watch.tell(r.Warn)
	}
	if err == nil {
		err = checkApexes(src, sum)
	}
	if err != nil {
		return r.bad(Loaded{Source: src, Err: err})
	}
	if r.IfAbsent && r.Known != nil && !slices.ContainsFunc(sum.Apexes, func(apex record.Name) bool { return !r.Known(apex) }) {
		for _, apex := range sum.Apexes {
			r.each(Loaded{Source: src, Zone: apex, Unchanged: true})
		}
		return nil
	}
	if err := r.checkDigests(src, &digests, sum); err != nil {
		return r.bad(Loaded{Source: src, Err: err})
	}
	if len(sum.Apexes) == 1 && !keep.overflow {
		return r.add(ctx, src, sum, keep, start)
	}
	if err := r.flush(ctx); err != nil { // keep the order
		return err
	}
	return r.large(ctx, src, sum, start)
}

func (r *loadRun) options(src Source, warn bool) zonefile.Options {
	o := zonefile.Options{Origin: src.Origin, DefaultTTL: DefaultTTL, Lenient: r.Lenient}
	if warn {
		o.Warn = r.Warn
	}
	return o
}

// checkApexes verifies that a file holds a zone, and the one it should.
func checkApexes(src Source, sum zonefile.Summary) error {
	if len(sum.Apexes) == 0 {
		return fmt.Errorf("%s: it has no SOA record, so it is no zone", src.Path)
	}
	if src.Zone != "" && (len(sum.Apexes) != 1 || !sum.Apexes[0].Equal(src.Zone)) {
		return fmt.Errorf("%s: it holds the zone %s, not %s", src.Path, sum.Apexes[0], src.Zone)
	}
	return nil
}

func (r *loadRun) flags() (flags uint8) {
	if r.IfAbsent {
		flags |= record.OpIfAbsent
	}
	if r.Lenient {
		flags |= record.OpLenient
	}
	return flags
}

// begin and commit are the ops around a load.
func (r *loadRun) begin(apex record.Name, id record.LoadID) record.Op {
	return record.Op{Kind: record.OpLoadBegin, Flags: r.flags(), Owner: apex, Load: id}
}

func (r *loadRun) commit(apex record.Name, id record.LoadID, records int) record.Op {
	return record.Op{Kind: record.OpLoadCommit, Flags: r.flags(), Owner: apex, Load: id, TTL: uint32(records)}
}

// add queues a zone that fits one change.
func (r *loadRun) add(ctx context.Context, src Source, sum zonefile.Summary, b *builder, start time.Time) error {
	id, apex := newRequestID(), sum.Apexes[0]
	ops := append([]record.Op{r.begin(apex, id)}, b.ops...)
	for i := range ops[1:] {
		ops[1+i].Load, ops[1+i].Flags = id, r.flags()&record.OpLenient
	}
	ops = append(ops, r.commit(apex, id, b.records))
	r.small = append(r.small, record.Change{ID: id, By: author(src), Ops: ops})
	r.smallInfo = append(r.smallInfo, Loaded{Source: src, Zone: apex, Records: b.records, Took: time.Since(start)})
	r.smallSize += b.size
	if len(r.small) == smallGroup || r.smallSize >= smallGroupSize {
		return r.flush(ctx)
	}
	return nil
}

// author says where a zone came from.
func author(src Source) string { return record.Author("file " + src.Path) }

// flush proposes the zones queued by add.
func (r *loadRun) flush(ctx context.Context) error {
	if len(r.small) == 0 {
		return nil
	}
	start := time.Now()
	changes, infos := r.small, r.smallInfo
	r.small, r.smallInfo, r.smallSize = nil, nil, 0
	results, err := r.propose(ctx, changes)
	for i := range infos {
		o := infos[i]
		o.Took += time.Since(start)
		if i < len(results) {
			o.decided(results[i])
		} else {
			o.Err = err
		}
		if o.Err == nil {
			r.each(o)
		} else if bad := r.bad(o); bad != nil {
			return bad
		}
	}
	return err
}

// decided takes the result of the change that committed a load.
func (o *Loaded) decided(res record.Result) {
	o.Index, o.Note = res.Index, res.Reason
	switch res.Status {
	case record.OK:
	case record.Unchanged:
		o.Unchanged = true
	default:
		o.Err, o.Note = fmt.Errorf("zone %s: %w: %s", o.Zone, ErrRefused, res.Reason), ""
	}
	for _, z := range res.Zones {
		if z.Zone.Equal(o.Zone) {
			o.Serial = z.Serial
		}
	}
}

func (r *loadRun) progress(p Progress) {
	if r.Progress != nil {
		r.Progress(p)
	}
}

// propose proposes changes until each is decided: again while there is no
// leader, under the same RequestIDs, so that none is done twice. It fails with
// the results it has when Patience or ctx ends or the cluster will not take one.
func (r *loadRun) propose(ctx context.Context, changes []record.Change) ([]record.Result, error) {
	if r.Patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Patience)
		defer cancel()
	}
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = DefaultLoadTimeout
	}
	var results []record.Result
	for {
		tryCtx, cancel := context.WithTimeout(ctx, timeout)
		part, err := r.Proposer.Propose(tryCtx, changes[len(results):])
		cancel()
		results = append(results, part...)
		switch {
		case len(results) == len(changes):
			return results, nil
		case err == nil:
			return results, fmt.Errorf("%w: the cluster gave %d results for %d changes", ErrUnknown, len(results), len(changes))
		case outcomeOf(err) == failed || ctx.Err() != nil:
			return results, err
		}
		if waitErr := r.waitReady(ctx); waitErr != nil {
			return results, err
		}
	}
}

// waitReady waits until it makes sense to propose again.
func (r *loadRun) waitReady(ctx context.Context) error {
	pause := time.NewTimer(retryPause)
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-pause.C:
	}
	if r.Ready != nil {
		return r.Ready(ctx)
	}
	return nil
}
