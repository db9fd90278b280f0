package pki

import (
	"bytes"
	"crypto/x509"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseName(t *testing.T) {
	for _, tt := range []struct {
		rule, text string
		ok         bool
	}{
		{"a node", "eider://prod/node/ns1", true},
		{"an operator", "eider://prod/operator/alice", true},
		{"a role there is none of", "eider://prod/root/alice", false},
		{"no id", "eider://prod/node/", false},
		{"more behind the id", "eider://prod/node/ns1/x", false},
		{"a slash by another name", "eider://prod/node/a%2Fb", false},
		{"a query", "eider://prod/node/ns1?x", false},
		{"a user in front", "eider://me@prod/node/ns1", false},
		{"another scheme", "https://prod/node/ns1", false},
		{"another case of the role", "eider://prod/Node/ns1", false},
		{"a cluster with an empty label", "eider://a..b/node/1", false},
		{"too long", "eider://prod/node/" + strings.Repeat("x", 64), false},
	} {
		n, err := ParseName(tt.text)
		if (err == nil) != tt.ok || tt.ok && n.String() != tt.text {
			t.Errorf("%s: %q: %v, %v", tt.rule, tt.text, n, err)
		}
	}
}

// A certificate that could stand for two stands for nobody.
func TestNameOf(t *testing.T) {
	uri := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, tt := range []struct {
		rule string
		uris []*url.URL
		ok   bool
	}{
		{"one", []*url.URL{uri("eider://a/node/1")}, true},
		{"beside others'", []*url.URL{uri("spiffe://a/b"), uri("eider://a/node/1")}, true},
		{"none", []*url.URL{uri("spiffe://a/b")}, false},
		{"two", []*url.URL{uri("eider://a/operator/x"), uri("eider://a/node/1")}, false},
		{"one twice", []*url.URL{uri("eider://a/node/1"), uri("eider://a/node/1")}, false},
		{"with a fragment", []*url.URL{uri("eider://a/node/1#x")}, false},
	} {
		if n, err := NameOf(&x509.Certificate{URIs: tt.uris}); (err == nil) != tt.ok {
			t.Errorf("%s: %v, %v", tt.rule, n, err)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("eider://prod/node/ns1")
	f.Add("eider://a.b/operator/x_y")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseName(text)
		if err != nil {
			return
		}
		if n.String() != text || n.uri().String() != text {
			t.Fatalf("%q is written %q and %q", text, n, n.uri())
		}
		again, err := NameOf(&x509.Certificate{URIs: []*url.URL{n.uri()}})
		if err != nil || again != n {
			t.Fatalf("%v, %v", again, err)
		}
	})
}

// What certificates are read from comes from disk and from the network; neither
// may do more than be refused.
func FuzzParseCertificates(f *testing.F) {
	ca, err := NewCA("eider", time.Now(), time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encodeCertificates([]*x509.Certificate{ca.Cert, ca.Cert}))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		certs, err := parseCertificates(data)
		if err == nil && (len(certs) == 0 || len(certs) > MaxBundle) {
			t.Fatalf("%d certificates", len(certs))
		}
		for _, c := range certs {
			if n, err := NameOf(c); err == nil && n.Check() != nil {
				t.Fatalf("%v", n)
			}
		}
	})
}

var self = Name{"eider", RoleNode, "0"}

type folder struct {
	t     *testing.T
	files Files
	log   *syncBuffer
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newFolder(t *testing.T) *folder {
	dir := t.TempDir()
	return &folder{t, Files{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "node.pem"), filepath.Join(dir, "node.key")}, &syncBuffer{}}
}

func (f *folder) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) ca(cas ...*CA) *CA {
	f.t.Helper()
	ca, err := NewCA("eider", time.Now(), 100*24*time.Hour)
	f.must(err)
	certs := []*x509.Certificate{ca.Cert}
	for _, old := range cas {
		certs = append(certs, old.Cert)
	}
	f.must(WriteBundle(f.files.CA, certs))
	return ca
}

func (f *folder) issue(ca *CA, name Name, life time.Duration) {
	f.t.Helper()
	cert, key, err := ca.Issue(name, []string{"127.0.0.1", "ns1.example"}, time.Now(), life)
	f.must(err)
	f.must(WritePair(f.files.Cert, f.files.Key, []*x509.Certificate{cert}, key, true))
}

func (f *folder) open() (*Keeper, error) {
	k, err := Open(Options{Self: self, Files: f.files, Look: -1, Log: slog.New(slog.NewTextHandler(f.log, nil))})
	if err == nil {
		f.t.Cleanup(k.Close)
	}
	return k, err
}

