package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

type fixture struct {
	*Editor
	store *storetest.Store
	mu    sync.Mutex
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{store: storetest.Open(t)}
	path := filepath.Join(t.TempDir(), "secret.key")
	if err := Init(path); err != nil {
		t.Fatal(err)
	}
	f.Editor = &Editor{
		Secret: NewSecret(path), View: func() View { return f.store.View() },
		Propose: func(_ context.Context, c []record.Change) ([]record.Result, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.store.Apply(c...), nil
		},
	}
	return f
}

func testKey(name string) *tsig.Key {
	return &tsig.Key{Name: record.MustName(name), Algorithm: tsig.SHA256, MinMAC: 16, Secret: secret}
}

func (f *fixture) snapshot(c *Cache) *Snapshot {
	v := f.store.View()
	defer v.Close()
	return c.At(v)
}

func TestKeys(t *testing.T) {
	f := newFixture(t)
	cache := NewCache(f.Secret)
	if k, _ := f.snapshot(cache).Key("\x01k\x00"); k != nil {
		t.Error("a key before there is one")
	}
	if _, err := f.AddKey(t.Context(), testKey("k.")); err != nil {
		t.Fatal(err)
	}
	s := f.snapshot(cache)
	k, closed := s.Key(record.MustName("k."))
	if k == nil || closed || string(k.Secret) != string(secret) || k.MinMAC != 16 || k.Algorithm != tsig.SHA256 {
		t.Fatalf("got %v, %v", k, closed)
	}
	if f.snapshot(cache) != s {
		t.Error("another snapshot although nothing changed")
	}
	if _, err := f.AddKey(t.Context(), testKey("K.")); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("the same name again: %v", err)
	}
	rule := Rule{Zone: record.MustName("example.org."), Key: record.MustName("k."), Allow: Update}
	if _, _, err := f.AddRule(t.Context(), rule); err != nil {
		t.Fatal(err)
	}
	if _, err := f.RemoveKey(t.Context(), record.MustName("k.")); err == nil || !strings.Contains(err.Error(), "acl remove 1") {
		t.Errorf("a key that a rule names: %v", err)
	}
	if _, err := f.RemoveRule(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if _, err := f.RemoveKey(t.Context(), record.MustName("K.")); err != nil {
		t.Error(err)
	}
	var missing *NotFoundError
	if _, err := f.RemoveKey(t.Context(), record.MustName("k.")); !errors.As(err, &missing) {
		t.Errorf("a key that is gone: %v", err)
	}
	if _, err := f.RemoveRule(t.Context(), 1); !errors.As(err, &missing) {
		t.Errorf("a rule that is gone: %v", err)
	}
	if _, _, err := f.AddRule(t.Context(), rule); !errors.As(err, &missing) {
		t.Errorf("a rule of a key that is gone: %v", err)
	}
	if k, _ := f.snapshot(cache).Key(record.MustName("k.")); k != nil {
		t.Error("a key after it was removed")
	}
}

// What the store holds gives no secret away, and opens with the one secret only.
func TestSeal(t *testing.T) {
	f := newFixture(t)
	if _, err := f.AddKey(t.Context(), testKey("k.")); err != nil {
		t.Fatal(err)
	}
	v := f.store.View()
	defer v.Close()
	value := string(v.Setting(record.SettingKeys))
	if strings.Contains(value, string(secret)) || !strings.Contains(value, "hmac-sha256-128") {
		t.Errorf("the store holds %s", value)
	}
	sealed, _ := readKey(v, 0)
	for what, spoil := range map[string]func(*sealedKey){
		"name":      func(k *sealedKey) { k.Name = "j." },
		"algorithm": func(k *sealedKey) { k.Algorithm = "hmac-sha256" },
		"seal":      func(k *sealedKey) { k.Sealed = "AAAA" + k.Sealed[4:] },
		"length":    func(k *sealedKey) { k.Sealed = k.Sealed[:8] },
	} {
		k := sealed
		spoil(&k)
		if _, err := f.Secret.open(k); err == nil {
			t.Errorf("it opens with another %s", what)
		}
	}
	other := newFixture(t)
	stranger := NewCache(other.Secret)
	if k, closed := f.snapshot(stranger).Key(record.MustName("k.")); k != nil || !closed {
		t.Errorf("with another secret: %v, %v", k, closed)
	}
	f.Editor.Secret = other.Secret
	if _, err := f.AddKey(t.Context(), testKey("j.")); err == nil || !strings.Contains(err.Error(), "another secret") {
		t.Errorf("a key sealed with another secret than the others: %v", err)
	}
}

func TestSecretFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	digits := strings.Repeat("0f", secretSize)
	for what, path := range map[string]string{
		"no path": "", "no file": filepath.Join(dir, "none"), "too short": write("short", digits[2:], 0o600),
		"no digits": write("text", strings.Repeat("xy", secretSize), 0o600), "others may read it": write("open", digits, 0o644),
	} {
		if _, err := NewSecret(path).read(); !errors.Is(err, ErrNoSecret) || strings.Contains(err.Error(), "0f0f") {
			t.Errorf("%s: %v", what, err)
		}
	}
	good := write("good", digits+"\n", 0o600)
	if _, err := NewSecret(good).read(); err != nil {
		t.Error(err)
	}
	if err := Init(good); err == nil {
		t.Error("a secret was overwritten")
	}
	late := NewSecret(filepath.Join(dir, "late"))
	if _, err := late.read(); err == nil {
		t.Error("a secret before there is one")
	}
	write("late", digits, 0o600)
	if _, err := late.read(); err != nil {
		t.Errorf("a secret that came later: %v", err)
	}
}

// Many at once, and each change is there in the end.
func TestEditorsAtOnce(t *testing.T) {
	f := newFixture(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for { // others may win sixteen times running
				if _, err := f.AddKey(t.Context(), testKey(fmt.Sprintf("k%d.", i))); err == nil {
					return
				} else if !strings.Contains(err.Error(), "try again") {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	keys, err := f.Keys()
	if err != nil || len(keys) != 8 || keys[7].Name != "k7." || !keys[7].Usable {
		t.Errorf("got %v, %v", keys, err)
	}
}

func TestRules(t *testing.T) {
	for _, tt := range []struct {
		text string // JSON
		why  string // part of the error; empty: good
	}{
		{`{"zone":"example.org.","key":"k.","allow":["update"],"owner":"any"}`, ""},
		{`{"zone":"example.org.","prefixes":["192.0.2.0/24","2001:db8::/32"],"allow":["update"],"owner":"subtree:a.example.org.","types":["A","TYPE65280"]}`, ""},
		{`{"zone":"example.org.","key":"k.","allow":["update"],"owner":"wildcard:*.a.example.org."}`, ""},
		{`{"zone":".","key":"k.","allow":["update"],"owner":"wildcard:*."}`, ""},
		{`{"zone":"example.org.","key":"k.","allow":["update"],"owner":"self"}`, ""},
		{`{"zone":"example.org.","allow":["update"],"owner":"any"}`, "a key, a prefix"},
		{`{"key":"k.","allow":["update"],"owner":"any"}`, "zone"},
		{`{"zone":"example.org.","key":"k.","allow":[],"owner":"any"}`, "allows something"},
		{`{"zone":"example.org.","key":"k.","allow":["update","transfer","notify","query"],"owner":"any"}`, ""},
		{`{"zone":"example.org.","key":"k.","allow":["cook"],"owner":"any"}`, "no operation"},
		{`{"zone":"example.org.","key":"k.","allow":["transfer"],"owner":"any","types":["A"]}`, "for updates"},
		{`{"zone":"example.org.","key":"k.","allow":["notify"],"owner":"exact:a.example.org."}`, "for updates"},
		{`{"zone":"example.org.","key":"k.","allow":["update"],"owner":"any","deny":true}`, "unknown field"},
		{`{"zone":"example.org.","key":"k.","allow":["update"],"owner":"exact:example.net."}`, "not in the zone"},
		{`{"zone":"example.org.","key":"k.","allow":["update"],"owner":"wildcard:a.example.org."}`, "starts with"},
		{`{"zone":"example.org.","key":"k.","allow":["update"],"owner":"below:a.example.org."}`, "subtree:NAME"},
		{`{"zone":"example.org.","prefixes":["192.0.2.0/24"],"allow":["update"],"owner":"self"}`, "name of the key"},
		{`{"zone":"example.org.","key":"k.","allow":["update"],"owner":"any","types":["ANY"]}`, "no type of data"},
	} {
		var r Rule
		err := json.Unmarshal([]byte(tt.text), &r)
		if tt.why != "" {
			if err == nil || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("%s: %v, want %q", tt.text, err, tt.why)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if again, err := json.Marshal(r); err != nil || string(again) != tt.text {
			t.Errorf("%s is written as %s (%v)", tt.text, again, err)
		}
	}
}

// A rule nobody understands, or one without anyone in it, lets no one in.
func TestUnreadableRule(t *testing.T) {
	f := newFixture(t)
	rule := Rule{Zone: record.MustName("example.org."), Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, Allow: Update}
	if _, _, err := f.AddRule(t.Context(), rule); err != nil {
		t.Fatal(err)
	}
	who := Who{From: netip.MustParseAddr("::ffff:192.0.2.1")} // IPv4 through an IPv6 socket
	if s := f.snapshot(NewCache(f.Secret)); !s.Allows(who, Update, record.MustName("EXAMPLE.org."), "", 0) {
		t.Error("the rule lets no one in")
	}
	v := f.store.View()
	text := strings.Replace(string(v.Setting(record.SettingRules)), `"owner"`, `"from_a_newer_build":1,"owner"`, 1)
	v.Close()
	f.store.Must(record.Op{Kind: record.OpSetting, Type: record.SettingRules, Data: [][]byte{[]byte(text)}})
	if s := f.snapshot(NewCache(f.Secret)); s.Allows(who, Update, record.MustName("example.org."), "", 0) {
		t.Error("a rule that was not understood lets someone in")
	}
}

// Who may do what, of every operation: nothing but queries is allowed without a rule, and
// queries only until there is one about them.
func TestOperations(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"k.", "other."} {
		if _, err := f.AddKey(t.Context(), testKey(name)); err != nil {
			t.Fatal(err)
		}
	}
	zone, open := record.MustName("example.org."), record.MustName("open.test.")
	prefix := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for _, r := range []Rule{
		{Zone: zone, Key: record.MustName("k."), Allow: Transfer | Query},
		{Zone: zone, Prefixes: prefix, Allow: Notify},
		{Zone: open, Key: record.MustName("k."), Prefixes: prefix, Allow: Update},
	} {
		if _, _, err := f.AddRule(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	s := f.snapshot(NewCache(f.Secret))
	guards := s.Guards(nil)
	near, far := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	for _, from := range []netip.Addr{near, far} {
		for _, key := range []record.Name{"", record.MustName("k."), record.MustName("other.")} {
			for _, z := range []record.Name{zone, open, record.MustName("a.example.org.")} {
				who := Who{From: from, Key: key}
				k := key == record.MustName("k.")
				for op, want := range map[Operation]bool{
					Transfer: z == zone && k,
					Notify:   z == zone && from == near,
					Update:   z == open && from == near && k,
				} {
					if got := s.Allows(who, op, z, "", 0); got != want {
						t.Errorf("%v from %v with %q in %v: %v, want %v", op.Names(), from, key, z, got, want)
					}
				}
				if got, want := guards.MayQuery(who, z.Key()), z != zone || k; got != want {
					t.Errorf("query from %v with %q in %v: %v, want %v", from, key, z, got, want)
				}
			}
		}
	}
	if guards == nil {
		t.Error("nothing guards queries")
	}
	v := f.store.View()
	text := strings.Replace(string(v.Setting(record.SettingRules)), `"owner"`, `"from_a_newer_build":1,"owner"`, 1)
	v.Close()
	f.store.Must(record.Op{Kind: record.OpSetting, Type: record.SettingRules, Data: [][]byte{[]byte(text)}})
	s = f.snapshot(NewCache(f.Secret))
	if who := (Who{From: near, Key: record.MustName("k.")}); s.Guards(nil).MayQuery(who, zone.Key()) || s.Allows(who, Transfer, zone, "", 0) {
		t.Error("a rule about queries that was not understood opened the zone")
	}
}

// RFC 9432 section 7: catalogs are asked by who may transfer them, or by whom a rule names, and by nobody else.
func TestCatalogsAreGuarded(t *testing.T) {
	f := newFixture(t)
	cat, bare := record.MustName("Cat.test."), record.MustName("bare.test.")
	if _, err := f.AddKey(t.Context(), &tsig.Key{Name: record.MustName("k."), Algorithm: tsig.SHA256, MinMAC: 32, Secret: []byte("0123456789abcdef0123456789abcdef")}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []Rule{
		{Zone: cat, Key: record.MustName("k."), Allow: Transfer},
		{Zone: cat, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Allow: Query},
		{Zone: cat, Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, Allow: Notify | Update},
	} {
		if _, _, err := f.AddRule(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	g := f.snapshot(NewCache(f.Secret)).Guards([]record.Name{cat, bare})
	for _, tt := range []struct {
		from, key string
		zone      record.Name
		may       bool
	}{
		{"192.0.2.1", "", cat, true},
		{"203.0.113.1", "k.", cat, true},
		{"203.0.113.1", "", cat, false},
		{"198.51.100.1", "", cat, false},
		{"192.0.2.1", "k.", bare, false},
		{"203.0.113.1", "", record.MustName("test."), true},
	} {
		who := Who{From: netip.MustParseAddr(tt.from)}
		if tt.key != "" {
			who.Key = record.MustName(tt.key)
		}
		if got := g.MayQuery(who, tt.zone.Key()); got != tt.may {
			t.Errorf("%s with %q in %v: %v", tt.from, tt.key, tt.zone, got)
		}
	}
	if new(Snapshot).Guards(nil) != nil {
		t.Error("without rules and catalogs something is guarded")
	}
}
