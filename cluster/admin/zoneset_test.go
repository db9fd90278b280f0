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
		{"twice", []string{"serial=unixtime", "serial="}, "twice", 0},
	} {
		ops, err := ParseZoneSettings(apex, tt.words)
		if err == nil && tt.want != "" || err != nil && (tt.want == "" || !strings.Contains(err.Error(), tt.want)) || len(ops) != tt.ops {
			t.Errorf("%s: got %v, %v, want %q", tt.rule, ops, err, tt.want)
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
