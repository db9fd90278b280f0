package admin

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/zonemd"
	"github.com/eider-dns/eider/zonefile"
)

// digestWatch notes the ZONEMD records of a file on their way to next.
type digestWatch struct {
	next  func(zonefile.RR) error
	found []zonefile.RR
}

func (w *digestWatch) take(rr zonefile.RR) error {
	if rr.Type == record.TypeZONEMD {
		w.found = append(w.found, rr)
	}
	if w.next == nil {
		return nil
	}
	return w.next(rr)
}

// digestFinding is what the ZONEMD of a zone of a file has to say against it.
type digestFinding struct {
	at  zonefile.RR
	bad bool // else only of no use here
	err error
}

// digests compares the zones of a file that have a ZONEMD with it (RFC 8976 section 4). For that
// the file is read again, and held in memory until it is done.
func (w *digestWatch) digests(path string, o zonefile.Options, sum zonefile.Summary) (out []digestFinding, err error) {
	for _, apex := range sum.Apexes {
		i := slices.IndexFunc(w.found, func(rr zonefile.RR) bool { return rr.Owner.Equal(apex) })
		if i < 0 {
			continue
		}
		sets, err := zoneOfFile(path, o, sum, apex)
		if err != nil {
			return out, err
		}
		outcome, err := zonemd.Verify(apex, slices.Values(sets))
		switch {
		case err != nil:
			out = append(out, digestFinding{at: w.found[i], bad: true, err: fmt.Errorf("zone %s: %w", apex, err)})
		case outcome == zonemd.Unknown:
			out = append(out, digestFinding{at: w.found[i], err: fmt.Errorf("the ZONEMD of %s is of a scheme or algorithm that is not known here; nothing was compared", apex)})
		}
	}
	return out, nil
}

// zoneOfFile reads one zone of a file, in the order zonemd wants it.
func zoneOfFile(path string, o zonefile.Options, sum zonefile.Summary, apex record.Name) ([]record.RRset, error) {
	type owned struct {
		key []byte
		set record.RRset
	}
	var all []owned
	o.Warn = nil // said already
	_, err := zonefile.ReadFile(path, o, func(rr zonefile.RR) error {
		if of, ok := sum.ApexOf(rr.Owner); ok && of.Equal(apex) {
			all = append(all, owned{rr.Owner.Key(), record.RRset{Owner: rr.Owner, Type: rr.Type, TTL: rr.TTL, Data: [][]byte{rr.Data}}})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b owned) int { return bytes.Compare(a.key, b.key) })
	sets := make([]record.RRset, len(all))
	for i := range all {
		sets[i] = all[i].set
	}
	return sets, nil
}

// checkDigests has a load refuse a file that is not what its ZONEMD says, unless it is lenient.
func (r *loadRun) checkDigests(src Source, w *digestWatch, sum zonefile.Summary) error {
	found, err := w.digests(src.Path, r.options(src, false), sum)
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.bad && !r.Lenient {
			return fmt.Errorf("%s:%d: %w; remove the ZONEMD if the file was edited, or load it --lenient", src.Path, f.at.Line, f.err)
		}
		if r.Warn != nil {
			r.Warn(zonefile.Warning{File: f.at.File, Line: f.at.Line, Column: f.at.Column, What: f.err.Error()})
		}
	}
	return nil
}
