package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRepeatedWarningsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(newQuietRepeats(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))).With(slog.String("node", "0"))
		raft := log.With(slog.String("part", "raft"))
		for i := range 1200 { // ten minutes of a dead node, as the library logs it
			raft.Warn("failed to heartbeat to", slog.String("peer", "127.0.0.1:4322"), slog.Any("err", fmt.Errorf("attempt %d", i)))
			time.Sleep(500 * time.Millisecond)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 10 {
			t.Errorf("%d lines in ten minutes, want 10", len(lines))
		}
		if !strings.Contains(lines[1], "repeated=119") {
			t.Errorf("the second line does not count: %s", lines[1])
		}
		out.Reset()
		raft.Warn("failed to heartbeat to", slog.String("peer", "127.0.0.1:4323"), slog.Any("err", errors.New("x")))
		log.Warn("zone file", slog.String("what", "a"))
		log.Warn("zone file", slog.String("what", "b"))
		for range 3 {
			log.Info("said each time")
		}
		if n := strings.Count(out.String(), "\n"); n != 6 {
			t.Errorf("%d lines of things that differ, want 6:\n%s", n, out.String())
		}
	})
}

// A stranger cannot fill the memory with warnings that all differ.
func TestRepeatsAreBounded(t *testing.T) {
	var out bytes.Buffer
	q := newQuietRepeats(slog.NewTextHandler(&out, nil))
	log := slog.New(q)
	for i := range 3 * maxRepeats {
		log.Warn("odd", slog.Int("number", i))
	}
	if n := len(q.seen.last); n > maxRepeats {
		t.Errorf("%d are remembered", n)
	}
	if n := strings.Count(out.String(), "\n"); n != 3*maxRepeats {
		t.Errorf("%d lines, want %d: none of them came before", n, 3*maxRepeats)
	}
}
