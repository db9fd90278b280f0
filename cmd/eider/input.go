package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
)

// serveInput takes lines from standard input until its end, or the node's.
func (n *node) serveInput(ctx context.Context, in io.Reader, out io.Writer) {
	if n.settings.silent {
		out = &quietWriter{w: out}
	}
	if err := n.admin.ServeLines(ctx, in, out); err != nil && ctx.Err() == nil {
		n.log.Warn("standard input ended", slog.Any("err", err))
		return
	}
	n.log.Debug("standard input ended")
}

// hushed are the answers -s leaves out; what is left is what went wrong.
var hushed = [][]byte{[]byte("OK"), []byte("UNCHANGED"), []byte("NOT-FOUND"), []byte("QUEUED")}

// quietWriter hushes the answers to lines that were done, as -s asks.
type quietWriter struct {
	w    io.Writer
	rest []byte // a line not yet whole
}

func (q *quietWriter) Write(p []byte) (int, error) {
	q.rest = append(q.rest, p...)
	for {
		i := bytes.IndexByte(q.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		line := q.rest[:i+1]
		if !slices.ContainsFunc(hushed, func(h []byte) bool { return bytes.HasPrefix(line, h) }) {
			if _, err := q.w.Write(line); err != nil {
				return 0, err
			}
		}
		q.rest = q.rest[i+1:]
	}
}
