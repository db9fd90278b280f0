package zonefile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/eider-dns/eider/store/record"
)

// MaxFindings is how many findings a Report holds; a file with more needs other help.
const MaxFindings = 1000

// Finding is one thing Check has to say.
type Finding struct {
	Fatal        bool // the zone cannot be served like that; otherwise it can, but somebody should look
	File         string
	Line, Column int
	What         string
}

func (f Finding) String() string {
	kind := "warning: "
	if f.Fatal {
		kind = "error: "
	}
	return position(f.File, f.Line, f.Column) + kind + f.What
}

// Report is what Check found, in the order of the file.
type Report struct {
	Summary  Summary
	Findings []Finding
	More     int // findings beyond MaxFindings
}

// Errors counts the fatal findings.
func (r *Report) Errors() (n int) {
	for _, f := range r.Findings {
		if f.Fatal {
			n++
		}
	}
	return n
}

// Check reads a zone file into memory and looks at it as a whole, as the state
// machine will and further: what a single record cannot tell. It reads on after a
// bad record, so that one run shows all. An error is about the file as such; what
// is in it is in the Report. Options.Lenient makes warnings of what a lenient load
// keeps.
func Check(path string, o Options) (Report, error) {
	c := checker{lenient: o.Lenient}
	o.keepCNAME = true
	o.broken = func(e *Error) bool {
		c.add(Finding{Fatal: true, File: e.File, Line: e.Line, Column: e.Column, What: e.What})
		return c.report.More == 0
	}
	o.Warn = func(w Warning) {
		c.add(Finding{File: w.File, Line: w.Line, Column: w.Column, What: w.What})
	}
	c.nodes = map[record.Name]*node{}
	sum, err := ReadFile(path, o, c.take)
	c.report.Summary = sum
	e := &Error{}
	if errors.As(err, &e) {
		c.add(Finding{Fatal: true, File: e.File, Line: e.Line, Column: e.Column, What: e.What})
		err = nil
	}
	if err != nil {
		return c.report, err
	}
	c.zones()
	slices.SortStableFunc(c.report.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return c.report, nil
}

// checker holds the file by owner.
type checker struct {
	lenient bool
	report  Report
	nodes   map[record.Name]*node // by the name in lower case
	order   []*node
}

type node struct {
	owner record.Name // lower case
	apex  record.Name // of its zone, lower case
	rrs   []RR
}

// first is the first record of type t, nil if there is none.
func (n *node) first(t record.Type) *RR {
	if n == nil {
		return nil
	}
	for i := range n.rrs {
		if n.rrs[i].Type == t {
			return &n.rrs[i]
		}
	}
	return nil
}

func (n *node) address() bool {
	return n.first(record.TypeA) != nil || n.first(record.TypeAAAA) != nil
}

func (c *checker) add(f Finding) {
	if len(c.report.Findings) == MaxFindings {
		c.report.More++
		return
	}
	c.report.Findings = append(c.report.Findings, f)
}

func (c *checker) say(fatal bool, rr *RR, format string, args ...any) {
	c.add(Finding{Fatal: fatal, File: rr.File, Line: rr.Line, Column: rr.Column, What: fmt.Sprintf(format, args...)})
}

func (c *checker) take(rr RR) error {
	key := rr.Owner.Lower()
	n := c.nodes[key]
	if n == nil {
		n = &node{owner: key}
		c.nodes[key], c.order = n, append(c.order, n)
	}
	n.rrs = append(n.rrs, rr)
	return nil
}

// zones looks at every name in the light of its zone.
func (c *checker) zones() {
	for _, n := range c.order {
		if apex, ok := c.report.Summary.ApexOf(n.owner); ok {
			n.apex = apex.Lower()
		}
	}
	for _, apex := range c.report.Summary.Apexes {
		n := c.nodes[apex.Lower()]
		if soa := n.first(record.TypeSOA); soa != nil {
			c.soa(n, soa)
		}
	}
	for _, n := range c.order {
		if n.apex == "" {
			continue // no SOA: said already
		}
		c.sets(n)
		c.cname(n)
		c.place(n)
		c.targets(n)
	}
}

func (c *checker) soa(n *node, soa *RR) {
	if n.first(record.TypeNS) == nil {
		c.say(true, soa, "the zone %s has no NS record at its apex", soa.Owner)
	}
	if v, ok := record.ParseSOA(soa.Data); ok && v.Expire < v.Refresh+v.Retry {
		c.say(false, soa, "the SOA expires (%d s) before a refresh and a retry (%d s); secondaries would give up too early (RFC 1912 section 2.2)", v.Expire, v.Refresh+v.Retry)
	}
}

// sets looks for TTLs that differ within an RRset (RFC 2181 section 5.2), and doubles.
// The signatures of each type are a set of their own.
func (c *checker) sets(n *node) {
	type set struct{ t, covered record.Type }
	firsts := map[set]*RR{}
	told := map[set]bool{}
	seen := map[string]int{}
	for i := range n.rrs {
		rr := &n.rrs[i]
		s := set{t: rr.Type}
		if rr.Type == record.TypeRRSIG {
			s.covered = record.Covered(rr.Data)
		}
		if f := firsts[s]; f == nil {
			firsts[s] = rr
		} else if f.TTL != rr.TTL && !told[s] {
			told[s] = true
			c.say(false, rr, "the %s records of %s have different TTLs, %d here and %d in line %d; an RRset has one (RFC 2181 section 5.2)", TypeString(rr.Type), rr.Owner, rr.TTL, f.TTL, f.Line)
		}
		key := string(append([]byte{byte(rr.Type >> 8), byte(rr.Type)}, rr.Data...))
		if line, ok := seen[key]; ok {
			c.say(false, rr, "this record stands in line %d already", line)
		} else {
			seen[key] = rr.Line
		}
	}
}

// cname checks what may stand beside a CNAME and how many CNAMEs and DNAMEs there may be.
func (c *checker) cname(n *node) {
	for _, t := range [2]record.Type{record.TypeCNAME, record.TypeDNAME} {
		first := n.first(t)
		for i := range n.rrs {
			if rr := &n.rrs[i]; rr.Type == t && !bytes.Equal(rr.Data, first.Data) {
				c.say(!c.lenient, rr, "%s has one %s in line %d already; there can be no second (RFC 2181 section 10.1)", rr.Owner, TypeString(t), first.Line)
			}
		}
	}
	cname := n.first(record.TypeCNAME)
	if cname == nil {
		return
	}
	for i := range n.rrs {
		switch rr := &n.rrs[i]; rr.Type {
		case record.TypeCNAME, record.TypeRRSIG, record.TypeNSEC:
		default:
			c.say(!c.lenient, rr, "%s has a CNAME in line %d, so it can have no %s (RFC 1034 section 3.6.2)", rr.Owner, cname.Line, TypeString(rr.Type))
			return
		}
	}
}

// above walks the names above n up to the apex, the nearest first, for the first
// that has a record of type t; the apex counts for a DNAME only.
func (c *checker) above(n *node, t record.Type) *RR {
	for name := n.owner; name != n.apex; {
		if name = name.Parent(); name == n.apex && t == record.TypeNS {
			return nil
		}
		if rr := c.nodes[name].first(t); rr != nil {
			return rr
		}
	}
	return nil
}

// place looks for data that a zone cut or a DNAME above it hides.
func (c *checker) place(n *node) {
	rr := &n.rrs[0]
	if dname := c.above(n, record.TypeDNAME); dname != nil {
		c.say(!c.lenient, rr, "%s is below the DNAME of %s in line %d, so it can hold no data (RFC 6672 section 2.4)", rr.Owner, dname.Owner, dname.Line)
		return
	}
	atCut := n.owner != n.apex && n.first(record.TypeNS) != nil
	if atCut && n.owner.Wildcard() {
		c.say(false, n.first(record.TypeNS), "a wildcard that is a zone cut means nothing certain (RFC 4592 section 4.2)")
	}
	if ds := n.first(record.TypeDS); ds != nil && !atCut {
		c.say(false, ds, "%s has a DS but is no zone cut: it has no NS below the apex (RFC 4034 section 5)", ds.Owner)
	}
	cut := c.above(n, record.TypeNS)
	for i := range n.rrs {
		rr := &n.rrs[i]
		switch rr.Type {
		case record.TypeA, record.TypeAAAA, record.TypeRRSIG, record.TypeNSEC, record.TypeNSEC3:
			continue // glue, and what signed zones have
		case record.TypeNS, record.TypeDS:
			if cut == nil {
				continue
			}
		}
		if cut != nil {
			c.say(false, rr, "the %s of %s is hidden by the zone cut %s in line %d; it is never answered", TypeString(rr.Type), rr.Owner, cut.Owner, cut.Line)
			return
		}
		if atCut {
			c.say(false, rr, "%s is a zone cut, so its %s belongs into the zone below and is never answered", rr.Owner, TypeString(rr.Type))
			return
		}
	}
}

// targets looks at the names that NS, MX and SRV point to, as far as they are in this zone.
func (c *checker) targets(n *node) {
	for i := range n.rrs {
		rr := &n.rrs[i]
		switch rr.Type {
		case record.TypeNS, record.TypeMX, record.TypeSRV:
		default:
			continue
		}
		name, _, err := record.NameFromWire(rr.Data[record.TargetOffset(rr.Type):])
		if apex, ok := c.report.Summary.ApexOf(name); err != nil || !ok || apex.Lower() != n.apex || name == record.Root {
			continue
		}
		c.target(n, rr, name)
	}
}

func (c *checker) target(n *node, rr *RR, name record.Name) {
	isNS := rr.Type == record.TypeNS
	to := c.nodes[name]
	if to == nil {
		to = c.wildcard(name, n.apex)
	}
	if to.first(record.TypeCNAME) != nil {
		c.say(isNS, rr, "the %s of %s points to %s, which is a CNAME; it must have addresses of its own (RFC 2181 section 10.3)", TypeString(rr.Type), rr.Owner, name)
		return
	}
	if to != nil && to.address() {
		return
	}
	below := n.owner != n.apex && name.In(n.owner)
	switch cut := c.cutOf(name, n.apex); {
	case isNS && below:
		c.say(true, rr, "the zone cut %s has no glue: its nameserver %s is below it and has no A or AAAA here", rr.Owner, name)
	case cut != nil:
		c.say(false, rr, "%s has no A or AAAA here, and the zone cut %s in line %d stands before it", name, cut.Owner, cut.Line)
	case isNS:
		c.say(true, rr, "the nameserver %s of %s is in this zone and has no A or AAAA", name, rr.Owner)
	default:
		c.say(false, rr, "the %s of %s points to %s, which has no A or AAAA", TypeString(rr.Type), rr.Owner, name)
	}
}

// cutOf is the NS of the zone cut at or above name, nil if name is not below one.
func (c *checker) cutOf(name, apex record.Name) *RR {
	for ; name != apex && name != record.Root; name = name.Parent() {
		if rr := c.nodes[name].first(record.TypeNS); rr != nil {
			return rr
		}
	}
	return nil
}

// wildcard is the source of synthesis of name (RFC 4592 section 3.3.1): the wildcard
// at its closest encloser. It does not know empty non-terminals, so it may find one
// that an empty non-terminal hides.
func (c *checker) wildcard(name, apex record.Name) *node {
	for name != apex && name != record.Root {
		name = name.Parent()
		if w := c.nodes[child("*", name)]; w != nil {
			return w
		}
		if c.nodes[name] != nil {
			return nil
		}
	}
	return nil
}
