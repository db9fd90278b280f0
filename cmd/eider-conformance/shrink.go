package main

import "fmt"

type failure struct {
	a *ask
	v verdict
}

func (r *runner) report(fs []failure) error {
	for i, f := range fs {
		if i == r.o.failures {
			break
		}
		fmt.Fprintf(r.log, "=== %s (family %d): %s\n", f.a.q, f.a.f.Number, f.v.class())
		for i, p := range f.a.replies {
			if f.a.whole != nil {
				p = f.a.whole[i]
			}
			rep, why := parsed(p)
			if rep != nil {
				why = rep.Show()
			}
			fmt.Fprintf(r.log, "--- %s\n%s\n", r.sum.name(i), why)
		}
	}
	return nil
}
