package gen

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// Keep says what of a family a variant has.
type Keep struct {
	Zones []KeepZone // one for each zone of the family
	Q     Question
}

// KeepZone says what of a zone a variant has.
type KeepZone struct {
	Gone     bool
	Unsigned bool
	Records  []int // of Zone.Plain, by place; the SOA is always kept
}

// All keeps everything.
func (f *Family) All(q Question) Keep {
	k := Keep{Q: q, Zones: make([]KeepZone, len(f.Zones))}
	for i, z := range f.Zones {
		for n := 1; n < len(z.Plain); n++ {
			k.Zones[i].Records = append(k.Zones[i].Records, n)
		}
	}
	return k
}

// Variant is what k keeps of the family, under another number and base, so that
// many variants can be served side by side, and the question about it.
func (f *Family) Variant(k Keep, number int) (*Family, Question, error) {
	v := &Family{Number: number, Base: fmt.Sprintf("s%d.test.", number)}
	rename := func(s string) string { return strings.ReplaceAll(s, f.Base, v.Base) }
	for i, z := range f.Zones {
		if k.Zones[i].Gone {
			continue
		}
		w := &Zone{Apex: rename(z.Apex), Sign: z.Sign}
		if k.Zones[i].Unsigned {
			w.Sign = nil
		}
		for _, n := range append([]int{0}, k.Zones[i].Records...) {
			rr, err := dns.NewRR(rename(Line(z.Plain[n])))
			if err != nil {
				return nil, Question{}, fmt.Errorf("variant: %w", err)
			}
			w.Plain = append(w.Plain, rr)
		}
		v.Zones = append(v.Zones, w)
	}
	q := k.Q
	if n := len(q.Name) - len(f.Base); n >= 0 && strings.EqualFold(q.Name[n:], f.Base) {
		q.Name = q.Name[:n] + v.Base
	}
	return v, q, nil
}
