package admin

import (
	"fmt"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

// cnameWatch warns of what a lenient load keeps: a CNAME beside other data. It
// looks at records of one owner that follow one another, as they nearly always
// do, so that it needs no memory; `zone check` finds the rest.
type cnameWatch struct {
	path string
	next func(zonefile.RR) error

	owner        record.Name
	cname, other bool
	told         bool

	found []zonefile.Warning
	more  int
}

// maxCNAMEWarnings is how many of these warnings are given for one file.
const maxCNAMEWarnings = 100

func (w *cnameWatch) take(rr zonefile.RR) error {
	if !rr.Owner.Equal(w.owner) {
		w.owner, w.cname, w.other, w.told = rr.Owner, false, false, false
	}
	switch rr.Type {
	case record.TypeCNAME:
		w.cname = true
	case record.TypeRRSIG, record.TypeNSEC, record.TypeNSEC3: // may stand beside it (RFC 4034 section 4)
	default:
		w.other = true
	}
	if w.cname && w.other && !w.told {
		w.told = true
		if len(w.found) == maxCNAMEWarnings {
			w.more++
			return w.next(rr)
		}
		w.found = append(w.found, zonefile.Warning{File: w.path, Line: rr.Line, Column: rr.Column, What: fmt.Sprintf("%s has a CNAME and other data; both are kept", rr.Owner)})
	}
	return w.next(rr)
}

func (w *cnameWatch) tell(warn func(zonefile.Warning)) {
	for _, f := range w.found {
		warn(f)
	}
	if w.more > 0 {
		warn(zonefile.Warning{File: w.path, What: fmt.Sprintf("%d more names have a CNAME and other data", w.more)})
	}
}
