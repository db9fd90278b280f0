package record

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

var fullChange = Change{
	ID: RequestID{1, 2, 3},
	Pre: []Precondition{
		{Kind: PreRRsetEquals, Owner: MustName("www.example.org"), Type: TypeA, Data: [][]byte{{192, 0, 2, 1}, {}}},
		{Kind: PreSerialIs, Zone: MustName("example.org"), Owner: MustName("example.org"), Serial: 7},
		{Kind: PreSettingIs, Type: SettingCookies, Data: [][]byte{{1}}},
	},
	Ops: []Op{
		{Kind: OpAdd, Flags: OpKeepTTL, Zone: MustName("Example.org"), Owner: MustName("WWW.example.org"), Type: TypeA, TTL: 300, Data: [][]byte{{192, 0, 2, 1}}},
		{Kind: OpLoadCommit, Load: LoadID{9}, TTL: 12},
		{Kind: OpSetting, Type: SettingCookies, Data: [][]byte{{1, 2}}},
	},
}

func TestChangeRoundTrip(t *testing.T) {
	b, err := fullChange.AppendBinary([]byte("kept"))
	if err != nil || string(b[:4]) != "kept" {
		t.Fatal(err)
	}
	got, err := DecodeChange(b[4:])
	if err != nil || !reflect.DeepEqual(got, fullChange) {
		t.Fatalf("got %+v, %v", got, err)
	}
	for n := range len(b) - 4 {
		if _, err := DecodeChange(b[4 : 4+n]); !errors.Is(err, ErrEncoding) {
			t.Errorf("cut to %d octets: %v", n, err)
		}
	}
	if _, err := DecodeChange(append(b[4:], 0)); !errors.Is(err, ErrEncoding) {
		t.Errorf("an octet too many: %v", err)
	}
}

// Each change has one version, and what older builds wrote is read for good.
func TestChangeVersions(t *testing.T) {
	setting := Op{Kind: OpZoneSetting, Owner: MustName("example.org"), Type: ZoneSerialPolicy, Data: [][]byte{[]byte("unixtime")}}
	for _, tt := range []struct {
		rule   string
		change Change
		level  uint16
	}{
		{"what the first builds wrote", fullChange, 1},
		{"an author", Change{By: "key ddns", Ops: fullChange.Ops}, 2},
		{"a setting of a zone", Change{Ops: []Op{setting}}, 2},
		{"a precondition about one", Change{Pre: []Precondition{{Kind: PreZoneSettingIs, Owner: Root, Type: ZoneNotify}}}, 2},
		{"the longest author", Change{By: strings.Repeat("x", MaxBy)}, 2},
	} {
		b, err := tt.change.AppendBinary(nil)
		if err != nil || Level(b) != tt.level {
			t.Errorf("%s: level %d, %v, want %d", tt.rule, Level(b), err, tt.level)
		}
		if got, err := DecodeChange(b); err != nil || !reflect.DeepEqual(got, tt.change) {
			t.Errorf("%s: got %+v, %v", tt.rule, got, err)
		}
	}
	b, _ := fullChange.AppendBinary(nil)
	newer := append([]byte{changeBy}, b[1:1+len(RequestID{})]...)
	newer = append(append(newer, 0), b[1+len(RequestID{}):]...)
	if _, err := DecodeChange(newer); !errors.Is(err, ErrEncoding) {
		t.Errorf("a second encoding of one change was read: %v", err)
	}
	for _, by := range []string{"a\nb", strings.Repeat("x", MaxBy+1), "\xff"} {
		if _, err := (&Change{By: by}).AppendBinary(nil); err == nil {
			t.Errorf("the author %q was encoded", by)
		}
		if _, err := (&Change{By: Author(by)}).AppendBinary(nil); err != nil {
			t.Errorf("the author %q is not made fit: %v", by, err)
		}
	}
}

