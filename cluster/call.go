package cluster

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"time"
)

// A call between nodes is one frame each way over a shared connection; answers
// come in any order.
//
//	length[4] sequence[8] method-or-status[1] payload
const (
	frameHeader = 8 + 1
	// maxFrame holds the largest question: a change of record.MaxChange, or many small ones.
	maxFrame = 1 << 20
	// maxAnswer holds the results of maxForward changes at their longest.
	maxAnswer = 8 << 20
	// maxCalls is how many calls of one connection are served at once; the next
	// are not read until one is done.
	maxCalls = 1024
	// writeTimeout is how long a frame may take into the socket.
	writeTimeout = 5 * time.Second
	// deadAfter: a connection on which calls time out and nothing came for so long is closed.
	deadAfter = 3 * time.Second
	// joinFrame holds hello, admit and status questions.
	joinFrame = 64 << 10
)

// method names a call.
type method byte

const (
	callHello    method = 'h' // who are you, and what do you know
	callAdmit    method = 'a' // let me into the cluster (leader only)
	callProve    method = 'b' // is my state the beginning of the recovered one (leader only)
	callPropose  method = 'p' // changes for the leader
	callStatus   method = 's' // how are you; from a leader also what it knows
	callTransfer method = 't' // give leadership away
	callNote     method = 'n' // a note for the leader
	callRead     method = 'r' // how far must a linearizable read be (leader only)
	callMember   method = 'm' // change who belongs to the cluster (leader only)
)

const (
	answerOK    byte = 0
	answerError byte = 1
)

var (
	errNotSent  = errors.New("call not sent")
	errConnLost = errors.New("connection lost before the answer")
)

// remoteError is what the other node answered instead of a result.
type remoteError string

func (e remoteError) Error() string { return string(e) }

type frame struct {
	seq     uint64
	kind    byte
	payload []byte
}

// readFrame allocates no more than the sender sent, in steps, up to limit.
func readFrame(r *bufio.Reader, limit int) (frame, error) {
	var head [4 + frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n < frameHeader || n > int64(limit) {
		return frame{}, fmt.Errorf("a frame of %d octets, at most %d are allowed", n, limit)
	}
	n -= frameHeader
	const step = 64 << 10
	payload := make([]byte, 0, min(n, step))
	for int64(len(payload)) < n {
		at := len(payload)
		more := int(min(n-int64(at), step))
		payload = append(payload, make([]byte, more)...)
		if _, err := io.ReadFull(r, payload[at:]); err != nil {
			return frame{}, err
		}
	}
	return frame{seq: binary.BigEndian.Uint64(head[4:]), kind: head[12], payload: payload}, nil
}

func (f *frame) write(w *bufio.Writer) error {
	var head [4 + frameHeader]byte
	binary.BigEndian.PutUint32(head[:], uint32(frameHeader+len(f.payload)))
	binary.BigEndian.PutUint64(head[4:], f.seq)
	head[12] = f.kind
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(f.payload)
	return err
}

// writeFrames sends what comes from out, flushing when nothing more waits: many
// callers share one system call.
func writeFrames(conn net.Conn, out <-chan frame, done <-chan struct{}) error {
	w := bufio.NewWriterSize(conn, 32<<10)
	for {
		select {
		case f := <-out:
			conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			if err := f.write(w); err != nil {
				return err
			}
			if len(out) == 0 {
				runtime.Gosched() // answers to one entry become ready together: the others before the system call
			}
			if len(out) == 0 {
				if err := w.Flush(); err != nil {
					return err
				}
			}
		case <-done:
			return nil
		}
	}
}

// caller is the calling end of a connection. Safe for concurrent use.
type caller struct {
	conn  net.Conn
	drop  func()
	limit int // of a question
	out   chan frame
	done  chan struct{} // closed when the connection is over

	mu       sync.Mutex
	seq      uint64
	waiting  map[uint64]chan frame
	received time.Time
	over     bool
}

func newCaller(conn net.Conn, limit int, drop func()) *caller {
	c := &caller{
		conn: conn, drop: drop, limit: limit, out: make(chan frame, 64), done: make(chan struct{}),
		waiting: map[uint64]chan frame{}, received: time.Now(),
	}
	go func() {
		if writeFrames(conn, c.out, c.done) != nil {
			c.close()
		}
	}()
	go c.read()
	return c
}

func (c *caller) read() {
	defer c.close()
	r := bufio.NewReaderSize(c.conn, 32<<10)
	for {
		f, err := readFrame(r, maxAnswer)
		if err != nil {
			return
		}
		c.mu.Lock()
		answer := c.waiting[f.seq]
		delete(c.waiting, f.seq)
		c.received = time.Now()
		c.mu.Unlock()
		if answer != nil {
			answer <- f // has room for one
		}
	}
}

// close ends the connection; all that wait get errConnLost.
func (c *caller) close() {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return
	}
	c.over = true
	close(c.done)
	c.mu.Unlock()
	c.drop()
}

func (c *caller) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.over
}

// call asks and waits. An error that wraps errNotSent means the other node never
// saw the question; a remoteError is its answer; after any other it may have acted.
func (c *caller) call(ctx context.Context, m method, payload []byte) ([]byte, error) {
	return c.callUntil(ctx, nil, m, payload)
}

