package cluster

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/store/record"
)

// The versions raft.md decided on, each with its reason. Moving one means
// running the regression tests below and the fault tests, and deciding anew.
func TestPinnedVersions(t *testing.T) {
	b, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require ")); len(f) >= 2 {
			versions[f[0]] = f[1]
		}
	}
	for _, pin := range []struct{ module, version, why string }{
		{"github.com/hashicorp/raft", "v1.7.3", "1.8.0 does not build with raft-boltdb 2.3.1, and RestoreCommittedLogs deadlocks"},
		{"github.com/hashicorp/raft-boltdb/v2", "v2.3.1", "the log format on disk"},
		{"go.etcd.io/bbolt", "v1.5.0", "older ones have races in WriteTo and the meta page"},
	} {
		if got := versions[pin.module]; got != pin.version {
			t.Errorf("%s is %q, pinned is %s: %s", pin.module, got, pin.version, pin.why)
		}
	}
	var minor int
	if _, err := fmt.Sscanf(versions["github.com/hashicorp/go-metrics"], "v0.%d.", &minor); err != nil || minor > 6 {
		t.Errorf("go-metrics is %q, at most v0.6 is allowed: later ones dropped what raft-boltdb imports", versions["github.com/hashicorp/go-metrics"])
	}
}

func testPort(t *testing.T, id string) *port {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &identityStore{path: filepath.Join(t.TempDir(), identityFile), id: identity{ID: id, Incarnation: newToken(), Name: "test", Admitted: true, Nodes: map[string]token{}}}
	p := &port{
		listener: l, advertise: l.Addr().String(), identity: s, log: slog.New(slog.DiscardHandler), dialer: net.DialTimeout,
		serve: func(net.Conn, hello) {}, conns: map[net.Conn]struct{}{}, greeting: map[string]int{},
	}
	p.wg.Add(1)
	go p.run()
	t.Cleanup(p.close)
	return p
}

func testTransport(t *testing.T, p *port) *transport {
	t.Helper()
	logs := &logStore{tuning: Tuning{StallAfter: DefaultStallAfter}}
	s := newStream(p)
	p.stream.Store(s)
	trans := newTransport(s, logs, &raft.NetworkTransportConfig{Logger: newRaftLog(p.log)})
	t.Cleanup(func() {
		trans.Close()
		trans.CloseStreams()
	})
	return trans
}

// hashicorp/raft 695: with the fast path, a heartbeat runs the handler on the
// goroutine of its connection, beside the main loop. Here it has to come out of
// Consumer like every message, which is what the main loop reads.
func TestHeartbeatsGoThroughTheMainLoop(t *testing.T) {
	a, b := testTransport(t, testPort(t, "a")), testTransport(t, testPort(t, "b"))
	fast := make(chan struct{}, 1)
	raft.Transport(b).SetHeartbeatHandler(func(rpc raft.RPC) {
		fast <- struct{}{}
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
	})
	answered := make(chan error, 1)
	go func() {
		heartbeat := raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{Addr: []byte("a")}, Term: 7} // what the library takes for one
		answered <- a.AppendEntries("b", b.LocalAddr(), &heartbeat, new(raft.AppendEntriesResponse))
	}()
	select {
	case rpc := <-b.Consumer():
		rpc.Respond(&raft.AppendEntriesResponse{Term: 7, Success: true}, nil)
	case <-fast:
		t.Fatal("a heartbeat took the fast path")
	case <-time.After(handshakeTimeout):
		t.Fatal("no heartbeat came")
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
}

// The interfaces Raft looks for must survive the wrapping.
func TestTransportKeepsOptionalInterfaces(t *testing.T) {
	var trans raft.Transport = testTransport(t, testPort(t, "a"))
	if _, ok := trans.(raft.WithPreVote); !ok {
		t.Error("no pre-vote: a node that comes back would disturb the leader")
	}
	if _, ok := trans.(raft.WithClose); !ok {
		t.Error("no close")
	}
	if _, err := trans.AppendEntriesPipeline("b", "127.0.0.1:1"); !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Errorf("pipelining is on: %v", err)
	}
}

