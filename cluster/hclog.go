package cluster

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"time"

	"github.com/hashicorp/go-hclog"
)

// raftLog brings Raft's own log lines into slog. Its info lines are debug here,
// since what of them matters to an operator this package says itself, and its errors are warnings: the node goes on.
type raftLog struct {
	hclog.Logger // a null logger, for what is not overridden
	log          *slog.Logger
	args         []any
}

func newRaftLog(l *slog.Logger) hclog.Logger {
	return &raftLog{Logger: hclog.NewNullLogger(), log: l.With(slog.String("part", "raft"))}
}

func (l *raftLog) Log(level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case hclog.Warn, hclog.Error:
		to = slog.LevelWarn
	case hclog.Trace, hclog.Off, hclog.NoLevel:
		return
	}
	ctx := context.Background()
	if !l.log.Enabled(ctx, to) {
		return
	}
	args = append(l.args[:len(l.args):len(l.args)], args...)
	attrs := make([]slog.Attr, 0, len(args)/2)
	for i := 0; i+1 < len(args); i += 2 {
		key, ok := args[i].(string)
		if !ok {
			key = fmt.Sprint(args[i])
		}
		if key == "error" {
			key = "err"
		}
		attrs = append(attrs, attr(key, args[i+1]))
	}
	l.log.LogAttrs(ctx, to, msg, attrs...) //nolint:sloglint // the message is the library's
}

func attr(key string, v any) slog.Attr {
	switch v := v.(type) {
	case hclog.Format:
		if len(v) > 0 {
			if f, ok := v[0].(string); ok {
				return slog.String(key, fmt.Sprintf(f, v[1:]...))
			}
		}
	case string:
		return slog.String(key, v)
	case time.Duration:
		return slog.Duration(key, v)
	case error:
		return slog.String(key, v.Error())
	case fmt.Stringer:
		return slog.String(key, v.String())
	}
	return slog.Any(key, v)
}

func (l *raftLog) Trace(string, ...any)           {}
func (l *raftLog) Debug(msg string, args ...any)  { l.Log(hclog.Debug, msg, args...) }
func (l *raftLog) Info(msg string, args ...any)   { l.Log(hclog.Info, msg, args...) }
func (l *raftLog) Warn(msg string, args ...any)   { l.Log(hclog.Warn, msg, args...) }
func (l *raftLog) Error(msg string, args ...any)  { l.Log(hclog.Error, msg, args...) }
func (l *raftLog) Named(string) hclog.Logger      { return l }
func (l *raftLog) ResetNamed(string) hclog.Logger { return l }
func (l *raftLog) GetLevel() hclog.Level          { return hclog.Debug }
func (l *raftLog) ImpliedArgs() []any             { return l.args }
func (l *raftLog) IsDebug() bool                  { return l.log.Enabled(context.Background(), slog.LevelDebug) }
func (l *raftLog) IsInfo() bool                   { return l.IsDebug() }
func (l *raftLog) IsWarn() bool                   { return true }
func (l *raftLog) IsError() bool                  { return true }
func (l *raftLog) With(args ...any) hclog.Logger {
	return &raftLog{Logger: l.Logger, log: l.log, args: append(l.args[:len(l.args):len(l.args)], args...)}
}

func (l *raftLog) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(nil), "", 0)
}

func (l *raftLog) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return rawLog{l} }

type rawLog struct{ l *raftLog }

func (w rawLog) Write(b []byte) (int, error) {
	w.l.Info(string(b))
	return len(b), nil
}
