package tokens

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eider-dns/eider/store/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// state machine of settings alone, as the store's.
type settings struct {
	mu     sync.Mutex
	values map[record.Setting]string
	before func() // runs before the next change is decided
}

func (s *settings) Setting(id record.Setting) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.values[id]; ok {
		return []byte(v)
	}
	return nil
}
func (s *settings) Close() {}

func (s *settings) propose(_ context.Context, changes []record.Change) ([]record.Result, error) {
	if f := s.before; f != nil {
		s.before = nil
		f()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := changes[0]
	if _, err := c.AppendBinary(nil); err != nil {
		return nil, err
	}
	for _, p := range c.Pre {
		have, ok := s.values[p.Type]
		if ok != (len(p.Data) == 1) || ok && have != string(p.Data[0]) {
			return []record.Result{{Status: record.Refused, Cause: record.CauseSetting}}, nil
		}
	}
	for _, op := range c.Ops {
		if len(op.Data) == 0 {
			delete(s.values, op.Type)
		} else {
			s.values[op.Type] = string(op.Data[0])
		}
	}
	return []record.Result{{Status: record.OK, Index: 1}}, nil
}

func keeper() (*Keeper, *settings, *time.Time) {
	s := &settings{values: map[record.Setting]string{}}
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	return &Keeper{View: func() Reader { return s }, Propose: s.propose, Now: func() time.Time { return now }}, s, &now
}

func TestTokens(t *testing.T) {
	k, s, now := keeper()
	ctx := t.Context()
	secret, _, err := k.Add(ctx, "ci", Admin, 0)
	if err != nil {
		t.Fatal(err)
	}
	short, _, err := k.Add(ctx, "probe", Metrics, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := k.Find(secret); !ok || got.Name != "ci" || got.Role != Admin {
		t.Errorf("found %+v, %v", got, ok)
	}
	if _, ok := k.Find(New()); ok {
		t.Error("a token nobody made was found")
	}
	if _, _, err := k.Add(ctx, "ci", Read, 0); err == nil {
		t.Error("one name was given twice")
	}
	for id, v := range s.values {
		if strings.Contains(v, secret.Text()) || strings.Contains(v, string(secret[:])) {
			t.Errorf("setting %x holds the token itself", id)
		}
	}
	*now = now.Add(time.Hour)
	if _, ok := k.Find(short); ok {
		t.Error("an expired token counts")
	}
	if _, err := k.Remove(ctx, "ci"); err != nil {
		t.Fatal(err)
	}
	if _, ok := k.Find(secret); ok {
		t.Error("a removed token counts")
	}
	var missing *NotFoundError
	if _, err := k.Remove(ctx, "ci"); !errors.As(err, &missing) {
		t.Errorf("removed twice: %v", err)
	}
	if _, _, err := k.Add(ctx, "again", Read, 0); err != nil { // takes the free place
		t.Fatal(err)
	}
	list, err := k.List()
	if err != nil || len(list) != 2 || list[0].Name != "again" || list[1].Name != "probe" {
		t.Errorf("%+v, %v", list, err)
	}
	if len(s.values) != 3 {
		t.Errorf("%d settings", len(s.values))
	}
}

func TestTwoAtOnce(t *testing.T) {
	k, s, _ := keeper()
	s.before = func() {
		if _, _, err := k.Add(t.Context(), "first", Read, 0); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := k.Add(t.Context(), "second", Read, 0); err != nil {
		t.Fatal(err)
	}
	if list, _ := k.List(); len(list) != 2 {
		t.Errorf("%+v", list)
	}
}

func TestFull(t *testing.T) {
	k, _, _ := keeper()
	for i := range record.MaxTokens {
		if _, _, err := k.Add(t.Context(), fmt.Sprint(i), Read, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := k.Add(t.Context(), "more", Read, 0); err == nil {
		t.Error("one more than the most was added")
	}
}

func TestNames(t *testing.T) {
	k, _, _ := keeper()
	for _, name := range []string{"", "a b", "a\nb", strings.Repeat("x", 64), "é"} {
		if _, _, err := k.Add(t.Context(), name, Read, 0); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
	if _, _, err := k.Add(t.Context(), "x", "root", 0); err == nil {
		t.Error("a role there is none of was taken")
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	s := New()
	if text := fmt.Sprintf("%v %s %#v %+v", s, s, s, struct{ S Secret }{s}); strings.Contains(text, s.Text()) || strings.Contains(text, fmt.Sprint(s[0])+" "+fmt.Sprint(s[1])) {
		t.Errorf("printed: %s", text)
	}
}

// One token has one form: what is taken is written back to the same text.
func FuzzParse(f *testing.F) {
	f.Add(New().Text())
	f.Add("eider_")
	f.Add("eider_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err == nil && s.Text() != text {
			t.Fatalf("%q is written %q", text, s.Text())
		}
		if err != nil && len(text) > 8 && strings.Contains(err.Error(), text) {
			t.Fatalf("the error shows %q", text)
		}
	})
}