// hashicorp/raft 503: a leader whose disk hangs must fall silent.
func TestStalledLogSilencesTheLeader(t *testing.T) {
	a, b := testTransport(t, testPort(t, "a")), testTransport(t, testPort(t, "b"))
	a.logs.writing.Store(time.Now().Add(-2 * DefaultStallAfter).UnixNano())
	err := a.AppendEntries("b", b.LocalAddr(), &raft.AppendEntriesRequest{}, new(raft.AppendEntriesResponse))
	if !errors.Is(err, errStalled) {
		t.Errorf("append: %v", err)
	}
	if err := a.RequestPreVote("b", b.LocalAddr(), &raft.RequestPreVoteRequest{}, new(raft.RequestPreVoteResponse)); !errors.Is(err, errDegraded) {
		t.Errorf("pre-vote: %v", err)
	}
}

func TestHandshakeRefusals(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		change func(a, b *identity)
		why    string // empty: welcome
	}{
		{"nodes of one cluster", func(a, b *identity) {}, ""},
		{"another cluster", func(a, b *identity) { a.Cluster = newToken() }, "another cluster"},
		{"another epoch", func(a, b *identity) { a.Epoch = 1 }, "epoch"},
		{"an incarnation that is not the known one", func(a, b *identity) { b.Nodes["a"] = newToken() }, "came back with another data directory"},
		{"a node not admitted", func(a, b *identity) { b.Admitted = false }, "not admitted"},
		{"two nodes of one id", func(a, b *identity) { b.ID = "a" }, "share an id"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			a, b := testPort(t, "a"), testPort(t, "b")
			tt.change(&a.identity.id, &b.identity.id)
			conn, _, err := a.dial(b.advertise, serviceCall, time.Second)
			if err == nil {
				a.drop(conn)
			}
			if tt.why == "" && err != nil || tt.why != "" && (err == nil || !strings.Contains(err.Error(), tt.why)) {
				t.Errorf("got %v, want %q", err, tt.why)
			}
		})
	}
}

func TestStrangersCannotTakeAllPlaces(t *testing.T) {
	p := testPort(t, "a")
	var mute []net.Conn
	for range 2 * maxHandshakesOne {
		conn, err := net.Dial("tcp", p.advertise)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		mute = append(mute, conn)
	}
	// The one past the cap is closed without a word.
	last := mute[len(mute)-1]
	last.SetReadDeadline(time.Now().Add(handshakeTimeout / 2))
	var timeout net.Error
	if _, err := last.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the connection over the cap is open: %v", err)
	}
}

// eachKind runs a test with each thing the entries of a log can be in.
func eachKind(t *testing.T, test func(t *testing.T, kind string)) {
	for _, kind := range []string{config.LogBolt, config.LogWAL} {
		t.Run(kind, func(t *testing.T) { test(t, kind) })
	}
}

func testLogs(t *testing.T, kind string, tuning Tuning, safe uint64) *logStore {
	t.Helper()
	return testLogsIn(t, t.TempDir(), kind, tuning, safe)
}

