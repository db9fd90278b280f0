package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eider-dns/eider/cluster/tokens"
	"github.com/eider-dns/eider/store/record"
)

func TestAuditFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	a, err := OpenAudit("0", path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	ctx := withCaller(t.Context(), caller{who: "token ci", role: tokens.Admin, from: "192.0.2.1:5"})
	owner := record.MustName("a.test.")
	many := make([]record.Op, auditOps+3)
	for i := range many {
		many[i] = record.Op{Kind: record.OpRemoveName, Owner: owner}
	}
	a.Changes(ctx, []record.Change{
		{By: "operator alice", Ops: []record.Op{{Kind: record.OpAdd, Owner: owner, Type: 16, Data: [][]byte{[]byte("\x06hidden")}}}},
		{Ops: []record.Op{{Kind: record.OpSetting, Type: record.SettingKeys, Data: [][]byte{[]byte("hidden")}}}},
		{By: "evil\nname", Ops: many},
	}, []record.Result{{Status: record.OK, Index: 7}, {Status: record.Refused, Index: 8, Reason: "a rule"}}, fmt.Errorf("%w: gone", ErrUnknown))
	a.Act(context.Background(), "member remove 2", 9, nil)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := a.Reopen(); err != nil {
		t.Fatal(err)
	}
	a.Act(ctx, "leadership transfer", 0, errors.New("no other node"))
	first, err := os.ReadFile(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(first)+string(second)), "\n")
	want := []string{
		`"who":"operator alice","from":"192.0.2.1:5","what":"ADD a.test. TXT","index":7,"outcome":"OK"`,
		`"who":"token ci","from":"192.0.2.1:5","what":"SETTING 0x1000","index":8,"outcome":"REFUSED","reason":"a rule"`,
		`and 3 more","outcome":"UNKNOWN"`,
		`"who":"node 0","what":"member remove 2","index":9,"outcome":"OK"`,
		`"what":"leadership transfer","outcome":"FAILED","reason":"no other node"`,
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for i, line := range lines {
		var any map[string]any
		if err := json.Unmarshal([]byte(line), &any); err != nil || !strings.Contains(line, want[i]) || strings.Contains(line, "hidden") {
			t.Errorf("got  %s\nwant %s (%v)", line, want[i], err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// Without a file records are for the debug level, keys and members for everyone.
func TestAuditInTheLog(t *testing.T) {
	var out bytes.Buffer
	a, err := OpenAudit("0", "", slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ok := []record.Result{{Status: record.OK, Index: 1}}
	a.Changes(t.Context(), []record.Change{{Ops: []record.Op{{Kind: record.OpAdd, Owner: record.MustName("a.test."), Type: 1}}}}, ok, nil)
	if out.Len() > 0 {
		t.Errorf("a record at the info level: %s", &out)
	}
	a.Changes(t.Context(), []record.Change{{Ops: []record.Op{{Kind: record.OpSetting, Type: 3}}}}, ok, nil)
	if !strings.Contains(out.String(), `msg=audit who="node 0" what="SETTING 0x3" index=1 outcome=OK`) {
		t.Errorf("got %s", &out)
	}
}