// callUntil is call that gives up when until is closed, too, as if ctx had ended.
func (c *caller) callUntil(ctx context.Context, until <-chan struct{}, m method, payload []byte) ([]byte, error) {
	if len(payload)+frameHeader > c.limit {
		return nil, fmt.Errorf("%w: %d octets, at most %d are allowed", errNotSent, len(payload), c.limit)
	}
	answer := make(chan frame, 1)
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return nil, fmt.Errorf("%w: connection closed", errNotSent)
	}
	c.seq++
	seq := c.seq
	c.waiting[seq] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, seq)
		c.mu.Unlock()
	}()
	select {
	case c.out <- frame{seq, byte(m), payload}:
	case <-c.done:
		return nil, fmt.Errorf("%w: connection closed", errNotSent)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errNotSent, ctx.Err())
	case <-until:
		return nil, fmt.Errorf("%w: %w", errNotSent, context.Canceled)
	}
	select {
	case f := <-answer:
		return f.result()
	case <-until:
		c.doubt()
		return nil, context.Canceled
	case <-c.done:
		select {
		case f := <-answer: // it was the last thing to arrive
			return f.result()
		default:
			return nil, errConnLost
		}
	case <-ctx.Done():
		c.doubt()
		return nil, ctx.Err()
	}
}

// doubt closes a connection that gave no answer and has been silent for long.
func (c *caller) doubt() {
	c.mu.Lock()
	silent := time.Since(c.received) > deadAfter
	c.mu.Unlock()
	if silent {
		c.close()
	}
}

func (f *frame) result() ([]byte, error) {
	if f.kind != answerOK {
		return nil, remoteError(f.payload)
	}
	return f.payload, nil
}

// handler answers one call. Its context ends with the connection.
type handler func(ctx context.Context, from hello, m method, payload []byte) ([]byte, error)

// bounds are those of a connection that asks.
type bounds struct {
	frame     int           // octets of a question
	calls     int           // served at once; the next are not read until one is done
	questions int           // in all; 0: any number
	first     time.Duration // until the first question; 0: any time
	idle      time.Duration // until each next one; 0: any time
}

// Bounds of connections between nodes of one cluster, and of those of the join service, which in plain text is open to anyone
// who knows the first frame. A node that wants in asks once on a connection, and waits for what takes admitTimeout.
var (
	nodeBounds = bounds{frame: maxFrame, calls: maxCalls}
	joinBounds = bounds{frame: joinFrame, calls: 4, questions: 16, first: handshakeTimeout, idle: 2 * admitTimeout}
)

// serveCalls reads and answers calls until the connection ends, then waits for
// the handlers.
func serveCalls(conn net.Conn, from hello, b bounds, handle handler) {
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan frame, 64)
	var running sync.WaitGroup
	running.Go(func() {
		if writeFrames(conn, out, ctx.Done()) != nil {
			cancel()
			conn.Close()
		}
	})
	places := make(chan struct{}, b.calls)
	r := bufio.NewReaderSize(conn, 32<<10)
	wait := b.first
	for n := 0; ctx.Err() == nil && (b.questions == 0 || n < b.questions); n++ {
		if wait > 0 {
			conn.SetReadDeadline(time.Now().Add(wait))
		}
		wait = b.idle
		f, err := readFrame(r, b.frame)
		if err != nil {
			break
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		running.Go(func() {
			defer func() { <-places }()
			payload, err := handle(ctx, from, method(f.kind), f.payload)
			answer := frame{f.seq, answerOK, payload}
			if err != nil {
				answer.kind, answer.payload = answerError, []byte(err.Error())
			}
			if len(answer.payload) > maxAnswer-frameHeader {
				answer.kind, answer.payload = answerError, []byte("the answer is too long")
			}
			select {
			case out <- answer:
			case <-ctx.Done():
			}
		})
	}
	cancel()
	conn.Close()
	running.Wait()
}

// callers keeps one connection to each address. Safe for concurrent use.
type callers struct {
	port *port
	mu   sync.Mutex
	to   map[string]*slot
}

type slot struct {
	mu sync.Mutex // held while connecting
	c  *caller
}

// call asks the node at address over the shared connection. Errors as caller.call.
func (k *callers) call(ctx context.Context, address string, m method, payload []byte) ([]byte, error) {
	return k.callUntil(ctx, nil, address, m, payload)
}

// callUntil is call that gives up when until is closed, too.
func (k *callers) callUntil(ctx context.Context, until <-chan struct{}, address string, m method, payload []byte) ([]byte, error) {
	c, err := k.get(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	return c.callUntil(ctx, until, m, payload)
}

func (k *callers) get(ctx context.Context, address string) (*caller, error) {
	k.mu.Lock()
	s := k.to[address]
	if s == nil {
		s = &slot{}
		k.to[address] = s
	}
	k.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c != nil && s.c.alive() {
		return s.c, nil
	}
	conn, _, err := k.port.dial(address, serviceCall, untilDeadline(ctx, handshakeTimeout))
	if err != nil {
		return nil, err
	}
	s.c = newCaller(conn, maxFrame, func() { k.port.drop(conn) })
	return s.c, nil
}

// join asks over a connection of its own, open to nodes not admitted; the
// identity in the other's handshake is returned too.
func (k *callers) join(ctx context.Context, address string, m method, payload []byte) ([]byte, hello, error) {
	conn, h, err := k.port.dial(address, serviceJoin, untilDeadline(ctx, handshakeTimeout))
	if err != nil {
		return nil, h, fmt.Errorf("%w: %w", errNotSent, err)
	}
	c := newCaller(conn, joinFrame, func() { k.port.drop(conn) })
	defer c.close()
	answer, err := c.call(ctx, m, payload)
	return answer, h, err
}

func untilDeadline(ctx context.Context, most time.Duration) time.Duration {
	if d, ok := ctx.Deadline(); ok {
		return min(most, max(time.Until(d), time.Millisecond))
	}
	return most
}
