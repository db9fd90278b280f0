package main

import (
	"fmt"
	"slices"

	"github.com/eider-dns/eider/cmd/eider-conformance/gen"
)

const (
	maxRounds   = 24 // runs of the servers for one failure
	maxVariants = 40 // families side by side in one of them
)

// failure is a question whose answers differ without an explanation.
type failure struct {
	a *ask
	v verdict
}

// report makes the first failures small and prints them.
func (r *runner) report(fs []failure) error {
	seen := make(map[string]bool) // one of each class first
	var pick []failure
	for _, f := range fs {
		if c := f.v.class(); !seen[c] {
			seen[c] = true
			pick = append(pick, f)
		}
	}
	for i, f := range pick {
		if i == r.o.failures {
			fmt.Fprintf(r.log, "and %d more classes\n", len(pick)-i)
			break
		}
		fmt.Fprintf(r.log, "=== seed %d, family %d: %s\n%s\n", r.o.seed, f.a.f.Number, f.a.q, f.v.class())
		small, err := r.shrink(f)
		if err != nil {
			return err
		}
		small.print(r)
	}
	return nil
}

// shrink removes zones, signatures, records and options of the question for as
// long as the answers differ without an explanation.
func (r *runner) shrink(f failure) (failure, error) {
	best, keep := f, f.a.f.All(f.a.q)
	for round, chunks := 0, 4; round < maxRounds; round++ {
		steps := simpler(keep, chunks)
		found, results, err := r.try(f, keep, steps)
		if err != nil {
			return best, err
		}
		switch {
		case len(found) > 0:
			keep, best = found[len(found)-1], results[len(found)-1]
		case chunks >= maxVariants && len(steps) <= maxVariants:
			return best, nil // nothing can be taken away by itself
		default:
			chunks *= 3
		}
	}
	return best, nil
}

// step takes something away.
type step func(gen.Keep) gen.Keep

// simpler are ways to take something away: whole zones, signing, parts of the
// question, and one of so many parts of the records.
func simpler(k gen.Keep, chunks int) (steps []step) {
	left := 0
	for _, z := range k.Zones {
		if !z.Gone {
			left++
		}
	}
	for i, z := range k.Zones {
		if z.Gone {
			continue
		}
		if left > 1 {
			steps = append(steps, func(k gen.Keep) gen.Keep { k.Zones[i].Gone = true; return k })
		}
		if !z.Unsigned {
			steps = append(steps, func(k gen.Keep) gen.Keep { k.Zones[i].Unsigned = true; return k })
		}
	}
	for _, change := range []func(*gen.Question){
		func(q *gen.Question) { q.RD, q.CD, q.AD = false, false, false },
		func(q *gen.Question) { q.DO = false },
		func(q *gen.Question) { q.EDNS, q.DO, q.Size = false, false, 0 },
		func(q *gen.Question) { q.TCP = true },
	} {
		q := k.Q
		if change(&q); q != k.Q {
			steps = append(steps, func(k gen.Keep) gen.Keep { change(&k.Q); return k })
		}
	}
	all := 0
	for _, z := range k.Zones {
		if !z.Gone {
			all += len(z.Records)
		}
	}
	size := max(1, (all+chunks-1)/chunks)
	for from := 0; from < all; from += size {
		gone := make([][]int, len(k.Zones))
		at := 0
		for i, z := range k.Zones {
			if z.Gone {
				continue
			}
			for _, n := range z.Records {
				if at >= from && at < from+size {
					gone[i] = append(gone[i], n)
				}
				at++
			}
		}
		steps = append(steps, func(k gen.Keep) gen.Keep {
			for i := range k.Zones {
				k.Zones[i].Records = slices.DeleteFunc(k.Zones[i].Records, func(n int) bool { return slices.Contains(gone[i], n) })
			}
			return k
		})
	}
	return steps
}

// copyOf is a deep copy.
func copyOf(k gen.Keep) gen.Keep {
	k.Zones = slices.Clone(k.Zones)
	for i := range k.Zones {
		k.Zones[i].Records = slices.Clone(k.Zones[i].Records)
	}
	return k
}

// try serves the variants each step makes, and then what all steps that worked make
// together, one after the other; the last of found is the smallest.
func (r *runner) try(f failure, k gen.Keep, steps []step) (found []gen.Keep, results []failure, err error) {
	if len(steps) > maxVariants {
		steps = steps[:maxVariants]
	}
	if len(steps) == 0 {
		return nil, nil, nil
	}
	variants := make([]gen.Keep, len(steps))
	for i, s := range steps {
		variants[i] = s(copyOf(k))
	}
	failed, fails, err := r.serveVariants(f, variants)
	if err != nil {
		return nil, nil, err
	}
	var worked []step
	for i, ok := range failed {
		if ok {
			found, results = append(found[:0], variants[i]), append(results[:0], fails[i])
			worked = append(worked, steps[i])
		}
	}
	if len(worked) < 2 {
		return found, results, nil
	}
	var together []gen.Keep
	sum := copyOf(k)
	for _, s := range worked {
		sum = s(copyOf(sum))
		together = append(together, sum)
	}
	if failed, fails, err = r.serveVariants(f, together); err != nil {
		return nil, nil, err
	}
	for i, ok := range failed {
		if ok {
			found, results = append(found, together[i]), append(results, fails[i])
		}
	}
	return found, results, nil
}

// serveVariants tells of which variants the answers still differ without an explanation.
func (r *runner) serveVariants(f failure, variants []gen.Keep) (failed []bool, fails []failure, err error) {
	var families []*gen.Family
	var asks []*ask
	for i, k := range variants {
		v, q, err := f.a.f.Variant(k, i+1)
		if err != nil {
			return nil, nil, err
		}
		families = append(families, v)
		asks = append(asks, &ask{f: v, zones: facts(v), q: q})
	}
	s, err := r.serve(families)
	if err != nil {
		return nil, nil, err
	}
	defer s.stop()
	if err := s.put(asks); err != nil {
		return nil, nil, err
	}
	for _, a := range asks {
		v := r.judge(s, a)
		failed, fails = append(failed, v.unexplained()), append(fails, failure{a, v})
	}
	return failed, fails, nil
}

// print shows zones, question and all answers.
func (f failure) print(r *runner) {
	fmt.Fprintf(r.log, "--- question: %s\n--- %s\n", f.a.q, f.v.class())
	for _, z := range f.a.f.Zones {
		how := "unsigned"
		if s := z.Sign; s != nil {
			how = fmt.Sprintf("signed, %+v", *s)
		}
		fmt.Fprintf(r.log, "--- zone %s, %s\n", z.Apex, how)
		for _, rr := range z.Plain {
			fmt.Fprintln(r.log, gen.Line(rr))
		}
	}
	for i, p := range f.a.replies {
		reply, text := parsed(p)
		if reply != nil {
			text = reply.Show()
		}
		fmt.Fprintf(r.log, "--- %s\n%s", r.sum.name(i), text)
		if f.a.whole == nil {
			continue
		}
		if reply, text = parsed(f.a.whole[i]); reply != nil {
			text = reply.Show()
		}
		fmt.Fprintf(r.log, "--- %s, over TCP\n%s", r.sum.name(i), text)
	}
}
