package store_test

import (
	"bytes"
	"testing"

	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

const testSetting record.Setting = 7

func set(value ...[]byte) record.Op {
	return record.Op{Kind: record.OpSetting, Type: testSetting, Data: value}
}

func settingIs(value ...[]byte) []record.Precondition {
	return []record.Precondition{{Kind: record.PreSettingIs, Type: testSetting, Data: value}}
}

func TestSettings(t *testing.T) {
	a, b := []byte("a"), []byte("b")
	runOps(t, []opsRow{
		{rule: "a first value", ops: []record.Op{set(a)}, status: record.OK},
		{rule: "another value", before: []record.Op{set(a)}, ops: []record.Op{set(b)}, status: record.OK},
		{rule: "the same value", before: []record.Op{set(a)}, ops: []record.Op{set(a)}, status: record.Unchanged},
		{rule: "taken away", before: []record.Op{set(a)}, ops: []record.Op{set()}, status: record.OK},
		{rule: "nothing to take away", ops: []record.Op{set()}, status: record.NotFound},
		{rule: "no value yet, as asked for", pre: settingIs(), ops: []record.Op{set(a)}, status: record.OK},
		{rule: "a value already", before: []record.Op{set(a)}, pre: settingIs(), ops: []record.Op{set(b)}, status: record.Refused, cause: record.CauseSetting},
		{rule: "the value asked for", before: []record.Op{set(a)}, pre: settingIs(a), ops: []record.Op{set(b)}, status: record.OK},
		{rule: "another value than asked for", before: []record.Op{set(b)}, pre: settingIs(a), ops: []record.Op{set(a)}, status: record.Refused, cause: record.CauseSetting},
		{rule: "no value where one was asked for", pre: settingIs(a), ops: []record.Op{set(b)}, status: record.Refused, cause: record.CauseSetting},
		{rule: "two values", ops: []record.Op{set(a, b)}, status: record.Refused, cause: record.CauseFormat},
		{rule: "an empty value", ops: []record.Op{set([]byte{})}, status: record.Refused, cause: record.CauseFormat},
		{rule: "the longest value", ops: []record.Op{set(make([]byte, record.MaxSetting))}, status: record.OK},
		{rule: "too long a value", ops: []record.Op{set(make([]byte, record.MaxSetting+1))}, status: record.Refused, cause: record.CauseFormat},
		{rule: "a precondition with two values", pre: settingIs(a, b), ops: []record.Op{set(a)}, status: record.Refused, cause: record.CauseFormat},
		{rule: "an owner", ops: []record.Op{{Kind: record.OpSetting, Owner: record.Root, Type: testSetting, Data: [][]byte{a}}}, status: record.Refused, cause: record.CauseFormat},
		{rule: "undone with the rest of a refused change", ops: []record.Op{set(a), {Kind: record.OpRemoveName, Owner: name("else.where.")}}, status: record.Refused, cause: record.CauseNoZone},
	})
}

// A setting is there in the file, after a start, and in a copy of the file.
func TestSettingsAreDurable(t *testing.T) {
	s := storetest.Open(t)
	s.LoadText(exampleZone)
	s.Must(set([]byte("kept")))
	check := func(v *store.View, where string) {
		t.Helper()
		defer v.Close()
		if got := v.Setting(testSetting); !bytes.Equal(got, []byte("kept")) {
			t.Errorf("%s: got %q", where, got)
		}
		if got := v.Setting(testSetting + 1); got != nil {
			t.Errorf("%s: a setting that was never made is %q", where, got)
		}
		if _, ok := v.ZoneOf(name("a.test.")); ok {
			t.Errorf("%s: a zone was found where there is none", where)
		}
	}
	check(s.View(), "memory")
	if err := s.Fold(store.Witness{}); err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/copy"
	snapshotTo(t, s.Store, path)
	file, err := store.Open(path, store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	check(file.View(), "the file")
	if err := file.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(file.View(), "memory after a start")
	if digest(file) != digest(s.Store) {
		t.Error("the digests differ")
	}
}
