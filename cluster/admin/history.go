package admin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

// HistoryEntry is one change of a zone as `zone history` shows it.
type HistoryEntry struct {
	Index   uint64     `json:"index"` // of the log entry
	Time    time.Time  `json:"time"`  // when the leader proposed it
	By      string     `json:"by,omitempty"`
	From    uint32     `json:"from"` // the serial before
	To      uint32     `json:"to"`
	Start   bool       `json:"start,omitempty"` // the zone was created or loaded; nothing before is kept
	Changes []DiffLine `json:"changes,omitempty"`
}

// DiffLine is one record that went or came, in presentation format.
type DiffLine struct {
	Sign string `json:"sign"` // "-" or "+"
	Record
}

func (l DiffLine) String() string {
	return fmt.Sprintf("%s %s %d IN %s %s", l.Sign, l.Owner, l.TTL, l.Type, l.RData)
}

func diffLines(d *store.Diff) (out []DiffLine) {
	for _, side := range [2]struct {
		sign string
		sets []record.RRset
	}{{"-", d.Removed}, {"+", d.Added}} {
		for i := range side.sets {
			for r := range recordsOf(side.sets[i], func(record.Type) bool { return true }) {
				out = append(out, DiffLine{Sign: side.sign, Record: r})
			}
		}
	}
	return out
}

// recordsOf are the records of an RRset, then its RRSIGs, of the types that are wanted.
func recordsOf(set record.RRset, wants func(record.Type) bool) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for _, part := range [2]struct {
			t    record.Type
			data [][]byte
		}{{set.Type, set.Data}, {record.TypeRRSIG, set.Sigs}} {
			for _, data := range part.data {
				if wants(part.t) && !yield(Record{Owner: set.Owner.String(), TTL: set.TTL, Type: zonefile.TypeString(part.t), RData: zonefile.FormatRData(part.t, data)}) {
					return
				}
			}
		}
	}
}

// number reads a parameter that is a number of 32 bits.
func number(r *http.Request, key string, instead uint32) (uint32, error) {
	text := r.URL.Query().Get(key)
	if text == "" {
		return instead, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a number from 0 to 4294967295", key, shorten(text))
	}
	return uint32(n), nil
}

// getHistory lists the last changes of a zone, the newest first.
func (s *Server) getHistory(w http.ResponseWriter, r *http.Request) {
	limit, err := number(r, "limit", 0)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	view, ok := s.viewFor(w, r)
	if !ok {
		return
	}
	defer view.Close()
	zone, ok := s.zoneFor(w, r, view)
	if !ok {
		return
	}
	var last []store.Diff // no more than the journal of a zone holds
	for d := range view.History(zone.Apex) {
		if last = append(last, d); limit > 0 && len(last) >= 2*int(limit) {
			last = append(last[:0], last[len(last)-int(limit):]...)
		}
	}
	if limit > 0 && len(last) > int(limit) {
		last = last[len(last)-int(limit):]
	}
	out := newStream(w, view.Index())
	for i := len(last) - 1; i >= 0; i-- {
		d := &last[i]
		e := HistoryEntry{Index: d.Index, Time: time.Unix(0, d.Time).UTC(), By: d.By, From: d.From, To: d.To, Start: d.Start, Changes: diffLines(d)}
		if !out.line(e) {
			return
		}
	}
	out.end()
}

// errNotKept is a serial the journal does not lead to.
var errNotKept = errors.New("it is not among the serials kept")

// between is what is different between two serials of a zone.
func between(view Reader, zone record.Zone, from, to uint32) (store.Diff, error) {
	diffs, ok := view.Journal(zone.Apex, from)
	if !ok {
		return store.Diff{}, notKept(view, zone, from)
	}
	found := from == to
	d, _ := store.Condense(func(yield func(store.Diff) bool) {
		for d := range diffs {
			if found || !yield(d) {
				return
			}
			found = d.To == to
		}
	})
	if !found {
		return d, fmt.Errorf("%w; or serial %d came before serial %d", notKept(view, zone, to), to, from)
	}
	return d, nil
}

