package admin

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/eider-dns/eider/store/record"
)

func TestParseZoneSettings(t *testing.T) {
	apex := record.MustName("z.test")
	for _, tt := range []struct {
		rule  string
		words []string
		want  string // of the error
		ops   int
	}{
		{"one", []string{"serial=unixtime"}, "", 1},
		{"taken away", []string{"serial="}, "", 1},
		{"no value", []string{"serial"}, "KEY=VALUE", 0},
		{"unknown key", []string{"colour=blue"}, "there are serial", 0},
		{"bad value", []string{"serial=lunar"}, "no serial policy", 0},
		{"a journal", []string{"journal=count:500,age:30d,bytes:4M"}, "", 1},
		{"a journal: unknown bound", []string{"journal=records:5"}, "no bound of a journal", 0},
		{"a journal: no number", []string{"journal=count:"}, "no bound", 0},
		{"a journal: nothing kept", []string{"journal=count:0"}, "no bound", 0},
		{"a journal: twice", []string{"journal=count:1,count:2"}, "twice", 0},
		{"a journal: too many", []string{"journal=count:100001"}, "at most 100000", 0},
		{"a journal: too large", []string{"journal=bytes:65M"}, "at most", 0},
		{"a journal: too old", []string{"journal=age:4000d"}, "at most", 0},
		{"a journal: negative age", []string{"journal=age:-5h"}, "no bound", 0},
		{"twice", []string{"serial=unixtime", "serial="}, "twice", 0},
	} {
		ops, err := ParseZoneSettings(apex, tt.words)
		if err == nil && tt.want != "" || err != nil && (tt.want == "" || !strings.Contains(err.Error(), tt.want)) || len(ops) != tt.ops {
			t.Errorf("%s: got %v, %v, want %q", tt.rule, ops, err, tt.want)
		}
	}
}

// What is shown can be set again and is the same value.
func TestJournalBoundsText(t *testing.T) {
	for text, shown := range map[string]string{
		"count:500,age:30d,bytes:4M": "count:500,age:30d,bytes:4M",
		"bytes:65536":                "bytes:64k",
		"age:36h,bytes:100":          "age:36h0m0s,bytes:100",
		defaultJournal:               "count:1000,bytes:1M",
	} {
		value, err := parseJournal(text)
		if err != nil || formatJournal(value) != shown {
			t.Errorf("%s: shown as %s, %v", text, formatJournal(value), err)
		}
		if again, err := parseJournal(shown); err != nil || string(again) != string(value) {
			t.Errorf("%s: read back as %x, %v", shown, again, err)
		}
	}
}

func TestZoneSettingsByHTTP(t *testing.T) {
	_, client := listening(t, newFake("z.test"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	show := func() string {
		t.Helper()
		z, err := client.Zone(ctx, record.MustName("Z.test"))
		if err != nil || z.Zone != "z.test." || z.Settings[0].Key != "serial" {
			t.Fatalf("got %+v, %v", z, err)
		}
		return z.Settings[0].Value
	}
	post := func(zone, body string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, client.base+"/v1/zone?zone="+zone, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if got := show(); got != "increment" {
		t.Errorf("without a setting: %q", got)
	}
	for _, tt := range []struct {
		rule, zone, body string
		status           int
		shows            string
	}{
		{"set", "z.test", `{"serial":"unixtime"}`, 200, "unixtime"},
		{"unknown key", "z.test", `{"serial":"dateserial","colour":"blue"}`, 400, "unixtime"},
		{"bad value", "z.test", `{"serial":"lunar"}`, 400, "unixtime"},
		{"nothing", "z.test", `{}`, 400, "unixtime"},
		{"no JSON", "z.test", `serial`, 400, "unixtime"},
		{"no such zone", "y.test", `{"serial":"unixtime"}`, 409, "unixtime"},
		{"no zone", "", `{"serial":"unixtime"}`, 400, "unixtime"},
		{"taken away", "z.test", `{"serial":""}`, 200, "increment"},
	} {
		if got := post(tt.zone, tt.body); got != tt.status {
			t.Errorf("%s: status %d, want %d", tt.rule, got, tt.status)
		}
		if got := show(); got != tt.shows {
			t.Errorf("%s: shows %q, want %q", tt.rule, got, tt.shows)
		}
	}
	if _, err := client.Zone(ctx, record.MustName("y.test")); err == nil || !strings.Contains(err.Error(), "no zone y.test.") {
		t.Errorf("a zone that is not there: %v", err)
	}
}
