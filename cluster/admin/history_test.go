package admin

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

// onStore is a server over a real store with the zone z.test, and a client of it.
func onStore(t *testing.T) (*direct, *Client) {
	t.Helper()
	d := newDirect(t)
	s, err := New(Options{Proposer: d, Reader: func() Reader { return d.store.View() }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	path := socketPath(t)
	if _, err := s.Listen(path); err != nil {
		t.Fatal(err)
	}
	c := NewClient(path)
	t.Cleanup(c.Close)
	apex := record.MustName("z.test")
	data, err := DefaultZoneData(apex)
	if err != nil {
		t.Fatal(err)
	}
	must := change(t, c, record.Op{Kind: record.OpZoneCreate, Owner: apex, TTL: 300, Data: data})
	if must.Status != record.OK {
		t.Fatal(must.Reason)
	}
	return d, c
}

func change(t *testing.T, c *Client, ops ...record.Op) record.Result {
	t.Helper()
	results, err := c.Propose(t.Context(), []record.Change{{Ops: ops}})
	if err != nil {
		t.Fatal(err)
	}
	return results[0]
}

// content is the zone z.test without its serial.
func content(t *testing.T, d *direct) (serial uint32, text string) {
	t.Helper()
	v := d.store.View()
	defer v.Close()
	z, ok := v.FindZone(record.MustName("z.test"))
	if !ok {
		t.Fatal("the zone is gone")
	}
	var b []byte
	for set := range v.RRsets(z.ID, "") {
		if set.Type == record.TypeSOA {
			set.Data = [][]byte{record.WithSerial(set.Data[0], 0)}
		}
		b = zonefile.AppendRRset(b, set)
	}
	return z.Serial, string(b)
}

func op(t *testing.T, kind record.OpKind, flags uint8, text string) record.Op {
	t.Helper()
	rr, err := zonefile.ParseRR(text, zonefile.LineOptions{DefaultTTL: 300})
	if err != nil {
		t.Fatal(err)
	}
	return record.Op{Kind: kind, Flags: flags, Owner: rr.Owner, Type: rr.Type, TTL: rr.TTL, Data: [][]byte{rr.Data}}
}

// randomOp is some change of z.test, with all that a diff can hold: other TTLs, signatures
// with and without what they cover, CNAMEs in the place of data, the apex.
func randomOp(t *testing.T, r *rand.Rand) record.Op {
	t.Helper()
	owner := fmt.Sprintf("n%d.z.test.", r.IntN(12))
	ttl := 60 * (1 + r.IntN(3))
	add := func(format string, a ...any) record.Op {
		return op(t, record.OpAdd, record.OpLenient, fmt.Sprintf(format, a...))
	}
	switch r.IntN(10) {
	case 0:
		return add("%s %d A 192.0.2.%d", owner, ttl, r.IntN(5))
	case 1:
		return add(`%s %d TXT "%d"`, owner, ttl, r.IntN(5))
	case 2:
		return op(t, record.OpRemove, 0, fmt.Sprintf("%s A 192.0.2.%d", owner, r.IntN(5)))
	case 3:
		return record.Op{Kind: record.OpRemoveRRset, Owner: record.MustName(owner), Type: record.TypeTXT}
	case 4:
		return record.Op{Kind: record.OpRemoveName, Owner: record.MustName(owner)}
	case 5:
		return op(t, record.OpReplaceRRset, record.OpLenient, fmt.Sprintf("%s %d CNAME c%d.z.test.", owner, ttl, r.IntN(3)))
	case 6:
		return add("%s %d RRSIG A 13 3 300 20300101000000 20200101000000 %d z.test. AAAA", owner, ttl, r.IntN(3))
	case 7:
		return add("z.test. %d NS ns%d.z.test.", ttl, r.IntN(3))
	case 8:
		return add("z.test. %d SOA ns.z.test. h.z.test. 1 3600 600 %d 60", ttl, 86400+r.IntN(3))
	}
	return add("%s %d NSEC %s A RRSIG NSEC", owner, ttl, owner)
}

// A rollback gives the content of before under a greater serial, over random changes,
// and can be rolled back itself.
func TestRollback(t *testing.T) {
	d, c := onStore(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	apex := record.MustName("z.test")
	was := map[uint32]string{}
	serial, text := content(t, d)
	was[serial] = text
	for range 1000 {
		ops := []record.Op{randomOp(t, r)}
		for r.IntN(3) == 0 {
			ops = append(ops, randomOp(t, r))
		}
		change(t, c, ops...)
		serial, text = content(t, d)
		was[serial] = text
	}
	if _, err := c.Rollback(ctx, apex, serial); err != nil {
		t.Errorf("to the present serial: %v", err)
	}
	if now, _ := content(t, d); now != serial {
		t.Errorf("a rollback to the present serial made serial %d", now)
	}
	oldest := serial
	for s := range was {
		oldest = min(oldest, s)
	}
	goals := []uint32{oldest}
	for range 30 {
		goals = append(goals, oldest+uint32(r.IntN(int(serial-oldest)+1)))
	}
	for _, goal := range goals {
		done, err := c.Rollback(ctx, apex, goal)
		if err != nil {
			t.Fatalf("seed %d, to %d: %v", seed, goal, err)
		}
		now, text := content(t, d)
		if text != was[goal] {
			t.Fatalf("seed %d, to %d: got\n%s\nwant\n%s", seed, goal, text, was[goal])
		}
		if done.Status == "OK" && !record.SerialLess(serial, now) || done.Zones[0].Serial != now {
			t.Errorf("seed %d, to %d: serial %d after %d, told %+v", seed, goal, now, serial, done)
		}
		was[now], serial = text, now
	}
}

func TestHistoryByHTTP(t *testing.T) {
	d, c := onStore(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	apex := record.MustName("z.test")
	first, _ := content(t, d)
	for i := range 5 {
		change(t, c, op(t, record.OpAdd, 0, fmt.Sprintf("n%d.z.test. 60 A 192.0.2.1", i)))
	}
	change(t, c, op(t, record.OpRemove, 0, "n0.z.test. A 192.0.2.1"))
	var got []string
	list := func(limit uint32) []string {
		t.Helper()
		got = nil
		if _, err := c.History(ctx, apex, limit, func(e HistoryEntry) error {
			got = append(got, fmt.Sprintf("%d>%d start=%v changes=%d", e.From-first, e.To-first, e.Start, len(e.Changes)))
			if !strings.HasPrefix(e.By, "user ") && !strings.HasPrefix(e.By, "uid ") && e.By != "admin socket" || e.Index == 0 {
				t.Errorf("got %+v", e)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := strings.Join(list(2), "|"); got != "5>6 start=false changes=3|4>5 start=false changes=3" {
		t.Errorf("the last two: %s", got)
	}
	if got := list(0); len(got) != 7 || !strings.HasSuffix(got[6], "start=true changes=0") {
		t.Errorf("all: %q", got)
	}
	diff := func(from uint32, to *uint32) (string, error) {
		var lines []string
		_, err := c.Diff(ctx, apex, from, to, func(l DiffLine) error {
			if l.Type != "SOA" {
				lines = append(lines, l.String())
			}
			return nil
		})
		return strings.Join(lines, "|"), err
	}
	second, last := first+2, first+6
	for _, tt := range []struct {
		rule string
		from uint32
		to   *uint32
		want string
		fail string
	}{
		{"to now", first + 4, nil, "- n0.z.test. 60 IN A 192.0.2.1|+ n4.z.test. 60 IN A 192.0.2.1", ""},
		{"condensed: what came and went is not in it", first, nil, "+ n1.z.test. 60 IN A 192.0.2.1|+ n2.z.test. 60 IN A 192.0.2.1|+ n3.z.test. 60 IN A 192.0.2.1|+ n4.z.test. 60 IN A 192.0.2.1", ""},
		{"between two", first, &second, "+ n0.z.test. 60 IN A 192.0.2.1|+ n1.z.test. 60 IN A 192.0.2.1", ""},
		{"nothing", last, nil, "", ""},
		{"nothing, in the past", second, &second, "", ""},
		{"a serial that never was", last + 7, nil, "", "not among the serials kept"},
		{"backwards", last, &second, "", "came before"},
	} {
		got, err := diff(tt.from, tt.to)
		if got != tt.want || (err == nil) != (tt.fail == "") || err != nil && !strings.Contains(err.Error(), tt.fail) {
			t.Errorf("%s: got %s, %v\nwant %s %s", tt.rule, got, err, tt.want, tt.fail)
		}
	}
	change(t, c, record.Op{Kind: record.OpZoneSetting, Owner: apex, Type: record.ZoneJournal, Data: [][]byte{record.JournalBounds{Count: 2}.Append(nil)}})
	if _, err := c.Rollback(ctx, apex, first+1); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("from %d to %d", first+4, last)) {
		t.Errorf("a serial before the journal: %v", err)
	}
	for path, status := range map[string]int{
		"GET /v1/zone/history?zone=none.test":             404,
		"GET /v1/zone/history?zone=z.test&limit=x":        400,
		"GET /v1/zone/diff?zone=z.test":                   400,
		"GET /v1/zone/diff?zone=z.test&from=-1":           400,
		"GET /v1/zone/diff?zone=z.test&from=1&to=x":       400,
		"GET /v1/zone/diff?zone=none.test&from=1":         404,
		"POST /v1/zone/rollback?zone=z.test":              400,
		"POST /v1/zone/rollback?zone=z.test&serial=x":     400,
		"POST /v1/zone/rollback?zone=none.test&serial=1":  404,
		"POST /v1/zone/rollback?zone=z.test&serial=99999": 409,
	} {
		method, url, _ := strings.Cut(path, " ")
		req, err := http.NewRequestWithContext(ctx, method, c.base+url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, status)
		}
	}
}

// racing proposes another change of the zone before each one it is given.
type racing struct {
	*direct
	other record.Change
}

func (r *racing) Propose(ctx context.Context, changes []record.Change) ([]record.Result, error) {
	if _, err := r.direct.Propose(ctx, []record.Change{r.other}); err != nil {
		return nil, err
	}
	return r.direct.Propose(ctx, changes)
}

// A rollback is refused if the zone changed after it was made, and undoes nothing of that.
func TestRollbackLosesNothingBetween(t *testing.T) {
	d, c := onStore(t)
	first, _ := content(t, d)
	change(t, c, op(t, record.OpAdd, 0, "a.z.test. 60 A 192.0.2.1"))
	s, err := New(Options{
		Proposer: &racing{d, record.Change{Ops: []record.Op{op(t, record.OpAdd, 0, "between.z.test. 60 A 192.0.2.1")}}},
		Reader:   func() Reader { return d.store.View() },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path := socketPath(t)
	if _, err := s.Listen(path); err != nil {
		t.Fatal(err)
	}
	late := NewClient(path)
	defer late.Close()
	if _, err := late.Rollback(t.Context(), record.MustName("z.test"), first); err == nil || !strings.Contains(err.Error(), "has serial") {
		t.Errorf("got %v", err)
	}
	if _, text := content(t, d); !strings.Contains(text, "between.z.test.") || !strings.Contains(text, "a.z.test.") {
		t.Errorf("the zone now:\n%s", text)
	}
}
