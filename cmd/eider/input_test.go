package main

import (
	"bytes"
	"io"
	"testing"
)

// -s says nothing but what went wrong, however the answers are cut into writes.
func TestQuietWriter(t *testing.T) {
	const answers = "OK index=1 zone=a. serial=2\nREFUSED: no zone\nUNCHANGED index=2\nERROR: no verb\nNOT-FOUND index=3\nUNAVAILABLE: not done\nQUEUED ops=1\n"
	var out bytes.Buffer
	q := &quietWriter{w: &out}
	for i := 0; i < len(answers); i += 7 {
		if _, err := io.WriteString(q, answers[i:min(i+7, len(answers))]); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := out.String(), "REFUSED: no zone\nERROR: no verb\nUNAVAILABLE: not done\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
