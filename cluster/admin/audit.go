package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

const (
	// auditOps is how many ops of a change are named; of the rest only how many there are.
	auditOps = 8
	// auditComplain is how often a file that cannot be written is complained about.
	auditComplain = time.Minute
	auditMessage  = "audit"
)

// Audit writes down who had what done through this node: one line for each change
// and each act on members, with who, from where, what, the index and the outcome.
// Values are never in it, so no secret is. Its methods may be called from any goroutine.
//
// With a file all of it goes there, as JSON. Without one, changes of records go to
// the log at the debug level, and the rest at the info level.
type Audit struct {
	node  string
	log   *slog.Logger // of the node
	lines *slog.Logger // of the file, nil without one

	path       string
	mu         sync.Mutex
	file       *os.File
	complained time.Time
}

// OpenAudit opens the file at path for appending; an empty path is none.
func OpenAudit(node, path string, log *slog.Logger) (*Audit, error) {
	a := &Audit{node: node, log: log, path: path}
	if path == "" {
		return a, nil
	}
	if err := a.Reopen(); err != nil {
		return nil, err
	}
	a.lines = slog.New(slog.NewJSONHandler(a, nil))
	return a, nil
}

// Reopen opens the file anew, for those who moved it away (SIGHUP). On an error the old one stays in use.
func (a *Audit) Reopen() error {
	if a.path == "" {
		return nil
	}
	f, err := os.OpenFile(a.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("audit_file: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file != nil {
		a.file.Close()
	}
	a.file = f
	return nil
}

// Close closes the file; what comes later is lost.
func (a *Audit) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return nil
	}
	return a.file.Close()
}

// Write is for the handler of lines. A full disk stops no change, but is told of.
func (a *Audit) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, err := a.file.Write(p)
	if err != nil && !errors.Is(err, os.ErrClosed) && time.Since(a.complained) > auditComplain {
		a.complained = time.Now()
		a.log.Error("audit not written", slog.Any("err", err))
	}
	return n, err
}

// Changes writes a line for each change proposed through this node.
func (a *Audit) Changes(ctx context.Context, changes []record.Change, results []record.Result, err error) {
	for i := range changes {
		level := slog.LevelDebug
		for _, op := range changes[i].Ops {
			if op.Kind == record.OpSetting {
				level = slog.LevelInfo
			}
		}
		to := a.to(ctx, &level)
		if to == nil {
			continue
		}
		attrs := a.asker(ctx, changes[i].By)
		attrs = append(attrs, slog.String("what", opsText(changes[i].Ops)))
		switch {
		case i < len(results) && results[i].Status != 0:
			r := results[i]
			attrs = append(attrs, slog.Uint64("index", r.Index), slog.String("outcome", r.Status.String()))
			if r.Reason != "" {
				attrs = append(attrs, slog.String("reason", clean(r.Reason)))
			}
		default:
			attrs = append(attrs, outcomeAttrs(err)...)
		}
		to.LogAttrs(ctx, level, auditMessage, attrs...)
	}
}

// Act writes a line for something done that is no change.
func (a *Audit) Act(ctx context.Context, what string, index uint64, err error) {
	level := slog.LevelInfo
	to := a.to(ctx, &level)
	if to == nil {
		return
	}
	attrs := append(a.asker(ctx, ""), slog.String("what", clean(what)))
	if err == nil {
		attrs = append(attrs, slog.Uint64("index", index), slog.String("outcome", record.OK.String()))
	} else {
		attrs = append(attrs, outcomeAttrs(err)...)
	}
	to.LogAttrs(ctx, level, auditMessage, attrs...)
}

// to is where a line goes, nil if nowhere.
func (a *Audit) to(ctx context.Context, level *slog.Level) *slog.Logger {
	switch {
	case a.lines != nil:
		*level = slog.LevelInfo
		return a.lines
	case a.log.Enabled(ctx, *level):
		return a.log
	}
	return nil
}

// asker is who asked: as the change says, else as the request does, else the node by itself.
func (a *Audit) asker(ctx context.Context, by string) []slog.Attr {
	c := callerOf(ctx)
	if by == "" {
		by = c.who
	}
	if by == "" {
		by = "node " + a.node
	}
	attrs := []slog.Attr{slog.String("who", clean(by))}
	if c.from != "" {
		attrs = append(attrs, slog.String("from", c.from))
	}
	return attrs
}

func outcomeAttrs(err error) []slog.Attr {
	if err == nil {
		return []slog.Attr{slog.String("outcome", "no result")}
	}
	word := "FAILED"
	switch outcomeOf(err) {
	case notDone:
		word = "NOT-DONE"
	case unknown:
		word = "UNKNOWN"
	}
	return []slog.Attr{slog.String("outcome", word), slog.String("reason", clean(err.Error()))}
}

// opsText names the ops of a change and what they are about, never a value.
func opsText(ops []record.Op) string {
	var b strings.Builder
	for i, op := range ops {
		if i == auditOps {
			fmt.Fprintf(&b, "; and %d more", len(ops)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(op.Kind.String())
		switch op.Kind {
		case record.OpSetting:
			fmt.Fprintf(&b, " %#x", uint16(op.Type))
		case record.OpZoneSetting:
			fmt.Fprintf(&b, " %s %d", op.Owner, uint16(op.Type))
		case record.OpAdd, record.OpRemove, record.OpRemoveRRset, record.OpReplaceRRset, record.OpLoadAdd:
			fmt.Fprintf(&b, " %s %s", op.Owner, zonefile.TypeString(op.Type))
		default:
			if op.Owner != "" {
				fmt.Fprintf(&b, " %s", op.Owner)
			}
		}
	}
	return b.String()
}
