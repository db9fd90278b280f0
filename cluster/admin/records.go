package admin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log"
	"net/http"
	"net/url"
	"strconv"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

// Filter says which records to list. What is empty does not count.
type Filter struct {
	Zone  record.Name // only this zone
	Owner record.Name // only this owner, in the closest zone above it
	Below bool        // with Owner: it and all below it in its zone
	Type  record.Type
}

func (f Filter) query() url.Values {
	q := url.Values{}
	if f.Zone != "" {
		q.Set("zone", f.Zone.String())
	}
	if f.Owner != "" {
		q.Set("owner", f.Owner.String())
	}
	if f.Below {
		q.Set("below", "1")
	}
	if f.Type != 0 {
		q.Set("type", zonefile.TypeString(f.Type))
	}
	return q
}

func parseFilter(q url.Values) (f Filter, err error) {
	if s := q.Get("zone"); s != "" {
		if f.Zone, err = record.ParseName(s); err != nil {
			return f, fmt.Errorf("zone: %w", err)
		}
	}
	if s := q.Get("owner"); s != "" {
		if f.Owner, err = record.ParseName(s); err != nil {
			return f, fmt.Errorf("owner: %w", err)
		}
	}
	if s := q.Get("type"); s != "" {
		t, ok := zonefile.ParseType(s)
		if !ok {
			return f, fmt.Errorf("type: %q is no type; for example \"AAAA\" or \"TYPE65280\"", shorten(s))
		}
		f.Type = t
	}
	f.Below = q.Get("below") == "1"
	return f, nil
}

// wants tells whether records of type t are asked for.
func (f Filter) wants(t record.Type) bool { return f.Type == 0 || f.Type == t }

// sets are the RRsets the filter lets through, in canonical order within a
// zone. RRSIGs come with the set they cover.
func (f Filter) sets(view Reader) (iter.Seq[record.RRset], error) {
	if f.Zone == "" && f.Owner == "" {
		return func(yield func(record.RRset) bool) {
			for z := range view.Zones() {
				for set := range view.RRsets(z.ID, "") {
					if !yield(set) {
						return
					}
				}
			}
		}, nil
	}
	var zone record.Zone
	var ok bool
	if f.Zone == "" {
		if zone, ok = view.ZoneOf(f.Owner); !ok {
			return nil, fmt.Errorf("no zone here holds %s", f.Owner)
		}
	} else {
		if zone, ok = findZone(view, f.Zone); !ok {
			return nil, noZone(f.Zone)
		}
		if f.Owner != "" && !f.Owner.In(zone.Apex) {
			return nil, fmt.Errorf("%s is not in the zone %s", f.Owner, zone.Apex)
		}
	}
	if f.Owner == "" {
		return view.RRsets(zone.ID, ""), nil
	}
	return func(yield func(record.RRset) bool) {
		for set := range view.RRsets(zone.ID, f.Owner) {
			if !set.Owner.Equal(f.Owner) && (!f.Below || !set.Owner.In(f.Owner)) {
				return
			}
			if !yield(set) {
				return
			}
		}
	}, nil
}

// streamBuffer is how much of a long answer is collected before it is sent.
const streamBuffer = 32 << 10

// stream is a long answer: JSON values, one a line. The last line is
// {"end":true}, so that an answer that was cut is not taken for a whole one.
type stream struct {
	out  *bufio.Writer
	json *json.Encoder
}

func newStream(w http.ResponseWriter, index uint64) *stream {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set(indexHeader, strconv.FormatUint(index, 10))
	out := bufio.NewWriterSize(&flushWriter{w: w, control: http.NewResponseController(w)}, streamBuffer)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return &stream{out: out, json: enc}
}

// line writes one value; false says that the client has gone.
func (s *stream) line(v any) bool { return s.json.Encode(v) == nil }

type streamEnd struct {
	End bool `json:"end"`
}

func (s *stream) end() {
	s.line(streamEnd{true})
	_ = s.out.Flush() // a client that went away needs no answer
}

// flushWriter gives each write writeWait of its own, however long the whole takes.
type flushWriter struct {
	w       io.Writer
	control *http.ResponseController
}

func (f *flushWriter) Write(p []byte) (int, error) {
	setDeadline(f.control.SetWriteDeadline, writeWait)
	return f.w.Write(p)
}

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }
