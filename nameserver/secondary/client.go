package secondary

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/zonediff"
	"github.com/eider-dns/eider/store/zonemd"
)

// Bounds of one transfer. A primary is a stranger as far as they go: one that was
// taken over must not fill this node's memory or hold its places for ever.
const (
	// dialTimeout is how long a connection may take to come about.
	dialTimeout = 5 * time.Second
	// DefaultStall is how long a transfer may go without a record.
	DefaultStall = 15 * time.Second
	// DefaultTime is how long a transfer may take in all.
	DefaultTime = 2 * time.Hour
	// DefaultLeast is how many octets have to come, on average, in each DefaultPace of waiting for them: a kilobyte a second,
	// which the slowest lines bring. One octet before every stall would else hold a place for hours.
	DefaultLeast = 64 << 10
	DefaultPace  = time.Minute
	// soaTime is how long the answer to an SOA question may take.
	soaTime = 10 * time.Second
	// maxMessages bounds the messages of one transfer: the largest content, a record each.
	maxMessages = zonediff.MaxRecords
	// maxEmpty is how many messages without a record may follow one another.
	maxEmpty = 16
	// maxSteps is the most differences one IXFR brings; a longer way is a transfer of the whole.
	maxSteps = 10000
	// maxIncrement is the most octets of its differences.
	maxIncrement = 64 << 20
)

// ErrIncrement is wrapped by every error about an IXFR that does not fit what is here, or
// makes no sense; a transfer of the whole zone may do better.
var ErrIncrement = errors.New("bad incremental transfer")

// errSlow is wrapped by the error about a primary that sends too little at a time.
var errSlow = errors.New("too slow")

// Limits are those of a transfer; 0 takes the default.
type Limits struct {
	zonediff.Bounds
	Stall, Time time.Duration
	Least       int           // octets in each Pace
	Pace        time.Duration // of waiting for the primary; what is done here does not count
}

// pace is the least that has to come, and in which time.
func (l *Limits) pace() (least int, within time.Duration) {
	if least, within = l.Least, l.Pace; least <= 0 {
		least = DefaultLeast
	}
	if within <= 0 {
		within = DefaultPace
	}
	return least, within
}

// Client asks one primary. It is safe for any goroutine.
type Client struct {
	Primary Primary
	Key     *tsig.Key // nil: nothing is signed
	Limits  Limits
	Now     func() time.Time // nil: time.Now

	memory *holding // nil: not shared with others
}

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// exchange is one question and the messages of its reply, on a connection of its own.
type exchange struct {
	c      *Client
	conn   net.Conn
	r      *bufio.Reader
	asked  *tsig.Asked // nil: unsigned
	id     uint16
	apex   record.Name
	t      record.Type
	stall  time.Duration
	end    time.Time
	reply  reply
	count  int           // messages
	came   int           // octets, in waited
	waited time.Duration // for the primary, since came was counted anew
	buf    []byte        // of a message
}

// ask sends a question over TCP. The caller closes the exchange.
func (c *Client) ask(ctx context.Context, apex record.Name, t record.Type, soa []byte, limit time.Duration) (*exchange, error) {
	var id [2]byte
	_, _ = rand.Read(id[:]) // never fails
	x := &exchange{c: c, id: binary.BigEndian.Uint16(id[:]), apex: apex, t: t, stall: c.Limits.Stall, end: time.Now().Add(limit)}
	if x.stall <= 0 {
		x.stall = DefaultStall
	}
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "tcp", c.Primary.Addr.String())
	if err != nil {
		return nil, err
	}
	x.conn, x.r = conn, bufio.NewReaderSize(conn, 64<<10)
	msg := question(x.id, apex, t, soa, t == record.TypeSOA)
	if c.Key != nil {
		msg, x.asked = tsig.Ask(msg, c.Key, c.now())
	}
	_ = conn.SetWriteDeadline(time.Now().Add(x.stall))
	if _, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)); err != nil {
		conn.Close()
		return nil, err
	}
	return x, nil
}

func (x *exchange) close() { x.conn.Close() }

// message reads the next message of the reply.
func (x *exchange) message() error {
	if x.count++; x.count > maxMessages {
		return fmt.Errorf("%w: it does not end", errMessage)
	}
	start := time.Now()
	deadline := start.Add(x.stall)
	if deadline.After(x.end) {
		deadline = x.end
	}
	_ = x.conn.SetReadDeadline(deadline)
	var length [2]byte
	if _, err := io.ReadFull(x.r, length[:]); err != nil {
		return noEOF(err)
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if cap(x.buf) < n {
		x.buf = make([]byte, max(n, 16<<10))
	}
	msg := x.buf[:n]
	if _, err := io.ReadFull(x.r, msg); err != nil {
		return noEOF(err)
	}
	if err := x.keepsPace(n, time.Since(start)); err != nil {
		return err
	}
	end := n
	if x.asked != nil {
		var err error
		if end, err = x.asked.Check(msg, x.c.now()); err != nil {
			if len(msg) >= headerSize && msg[3]&15 != 0 {
				return fmt.Errorf("%w (%w)", rcodeError(msg[3]&15), err)
			}
			return err
		}
	}
	return x.reply.open(msg, end, x.id, x.apex, x.t, x.count == 1)
}

// keepsPace counts what came in which time, and ends what is too slow.
func (x *exchange) keepsPace(octets int, took time.Duration) error {
	x.came, x.waited = x.came+octets, x.waited+took
	least, within := x.c.Limits.pace()
	if x.waited < within {
		return nil
	}
	if x.came < least {
		return fmt.Errorf("%w: %d octets in %v, less than %d in %v is not waited for", errSlow, x.came, x.waited.Round(time.Millisecond), least, within)
	}
	x.came, x.waited = 0, 0
	return nil
}

// noEOF says what the end of a connection means here.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the connection ended before it", errMessage)
	}
	return err
}