func testLogsIn(t *testing.T, dir, kind string, tuning Tuning, safe uint64) *logStore {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	tuning.StallAfter = DefaultStallAfter
	l, err := openLogs(ctx, dir, kind, tuning, slog.New(slog.DiscardHandler), func() uint64 { return safe })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.close() })
	if _, there, _ := l.logID(); !there {
		if err := l.setLogID(newToken()); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func fill(t *testing.T, l *logStore, from, to uint64) {
	t.Helper()
	data, err := (&record.Entry{Level: FeatureLevel}).AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	var list []*raft.Log
	for i := from; i <= to; i++ {
		list = append(list, &raft.Log{Index: i, Term: 1, Data: data})
	}
	if err := l.StoreLogs(list); err != nil {
		t.Fatal(err)
	}
}

func TestDeleteRange(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		for _, tt := range []struct {
			rule        string
			keep, safe  uint64
			low, high   uint64
			first, last uint64 // afterwards, of 1 to 6000
		}{
			{"a prefix goes in slices", 100, math.MaxUint64, 1, 5000, 5001, 6000},
			{"the last entries stay", 2000, math.MaxUint64, 1, 5999, 4001, 6000},
			{"all stay if there are too few", 10_000, math.MaxUint64, 1, 5000, 1, 6000},
			{"what a live node lacks stays", 100, 3000, 1, 5000, 3001, 6000},
			{"a suffix goes whole", 10_000, 0, 5500, 6000, 1, 5499},
		} {
			t.Run(tt.rule, func(t *testing.T) {
				l := testLogs(t, kind, Tuning{KeepEntries: tt.keep}, tt.safe)
				fill(t, l, 1, 6000)
				if err := l.DeleteRange(tt.low, tt.high); err != nil {
					t.Fatal(err)
				}
				first, _ := l.FirstIndex()
				last, _ := l.LastIndex()
				if first != tt.first || last != tt.last {
					t.Errorf("left are %d to %d, want %d to %d", first, last, tt.first, tt.last)
				}
			})
		}
	})
}

func TestDropStale(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		for _, tt := range []struct {
			rule            string
			snapshot, first uint64 // of 1 to 100; first: afterwards, 0: nothing
		}{
			{"Raft section 7: a snapshot beyond the end takes the log with it", 101, 0},
			{"one at the end keeps it", 100, 1},
			{"one within keeps it", 50, 1},
		} {
			t.Run(tt.rule, func(t *testing.T) {
				l := testLogs(t, kind, Tuning{KeepEntries: 1000}, 0)
				fill(t, l, 1, 100)
				if err := l.dropStale(tt.snapshot); err != nil {
					t.Fatal(err)
				}
				if first, err := l.FirstIndex(); err != nil || first != tt.first {
					t.Errorf("it begins at %d, want %d (%v)", first, tt.first, err)
				}
			})
		}
	})
}

// Raft panics on an entry that is missing behind the checkpoint.
func TestGapInTheLogIsFound(t *testing.T) {
	l := testLogs(t, config.LogBolt, Tuning{}, 0)
	fill(t, l, 1, 10)
	fill(t, l, 15, 20)
	for after, want := range map[uint64]uint64{0: 11, 9: 11, 12: 13, 14: 0, 20: 0} {
		if got, err := l.gap(after); err != nil || got != want {
			t.Errorf("behind %d: %d is missing, want %d (%v)", after, got, want, err)
		}
	}
}

// An entry that rotted on the disk of a leader must not reach the others, whose
// state machines would all stop at it.
func TestRottenEntryIsNotSent(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		l := testLogs(t, kind, Tuning{}, 0)
		fill(t, l, 1, 3)
		data, err := (&record.Entry{Level: FeatureLevel}).AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-1] ^= 1
		rotten := &raft.Log{Index: 4, Term: 1, Data: data}
		if err := l.StoreLog(rotten); err != nil {
			t.Fatal(err)
		}
		if at, err := l.gap(0); !errors.Is(err, record.ErrEncoding) {
			t.Errorf("the log is taken for sound: %d, %v", at, err)
		}
		trans := testTransport(t, testPort(t, "a"))
		err = trans.AppendEntries("b", "127.0.0.1:1", &raft.AppendEntriesRequest{Entries: []*raft.Log{rotten}}, new(raft.AppendEntriesResponse))
		if !errors.Is(err, record.ErrEncoding) {
			t.Errorf("sent: %v", err)
		}
	})
}

