package admin

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/eider-dns/eider/store/record"
)

const (
	// maxBatch is how many lines are read ahead and proposed together. It fills a
	// log entry (record.MaxEntry) of small changes a few times over.
	maxBatch = 512
	// lineBuffer is how much of the input is read ahead, in octets; a line of
	// MaxLine fits, so that one too long is told from one not yet complete.
	lineBuffer = 2 * MaxLine
	// maxTransaction is the most lines between BEGIN and COMMIT; the size of the
	// change (record.MaxChange) is the limit that counts for longer ones.
	maxTransaction = 10000
)

// ServeLines reads lines from r and writes one answer line to w for each that
// is neither blank nor a comment, in their order (design.md section 7). An
// answer is written once the change is committed and applied at this node, or
// known to have failed. Lines that have arrived together are proposed together,
// each as a change of its own. It returns nil at the end of the input or after
// QUIT, else the error of r or w or of ctx; it ends nothing but this reader.
//
// One call serves one input; any number of calls may run at a time. While it
// waits in r.Read it does not see ctx end; whoever can closes r then.
//
// Its changes are those of ConsoleAuthor.
func (s *Server) ServeLines(ctx context.Context, r io.Reader, w io.Writer) error {
	return s.serveLines(ctx, ConsoleAuthor, r, w)
}