func notKept(view Reader, zone record.Zone, serial uint32) error {
	oldest := zone.Serial
	for d := range view.History(zone.Apex) {
		if !d.Start {
			oldest = d.From
			break
		}
	}
	return fmt.Errorf("serial %d of %s: %w, which are those from %d to %d (`eider zone history` lists them)", serial, zone.Apex, errNotKept, oldest, zone.Serial)
}

// getDiff lists what is different between two serials, what went first.
func (s *Server) getDiff(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("from") == "" {
		fail(w, http.StatusBadRequest, errors.New("from: the serial to start from is missing"))
		return
	}
	from, err := number(r, "from", 0)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	view, ok := s.viewFor(w, r)
	if !ok {
		return
	}
	defer view.Close()
	zone, ok := s.zoneFor(w, r, view)
	if !ok {
		return
	}
	to, err := number(r, "to", zone.Serial)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	d, err := between(view, zone, from, to)
	if err != nil {
		fail(w, http.StatusConflict, err)
		return
	}
	out := newStream(w, view.Index())
	for _, line := range diffLines(&d) {
		if !out.line(line) {
			return
		}
	}
	out.end()
}

// postRollback has a zone get the content it had at a serial, under a new one.
func (s *Server) postRollback(w http.ResponseWriter, r *http.Request) {
	timeout, err := timeoutOf(r, s.timeout)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if r.URL.Query().Get("serial") == "" {
		fail(w, http.StatusBadRequest, errors.New("serial: the serial to go back to is missing"))
		return
	}
	serial, err := number(r, "serial", 0)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	view := s.reader()
	if view == nil {
		fail(w, http.StatusServiceUnavailable, errors.New("the node has no data yet"))
		return
	}
	defer view.Close()
	zone, ok := s.zoneFor(w, r, view)
	if !ok {
		return
	}
	change, err := rollback(view, zone, serial)
	switch {
	case err != nil:
		fail(w, http.StatusConflict, err)
		return
	case len(change.Ops) == 0:
		answerJSON(w, http.StatusOK, ChangeDone{Status: record.Unchanged.String(), Index: view.Index(), Zones: []ZoneInfo{{Zone: zone.Apex.String(), Serial: zone.Serial}}})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	s.answerChange(ctx, w, change)
}

// History calls each for the last changes of a zone, the newest first; limit 0 means all that are kept.
func (c *Client) History(ctx context.Context, apex record.Name, limit uint32, each func(HistoryEntry) error) (index uint64, err error) {
	q := url.Values{"zone": {apex.String()}, "limit": {strconv.FormatUint(uint64(limit), 10)}}
	return readStream(ctx, c, "/v1/zone/history", q, each)
}

// Diff calls each for what is different between two serials of a zone; to nil means the present one.
func (c *Client) Diff(ctx context.Context, apex record.Name, from uint32, to *uint32, each func(DiffLine) error) (index uint64, err error) {
	q := url.Values{"zone": {apex.String()}, "from": {strconv.FormatUint(uint64(from), 10)}}
	if to != nil {
		q.Set("to", strconv.FormatUint(uint64(*to), 10))
	}
	return readStream(ctx, c, "/v1/zone/diff", q, each)
}

// Rollback has a zone get the content it had at a serial, under a new one.
func (c *Client) Rollback(ctx context.Context, apex record.Name, serial uint32) (done ChangeDone, err error) {
	q := url.Values{"zone": {apex.String()}, "serial": {strconv.FormatUint(uint64(serial), 10)}}
	setTimeout(ctx, q)
	ctx, cancel := withGrace(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1/zone/rollback?"+q.Encode(), nil)
	if err != nil {
		return done, err
	}
	return done, c.doJSON(req, &done)
}