func TestChangeLimits(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		change Change
	}{
		{"over MaxChange", Change{Ops: []Op{{Kind: OpAdd, Data: [][]byte{make([]byte, 65535), make([]byte, 65535), make([]byte, 65535), make([]byte, 65535), make([]byte, 65535)}}}}},
		{"over MaxOps", Change{Ops: make([]Op, MaxOps+1)}},
		{"over MaxRecords", Change{Ops: []Op{{Kind: OpAdd, Data: make([][]byte, MaxRecords+1)}}}},
		{"over MaxRData", Change{Ops: []Op{{Kind: OpAdd, Data: [][]byte{make([]byte, MaxRData+1)}}}}},
	} {
		if _, err := tt.change.AppendBinary(nil); err == nil {
			t.Errorf("%s: encoded", tt.rule)
		}
	}
	if _, err := DecodeChange(make([]byte, MaxChange+MaxBy+2)); !errors.Is(err, ErrEncoding) {
		t.Errorf("decode over MaxChange: %v", err)
	}
}

func TestEntryRoundTrip(t *testing.T) {
	e := Entry{Cluster: [16]byte{1}, Time: -5, Level: 3, Changes: [][]byte{{1, 2}, {}, []byte("three")}}
	b, err := e.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeEntry(b)
	if err != nil || got.Cluster != e.Cluster || got.Time != e.Time || got.Level != e.Level || len(got.Changes) != 3 || string(got.Changes[2]) != "three" {
		t.Fatalf("got %+v, %v", got, err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 0x10
		if _, err := DecodeEntry(bad); !errors.Is(err, ErrEncoding) {
			t.Errorf("a flipped bit in octet %d went unseen: %v", i, err)
		}
	}
}

func TestResultRoundTrip(t *testing.T) {
	res := Result{Status: Refused, Cause: CauseSerial, Index: 77, Zones: []ZoneSerial{{MustName("Example.org"), 5}}, Reason: "why"}
	b, _ := res.AppendBinary(nil)
	if got, err := DecodeResult(b); err != nil || !reflect.DeepEqual(got, res) {
		t.Fatalf("got %+v, %v", got, err)
	}
	long := Result{Status: OK, Reason: strings.Repeat("x", MaxReason+1), Zones: make([]ZoneSerial, MaxResultZones+1)}
	for i := range long.Zones {
		long.Zones[i].Zone = Root
	}
	b, _ = long.AppendBinary(nil)
	if got, err := DecodeResult(b); err != nil || len(got.Reason) != MaxReason || len(got.Zones) != MaxResultZones {
		t.Fatalf("what is over the limits is not cut: %v", err)
	}
	many := append([]byte{resultVersion, byte(OK), 0, 0, 0, 0, 0, 0, 0, 0, 0, MaxResultZones + 1}, bytes.Repeat([]byte{1, 0, 0, 0, 0, 0}, MaxResultZones+1)...)
	if _, err := DecodeResult(append(many, 0, 0)); !errors.Is(err, ErrEncoding) {
		t.Errorf("more zones than encode again were decoded: %v", err)
	}
}

// What the decoder accepts must encode to the same bytes, or two nodes could
// keep two logs of one change.
func FuzzDecodeChange(f *testing.F) {
	b, _ := fullChange.AppendBinary(nil)
	f.Add(b)
	by := fullChange
	by.By = "console"
	b, _ = by.AppendBinary(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := DecodeChange(data)
		if err != nil {
			return // refused, not crashed
		}
		if again, err := c.AppendBinary(nil); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("decoded %x, encoded %x, %v", data, again, err)
		}
	})
}

func FuzzDecodeEntry(f *testing.F) {
	b, _ := (&Entry{Cluster: [16]byte{1}, Changes: [][]byte{{1}, {2, 3}}}).AppendBinary(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeEntry(data)
		if err != nil {
			return
		}
		if again, err := e.AppendBinary(nil); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("decoded %x, encoded %x, %v", data, again, err)
		}
	})
}

func FuzzDecodeResult(f *testing.F) {
	b, _ := (&Result{Status: OK, Zones: []ZoneSerial{{Root, 5}}, Reason: "why"}).AppendBinary(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		res, err := DecodeResult(data)
		if err != nil {
			return
		}
		if again, err := res.AppendBinary(nil); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("decoded %x, encoded %x, %v", data, again, err)
		}
	})
}