func TestFiles(t *testing.T) {
	f := newFolder(t)
	ca := f.ca()
	f.issue(ca, self, time.Hour)
	info, err := os.Stat(f.files.Key)
	f.must(err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v", info.Mode())
	}
	certs, err := ReadCertificates(f.files.Cert)
	f.must(err)
	if c := certs[0]; !c.IPAddresses[0].Equal(net.IPv4(127, 0, 0, 1)) || c.DNSNames[0] != "ns1.example" {
		t.Errorf("hosts %v %v", c.IPAddresses, c.DNSNames)
	}
	if err := WritePair(f.files.Cert, f.files.Key, certs, ca.key, false); err == nil {
		t.Error("a pair was overwritten")
	}
	keyFile := filepath.Join(t.TempDir(), "ca.key")
	f.must(ca.WriteKey(keyFile))
	if err := ca.WriteKey(keyFile); err == nil {
		t.Error("a CA's key was overwritten")
	}
	again, err := LoadCA(f.files.CA, keyFile)
	if err != nil || !again.Cert.Equal(ca.Cert) {
		t.Errorf("read again: %v", err)
	}
	f.ca()
	if _, err := LoadCA(f.files.CA, keyFile); err == nil {
		t.Error("a key was taken for that of another CA")
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		rule string
		do   func(f *folder)
		want string // "" opens
	}{
		{"what belongs together", func(f *folder) { f.issue(f.ca(), self, time.Hour) }, ""},
		{"an expired one is used, and told of loudly", func(f *folder) { f.issue(f.ca(), self, -time.Minute) }, ""},
		{"nothing there", func(f *folder) {}, "eider certificate init"},
		{"the certificate of another node", func(f *folder) { f.issue(f.ca(), Name{"eider", RoleNode, "1"}, time.Hour) }, "eider://eider/node/1"},
		{"of another cluster", func(f *folder) { f.issue(f.ca(), Name{"other", RoleNode, "0"}, time.Hour) }, "eider://other/node/0"},
		{"an operator's", func(f *folder) { f.issue(f.ca(), Name{"eider", RoleOperator, "0"}, time.Hour) }, "usage"},
		{"of a CA that is not trusted", func(f *folder) { f.issue(f.ca(), self, time.Hour); f.ca() }, "unknown authority"},
		{"a key of another certificate", func(f *folder) {
			ca := f.ca()
			f.issue(ca, self, time.Hour)
			key, err := os.ReadFile(f.files.Key)
			f.must(err)
			f.issue(ca, self, time.Hour)
			f.must(os.WriteFile(f.files.Key, key, 0o600))
		}, "does not go with"},
		{"a key everyone may read", func(f *folder) { f.issue(f.ca(), self, time.Hour); f.must(os.Chmod(f.files.Key, 0o644)) }, "may be read by everyone"},
		{"a node's certificate for a CA", func(f *folder) {
			f.issue(f.ca(), self, time.Hour)
			data, err := os.ReadFile(f.files.Cert)
			f.must(err)
			f.must(os.WriteFile(f.files.CA, data, 0o600))
		}, "not that of a CA"},
		{"rubbish", func(f *folder) {
			f.issue(f.ca(), self, time.Hour)
			f.must(os.WriteFile(f.files.CA, []byte("x"), 0o600))
		}, "no certificate in it"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			f := newFolder(t)
			tt.do(f)
			_, err := f.open()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestReload(t *testing.T) {
	f := newFolder(t)
	ca := f.ca()
	f.issue(ca, self, time.Hour)
	k, err := f.open()
	f.must(err)
	changes := 0
	k.OnChange(func() { changes++ })
	f.must(k.Reload())
	if changes != 0 {
		t.Error("nothing changed and it was told of")
	}
	before, _ := k.Expiry()
	f.must(os.WriteFile(f.files.Cert, []byte("half a certif"), 0o600))
	for range 3 {
		if k.Reload() == nil {
			t.Error("half a file was taken")
		}
	}
	if now, _ := k.Expiry(); now != before || k.Failed() != 1 || strings.Count(f.log.String(), "not reloaded") != 1 {
		t.Errorf("expires %v, before %v; %d failures; log %s", now, before, k.Failed(), f.log)
	}
	f.issue(ca, self, 40*24*time.Hour)
	f.must(k.Reload())
	if now, _ := k.Expiry(); changes != 1 || !now.After(before) {
		t.Errorf("%d changes, expires %v", changes, now)
	}
}

func TestExpiryIsToldOf(t *testing.T) {
	for _, tt := range []struct {
		rule, want string
		life       time.Duration
	}{
		{"far away", "", 60 * 24 * time.Hour},
		{"near", "level=WARN msg=\"certificate expires soon\"", 20 * 24 * time.Hour},
		{"over", "level=ERROR msg=\"certificate expired", -time.Minute},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			f := newFolder(t)
			f.issue(f.ca(), self, tt.life)
			k, err := f.open()
			f.must(err)
			k.look()
			k.look()
			got := f.log.String()
			if tt.want == "" && got != "" || strings.Count(got, "msg=\"certificate expire") != min(len(tt.want), 1) || !strings.Contains(got, tt.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}