// The entry before the first one of a log is known by its term, and is never sent.
func TestLastEntryOfTheCheckpointIsStoodInFor(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		l := testLogs(t, kind, Tuning{}, 0)
		l.snapshot = func() (uint64, uint64) { return 3, 7 }
		fill(t, l, 4, 5)
		var e raft.Log
		if err := l.GetLog(3, &e); err != nil || e.Index != 3 || e.Term != 7 {
			t.Fatalf("got %+v, %v", e, err)
		}
		if err := l.GetLog(2, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("an entry before: %v", err)
		}
		trans := testTransport(t, testPort(t, "a"))
		err := trans.AppendEntries("b", "127.0.0.1:1", &raft.AppendEntriesRequest{Entries: []*raft.Log{&e}}, new(raft.AppendEntriesResponse))
		if !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("sent: %v", err)
		}
	})
}

func TestFailedAppendIsReported(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		l := testLogs(t, kind, Tuning{}, 0)
		l.close()
		if err := l.StoreLog(&raft.Log{Index: 1}); err == nil {
			t.Fatal("a closed log took an entry")
		}
		select {
		case <-l.failed:
		default:
			t.Error("nobody was told")
		}
		if !l.degraded() {
			t.Error("not degraded")
		}
	})
}

func TestTermsAreRetriedAndVotesNotInvented(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		l := testLogs(t, kind, Tuning{}, 0)
		l.close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		l.ctx = ctx
		if err := l.SetUint64([]byte(keyCurrentTerm), 5); err != nil {
			t.Errorf("a term at shutdown: %v, Raft panics on it", err)
		}
		if err := l.Set([]byte("LastVoteCand"), []byte("x")); err == nil {
			t.Error("a vote that is not on disk was reported as written")
		}
	})
}

func TestHint(t *testing.T) {
	dir, logID := t.TempDir(), newToken()
	h, err := openHint(dir, logID)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.read(); got != 0 {
		t.Errorf("an empty file gives %d", got)
	}
	if err := h.write(42); err != nil {
		t.Fatal(err)
	}
	if got := h.read(); got != 42 {
		t.Errorf("got %d, want 42", got)
	}
	if err := h.write(41); err != nil || h.read() != 42 {
		t.Errorf("a replay took the hint back to %d (%v)", h.read(), err)
	}
	h.close()
	other, err := openHint(dir, newToken())
	if err != nil {
		t.Fatal(err)
	}
	if got := other.read(); got != 0 {
		t.Errorf("the hint of another log gives %d", got)
	}
	other.close()
	path := filepath.Join(dir, hintFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := openHint(dir, logID)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.read(); got != 0 {
			t.Errorf("with octet %d damaged the hint gives %d", i, got)
		}
		h.close()
	}
}