func (s *Server) serveLines(ctx context.Context, by string, r io.Reader, w io.Writer) error {
	in := bufio.NewReaderSize(r, lineBuffer)
	out := bufio.NewWriter(w)
	console := &console{server: s, by: by}
	for {
		batch, err := readBatch(in)
		quit := console.serve(ctx, batch, out)
		if flushErr := out.Flush(); flushErr != nil {
			return fmt.Errorf("writing an answer: %w", flushErr)
		}
		switch {
		case quit || errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading lines: %w", err)
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// inputLine is one line as it came; of one that is too long only that it was.
type inputLine struct {
	text    string
	tooLong bool
}

// readBatch waits for one line and takes the whole lines behind it that need no
// waiting, up to maxBatch. Lines before an error are good.
func readBatch(in *bufio.Reader) ([]inputLine, error) {
	var batch []inputLine
	for {
		line, err := readLine(in)
		if err == nil || line.tooLong || line.text != "" {
			batch = append(batch, line)
		}
		if err != nil {
			return batch, err
		}
		buffered, _ := in.Peek(in.Buffered())
		if len(batch) == maxBatch || bytes.IndexByte(buffered, '\n') < 0 {
			return batch, nil
		}
	}
}

// readLine reads one line without its end. The last line needs none.
func readLine(in *bufio.Reader) (inputLine, error) {
	b, err := in.ReadSlice('\n')
	line := inputLine{tooLong: errors.Is(err, bufio.ErrBufferFull)}
	for errors.Is(err, bufio.ErrBufferFull) { // drop the rest of it
		_, err = in.ReadSlice('\n')
	}
	if line.tooLong {
		return line, err
	}
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	if len(b) > MaxLine {
		return inputLine{tooLong: true}, err
	}
	line.text = string(b)
	return line, err
}

// console is the state of one reader between its lines.
type console struct {
	server *Server
	by     string       // who types
	tx     *transaction // between BEGIN and COMMIT, else nil
}

// transaction collects the lines between BEGIN and COMMIT.
type transaction struct {
	ops  []record.Op
	size int // octets of their names and data: a change takes record.MaxChange
	bad  int // lines that were no command; with any, COMMIT does nothing
}

// reply is the answer to one line: text, or the result of the change at
// index change, or what late says once those before it are decided.
type reply struct {
	text   string
	change int // -1: none
	late   func() string
}

// serve answers a batch of lines and tells whether one of them was QUIT.
func (c *console) serve(ctx context.Context, batch []inputLine, out io.Writer) (quit bool) {
	if len(batch) == 0 {
		return false
	}
	view := c.server.reader()
	replies := make([]reply, 0, len(batch))
	var changes []record.Change
	for _, line := range batch {
		cmd, err := command{}, error(nil)
		if line.tooLong {
			err = fmt.Errorf("a line has more than %d octets; nothing of it was done", MaxLine)
		} else {
			cmd, err = parseLine(line.text)
		}
		if err == nil && cmd.verb == verbNone {
			continue
		}
		rep, change := c.line(cmd, err, view)
		if change != nil {
			rep.change = len(changes)
			changes = append(changes, *change)
		}
		replies = append(replies, rep)
		if quit = cmd.verb == verbQuit && err == nil; quit {
			break
		}
	}
	if view != nil {
		view.Close()
	}
	decided := c.server.decide(ctx, changes)
	for _, rep := range replies {
		text := rep.text
		switch {
		case rep.late != nil:
			text = rep.late()
		case rep.change >= 0:
			text = decided[rep.change]
		}
		if _, err := io.WriteString(out, text+"\n"); err != nil {
			return quit // Flush returns the error to ServeLines
		}
	}
	return quit
}

// line takes one command: an answer at once, or a change to propose.
func (c *console) line(cmd command, err error, view Reader) (reply, *record.Change) {
	text := func(s string) reply { return reply{text: s, change: -1} }
	if err != nil {
		if c.tx != nil {
			c.tx.bad++
		}
		return text("ERROR: " + clean(err.Error())), nil
	}
	switch cmd.verb {
	case verbAdd, verbRemove:
		ops, err := c.server.withAutoZone(cmd.op, view)
		if err != nil {
			if c.tx != nil {
				c.tx.bad++
			}
			return text("ERROR: " + clean(err.Error())), nil
		}
		if c.tx != nil {
			return text(c.tx.add(ops)), nil
		}
		return reply{change: -1}, newChange(c.by, ops)
	case verbBegin:
		if c.tx != nil {
			return text("ERROR: a transaction is open already; COMMIT or ABORT it first"), nil
		}
		c.tx = &transaction{}
		return text("OK begun"), nil
	case verbCommit, verbAbort:
		return c.end(cmd.verb == verbCommit)
	case verbStatus:
		return reply{change: -1, late: func() string { return c.server.statusLine() }}, nil
	case verbQuit:
		if c.tx != nil {
			return text(fmt.Sprintf("OK bye, dropped=%d", len(c.tx.ops))), nil
		}
		return text("OK bye"), nil
	}
	return text(help), nil
}

// add puts the ops of one line into the transaction.
func (tx *transaction) add(ops []record.Op) string {
	if len(tx.ops)+len(ops) > maxTransaction {
		tx.bad++
		return fmt.Sprintf("ERROR: a transaction takes at most %d lines", maxTransaction)
	}
	for i := range ops {
		tx.size += len(ops[i].Owner)
		for _, d := range ops[i].Data {
			tx.size += len(d)
		}
	}
	if tx.size > record.MaxChange { // COMMIT would refuse it; do not collect what nobody takes
		tx.bad++
		tx.ops = nil
		return fmt.Sprintf("ERROR: a transaction takes at most %d octets; nothing of it will be done", record.MaxChange)
	}
	tx.ops = append(tx.ops, ops...)
	return fmt.Sprintf("QUEUED ops=%d", len(tx.ops))
}

// end closes the transaction: a change to propose, or why there is none.
func (c *console) end(commit bool) (reply, *record.Change) {
	tx := c.tx
	c.tx = nil
	text := func(s string) reply { return reply{text: s, change: -1} }
	switch {
	case tx == nil:
		return text("ERROR: no transaction is open; BEGIN opens one"), nil
	case !commit:
		return text(fmt.Sprintf("OK dropped=%d", len(tx.ops))), nil
	case tx.bad > 0:
		return text(fmt.Sprintf("ERROR: %d lines of the transaction were wrong; nothing of it was done", tx.bad)), nil
	case len(tx.ops) == 0:
		return text("UNCHANGED nothing between BEGIN and COMMIT"), nil
	}
	return reply{change: -1}, newChange(c.by, tx.ops)
}

// newChange is ops under a request id of its own.
func newChange(by string, ops []record.Op) *record.Change {
	return &record.Change{ID: newRequestID(), By: by, Ops: ops}
}

// newRequestID is 128 random bits: no two changes ever share one.
func newRequestID() (id record.RequestID) {
	rand.Read(id[:]) //nolint:errcheck // crypto/rand.Read never returns an error
	return id
}

// decide proposes changes in order and gives the answer line of each.
func (s *Server) decide(ctx context.Context, changes []record.Change) []string {
	if len(changes) == 0 {
		return nil
	}
	answers := make([]string, len(changes))
	fit := make([]record.Change, 0, len(changes))
	at := make([]int, 0, len(changes))
	var scratch []byte
	for i := range changes { // one that is too large must not take the others along
		var err error
		if scratch, err = changes[i].AppendBinary(scratch[:0]); err != nil {
			answers[i] = "ERROR: " + clean(err.Error())
			continue
		}
		fit, at = append(fit, changes[i]), append(at, i)
	}
	if len(fit) == 0 {
		return answers
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	results, err := s.proposer.Propose(ctx, fit)
	for i := range fit {
		switch {
		case i < len(results) && results[i].Status != 0:
			answers[at[i]] = answerResult(results[i])
		case err != nil:
			answers[at[i]] = answerError(err)
		default:
			answers[at[i]] = answerError(fmt.Errorf("%w: the cluster gave no result", ErrUnknown))
		}
	}
	return answers
}

// statusLine is the answer to STATUS.
func (s *Server) statusLine() string {
	st := s.Status()
	var b strings.Builder
	fmt.Fprintf(&b, "OK node=%s role=%s leader=%s term=%d applied=%d checkpointed=%d lag=%d staleness=%.1fs zones=%d qps=%.0f",
		orNone(st.ID), orNone(st.Role), orNone(st.Leader), st.Term, st.Applied, st.Checkpointed, st.Lag, st.Staleness, st.Zones, st.QueriesPerSecond)
	return clean(b.String())
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