// settled tells whether all that was read is signed, where it has to be.
func (x *exchange) settled() error {
	if x.asked != nil && !x.asked.Settled() {
		return fmt.Errorf("%w: its end is not signed", errMessage)
	}
	return nil
}

// each reads records, of as many messages as it takes, until take says that it was the
// last. A primary has to bring one within the stall time, and ends in time.
func (x *exchange) each(take func(r *rr) (done bool, err error)) error {
	for empty := 0; ; {
		if err := x.message(); err != nil {
			return err
		}
		if x.reply.answers > 0 {
			empty = 0
		} else if empty++; empty > maxEmpty {
			return fmt.Errorf("%w: %d messages without a record", errMessage, empty)
		}
		for {
			r, ok, err := x.reply.next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			done, err := take(&r)
			if err != nil {
				return err
			}
			if !done {
				continue
			}
			if x.reply.answers > 0 {
				return fmt.Errorf("%w: records behind the last SOA", errMessage)
			}
			return x.settled()
		}
	}
}

// SOA asks for the SOA of a zone. expire is how long in seconds what the primary has is good
// for: what it says by the EXPIRE option (RFC 7314), or the SOA.
func (c *Client) SOA(ctx context.Context, apex record.Name) (soa []byte, expire uint32, err error) {
	defer func() { err = c.wrap(err, "SOA of %v", apex) }()
	x, err := c.ask(ctx, apex, record.TypeSOA, nil, soaTime)
	if err != nil {
		return nil, 0, err
	}
	defer x.close()
	defer context.AfterFunc(ctx, x.close)()
	if err := x.message(); err != nil {
		return nil, 0, err
	}
	if err := x.settled(); err != nil {
		return nil, 0, err
	}
	for {
		r, ok, err := x.reply.next()
		switch {
		case err != nil:
			return nil, 0, err
		case !ok:
			return nil, 0, fmt.Errorf("%w: no SOA in it; the primary does not have the zone", errMessage)
		case r.t == record.TypeSOA && r.owner.Equal(apex):
			if !x.reply.aa {
				return nil, 0, fmt.Errorf("%w: not authoritative; the zone may have expired there", errMessage)
			}
			numbers, _ := record.ParseSOA(r.data)
			expire = numbers.Expire
			if e, ok := x.reply.expire(); ok {
				expire = min(e, expire)
			}
			return r.data, expire, nil
		}
	}
}

// AXFR transfers a zone whole (RFC 5936).
func (c *Client) AXFR(ctx context.Context, apex record.Name) (content *zonediff.Content, err error) {
	defer func() { err = c.wrap(err, "AXFR of %v", apex) }()
	t := transfer{apex: apex, bounds: c.Limits.Bounds, memory: c.take(ctx)}
	if err := c.run(ctx, apex, record.TypeAXFR, nil, t.take); err != nil {
		return nil, err
	}
	return t.content, verify(t.content)
}

// take has the memory for records counted.
func (c *Client) take(ctx context.Context) func(octets int) error {
	return func(octets int) error { return c.memory.take(ctx, octets) }
}

// verify checks what is known of a whole content: that it is a zone, and its ZONEMD, if it has one (RFC 8976 section 4).
func verify(content *zonediff.Content) error {
	if err := content.Check(); err != nil {
		return err
	}
	_, err := zonemd.Verify(content.Apex(), content.RRsets())
	return err
}

// IXFR asks for what changed since the content whose SOA is soa (RFC 1995). What comes is steps,
// or a whole content, or neither: the primary has nothing newer. An error that wraps
// ErrIncrement says that AXFR may work.
func (c *Client) IXFR(ctx context.Context, apex record.Name, soa []byte) (steps []Step, content *zonediff.Content, err error) {
	defer func() { err = c.wrap(err, "IXFR of %v", apex) }()
	numbers, ok := record.ParseSOA(soa)
	if !ok {
		return nil, nil, errors.New("the SOA here cannot be read")
	}
	t := transfer{apex: apex, bounds: c.Limits.Bounds, memory: c.take(ctx), incremental: true, serial: numbers.Serial}
	if err := c.run(ctx, apex, record.TypeIXFR, soa, t.take); err != nil {
		var code rcodeError
		if errors.As(err, &code) && (code == 1 || code == 4 || code == 5) { // it may not know the type
			err = fmt.Errorf("%w: %w", ErrIncrement, err)
		}
		return nil, nil, err
	}
	if t.content != nil {
		return nil, t.content, verify(t.content)
	}
	return t.steps, nil, nil
}

func (c *Client) run(ctx context.Context, apex record.Name, t record.Type, soa []byte, take func(*rr) (bool, error)) error {
	limit := c.Limits.Time
	if limit <= 0 {
		limit = DefaultTime
	}
	x, err := c.ask(ctx, apex, t, soa, limit)
	if err != nil {
		return err
	}
	defer x.close()
	defer context.AfterFunc(ctx, x.close)()
	return x.each(take)
}

func (c *Client) wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s from %v: %w", fmt.Sprintf(format, args...), c.Primary, err)
}