func TestWaiters(t *testing.T) {
	var w waiters
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.wait(gone, 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(w.list) != 0 {
		t.Error("a waiter that left is still there")
	}
	done := make(chan uint64, 3)
	for _, index := range []uint64{5, 3, 4} {
		go func() {
			if w.wait(context.Background(), index, nil) == nil {
				done <- index
			}
		}()
	}
	for index := uint64(3); index <= 5; index++ {
		w.publish(index)
		if got := <-done; got > index {
			t.Errorf("woken for %d at %d", got, index)
		}
	}
	if err := w.wait(gone, 5, nil); err != nil {
		t.Errorf("an index applied already: %v", err)
	}
}

// What is given up while queued is surely not done; what is in flight is not sure.
func TestGiveUp(t *testing.T) {
	b := newBatcher(newToken())
	p := &proposal{changes: [][]byte{make([]byte, record.MaxEntry/2), make([]byte, record.MaxEntry/2), make([]byte, 10)}, done: make(chan struct{})}
	if err := b.submit(p); err != nil {
		t.Fatal(err)
	}
	changes, parts := b.take()
	if len(changes) != 1 || len(parts) != 1 {
		t.Fatalf("%d changes of %d proposals in the first entry", len(changes), len(parts))
	}
	settle(parts, []record.Result{{Status: record.OK}}, 9, nil)
	if _, parts = b.take(); len(parts) != 1 || parts[0].n != 2 {
		t.Fatalf("second entry: %v", parts)
	}
	if o := p.giveUp(context.DeadlineExceeded); o.unsure != 3 || len(o.results) != 1 || o.index != 9 {
		t.Errorf("in flight: %+v", o)
	}
	q := &proposal{changes: [][]byte{{1}}, done: make(chan struct{})}
	if err := b.submit(q); err != nil {
		t.Fatal(err)
	}
	if o := q.giveUp(context.DeadlineExceeded); o.unsure != 0 {
		t.Errorf("queued: %+v", o)
	}
	if changes, _ := b.take(); len(changes) != 0 {
		t.Error("a change given up was taken")
	}
	if b.bytes != 0 || b.changes != 0 {
		t.Errorf("the empty queue counts %d octets, %d changes", b.bytes, b.changes)
	}
}

func TestQueueIsBounded(t *testing.T) {
	b := newBatcher(newToken())
	big := make([]byte, record.MaxChange)
	n := 0
	for ; n < maxQueueBytes/len(big)+2; n++ {
		if err := b.submit(&proposal{changes: [][]byte{big}, done: make(chan struct{})}); err != nil {
			if !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
			break
		}
	}
	if n != maxQueueBytes/len(big) {
		t.Errorf("%d changes of %d octets were queued", n, len(big))
	}
	b.refuseAll(ErrStopped)
}

func TestForwardEncoding(t *testing.T) {
	o := outcome{results: []record.Result{{Status: record.OK, Index: 7}}, index: 7, err: remoteError("x"), unsure: 2, leader: leader{"1", "127.0.0.1:1"}}
	got, err := parseAnswer(appendAnswer(nil, o), 3)
	if err != nil || !reflect.DeepEqual(got, o) {
		t.Errorf("got %+v, %v, want %+v", got, err, o)
	}
	if _, err := parseAnswer(appendAnswer(nil, outcome{results: o.results}), 2); err == nil {
		t.Error("one result was taken for two")
	}
}

func FuzzHandshake(f *testing.F) {
	h := hello{Service: serviceRaft, Cluster: newToken(), Incarnation: newToken(), ID: "0"}
	f.Add(h.append(nil, false), false)
	h.Status, h.Reason, h.Service = statusRefused, "why", 0
	f.Add(h.append(nil, true), true)
	f.Fuzz(func(t *testing.T, data []byte, answer bool) {
		r := bytes.NewReader(data)
		h, err := readHello(r, answer)
		if err != nil {
			return
		}
		used := data[:len(data)-r.Len()]
		if again := h.append(nil, answer); !bytes.Equal(again, used) {
			t.Fatalf("read %x, written %x", used, again)
		}
	})
}

func FuzzCall(f *testing.F) {
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	question := frame{1, byte(callPropose), appendForward(nil, time.Second, [][]byte{[]byte("x"), nil})}
	if err := question.write(w); err != nil {
		f.Fatal(err)
	}
	w.Flush()
	f.Add(b.Bytes())
	f.Add(appendAnswer(nil, outcome{results: []record.Result{{Status: record.OK, Index: 1}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if fr, err := readFrame(bufio.NewReader(bytes.NewReader(data)), maxFrame); err == nil {
			if len(fr.payload) > len(data) {
				t.Fatalf("%d octets made %d", len(data), len(fr.payload))
			}
			parseForward(fr.payload)
			n := &Node{identity: &identityStore{}}
			n.handle(t.Context(), hello{Service: serviceJoin, ID: "x"}, method('?'), fr.payload)
		}
		if timeout, changes, err := parseForward(data); err == nil && !bytes.Equal(appendForward(nil, timeout, changes)[4:], data[4:]) {
			t.Fatalf("forwarded changes are not canonical: %x", data)
		}
		if o, err := parseAnswer(data, maxForward); err == nil && len(o.results) > maxForward {
			t.Fatal("too many results")
		}
	})
}

// A conversation over one connection, with answers out of order and a lost connection.
func TestCalls(t *testing.T) {
	client, server := net.Pipe()
	release := make(chan struct{})
	go serveCalls(server, hello{}, nodeBounds, func(_ context.Context, _ hello, m method, payload []byte) ([]byte, error) {
		switch string(payload) {
		case "slow":
			<-release
		case "bad":
			return nil, errors.New("no such thing")
		}
		return payload, nil
	})
	c := newCaller(client, maxFrame, func() { client.Close() })
	slow := make(chan error, 1)
	go func() {
		b, err := c.call(context.Background(), callStatus, []byte("slow"))
		if err == nil && string(b) != "slow" {
			err = fmt.Errorf("got %q", b)
		}
		slow <- err
	}()
	if b, err := c.call(context.Background(), callStatus, []byte("fast")); err != nil || string(b) != "fast" {
		t.Errorf("got %q, %v", b, err)
	}
	var remote remoteError
	if _, err := c.call(context.Background(), callStatus, []byte("bad")); !errors.As(err, &remote) || remote.Error() != "no such thing" {
		t.Errorf("got %v", err)
	}
	close(release)
	if err := <-slow; err != nil {
		t.Error(err)
	}
	if _, err := c.call(context.Background(), callStatus, make([]byte, maxFrame)); !errors.Is(err, errNotSent) {
		t.Errorf("too long: %v", err)
	}
	server.Close()
	<-c.done
	if _, err := c.call(context.Background(), callStatus, nil); !errors.Is(err, errNotSent) {
		t.Errorf("after the end: %v", err)
	}
}

func TestIdentitySurvivesAndMeets(t *testing.T) {
	s := &identityStore{path: filepath.Join(t.TempDir(), identityFile), id: identity{ID: "0", Nodes: map[string]token{}}}
	var first token
	rand.Read(first[:])
	if err := s.meet("1", first); err != nil {
		t.Fatal(err)
	}
	if err := s.meet("1", newToken()); err == nil {
		t.Error("another incarnation of a known node was believed")
	}
	second := newToken()
	if err := s.learn(map[string]token{"1": second, "0": newToken()}); err != nil {
		t.Fatal(err)
	}
	if err := s.meet("1", second); err != nil {
		t.Errorf("what the leader said was not believed: %v", err)
	}
	if id := s.get(); id.Nodes["0"] != (token{}) {
		t.Error("a node keeps its own incarnation among the others")
	}
}

// What the state machine shows, a process killed at that moment finds in the hint.
func TestHintComesBeforeWhatIsApplied(t *testing.T) {
	h, err := openHint(t.TempDir(), newToken())
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	sm := &hintWatcher{hint: h}
	m := &machine{sm: sm, hint: h, log: slog.New(slog.DiscardHandler)}
	m.ApplyBatch([]*raft.Log{{Index: 7, Type: raft.LogCommand}, {Index: 8, Type: raft.LogCommand}})
	if sm.saw != 8 {
		t.Errorf("while entry 8 was applied the hint was %d", sm.saw)
	}
}

// A disk that hangs may do so in the write of the hint, which applying waits for, and never in one of the log: nothing is
// committed any more then, either.
func TestHungHintIsAStall(t *testing.T) {
	l := testLogs(t, config.LogBolt, Tuning{}, 0)
	h, err := openHint(t.TempDir(), newToken())
	must(t, err)
	defer h.close()
	l.hint = h
	if _, _, hangs := l.hanging(); hangs {
		t.Error("nothing is being written")
	}
	h.writing.Store(time.Now().Add(-time.Minute).UnixNano())
	if file, _, _ := l.hanging(); file != hintFile || !l.stalled() || !l.degraded() {
		t.Errorf("%q hangs", file)
	}
	must(t, h.write(1))
	if l.stalled() {
		t.Error("the write has ended")
	}
}

// hintWatcher is a state machine that looks at the hint while it applies.
type hintWatcher struct {
	StateMachine
	hint *hint
	saw  uint64
}

func (w *hintWatcher) ApplyBatch(logs []*raft.Log) []any {
	w.saw = w.hint.read()
	return make([]any, len(logs))
}

func (w *hintWatcher) Applied() uint64 { return 8 }
