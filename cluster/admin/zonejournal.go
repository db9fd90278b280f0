package admin

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
)

// journalHelp says the form of the bounds of a journal.
const journalHelp = "how much history is kept: count:N, age:DURATION (48h, 30d), bytes:N (64k, 4M), joined by commas"

// defaultJournal is what holds for a zone that sets no bounds.
var defaultJournal = formatJournal(record.JournalBounds{Count: store.MaxZoneDiffs, Bytes: store.MaxZoneJournal}.Append(nil))

func parseJournal(text string) ([]byte, error) {
	var b record.JournalBounds
	for part := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(part, ":")
		var at *uint32
		var n uint64
		var err error
		switch key {
		case "count":
			at = &b.Count
			n, err = strconv.ParseUint(value, 10, 32)
		case "age":
			at = &b.Age
			n, err = parseAge(value)
		case "bytes":
			at = &b.Bytes
			n, err = parseBytes(value)
		default:
			return nil, fmt.Errorf("%q is no bound of a journal; it is %s", shorten(part), journalHelp)
		}
		switch {
		case err != nil || n == 0 || n > 1<<32-1:
			return nil, fmt.Errorf("%s: %q is no bound; for example count:500,age:30d,bytes:4M", key, shorten(value))
		case *at != 0:
			return nil, fmt.Errorf("%s is given twice", key)
		}
		*at = uint32(n)
	}
	if err := b.Check(); err != nil {
		return nil, err
	}
	return b.Append(nil), nil
}

// day is a unit people keep history by, which time.Duration has none of.
const day = 24 * time.Hour

func parseAge(text string) (uint64, error) {
	if n, ok := strings.CutSuffix(text, "d"); ok {
		days, err := strconv.ParseUint(n, 10, 16)
		return days * uint64(day/time.Second), err
	}
	d, err := time.ParseDuration(text)
	return uint64(max(d, 0) / time.Second), err
}

func parseBytes(text string) (uint64, error) {
	unit := uint64(1)
	switch {
	case strings.HasSuffix(text, "k"):
		unit = 1 << 10
	case strings.HasSuffix(text, "M"):
		unit = 1 << 20
	}
	n, err := strconv.ParseUint(strings.TrimRight(text, "kM"), 10, 32)
	return n * unit, err
}

func formatJournal(value []byte) string {
	b, err := record.DecodeJournalBounds(value)
	if err != nil {
		return err.Error()
	}
	var parts []string
	if b.Count > 0 {
		parts = append(parts, fmt.Sprintf("count:%d", b.Count))
	}
	if b.Age > 0 {
		age := (time.Duration(b.Age) * time.Second).String()
		if d := time.Duration(b.Age) * time.Second; d%day == 0 {
			age = fmt.Sprintf("%dd", d/day)
		}
		parts = append(parts, "age:"+age)
	}
	if b.Bytes > 0 {
		parts = append(parts, "bytes:"+formatBytes(b.Bytes))
	}
	return strings.Join(parts, ",")
}

func formatBytes(n uint32) string {
	switch {
	case n%(1<<20) == 0:
		return fmt.Sprintf("%dM", n>>20)
	case n%(1<<10) == 0:
		return fmt.Sprintf("%dk", n>>10)
	}
	return strconv.FormatUint(uint64(n), 10)
}
