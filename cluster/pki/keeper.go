package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how often the files are looked at: three stat calls, so that a program which
	// renews certificates needs no way to tell a node.
	lookEvery = 2 * time.Second
	// WarnBefore is how long before its end a certificate is warned about: time enough
	// for someone on holiday.
	WarnBefore = 30 * 24 * time.Hour
	// warnEvery is how often.
	warnEvery = 24 * time.Hour
)

// Files are where a node's certificates are.
type Files struct {
	CA   string // one CA certificate or several; all are trusted
	Cert string // the node's, and intermediate ones behind it
	Key  string
}

// Options says what a Keeper stands on. Self and Files are needed.
type Options struct {
	Self  Name // what the certificate must say
	Files Files
	Now   func() time.Time // default time.Now
	Log   *slog.Logger     // nil: none
	Look  time.Duration    // between two looks at the files; lookEvery if 0, never if negative
}

// Keeper holds the certificates of a running node and follows their files. Its
// methods may be called from any goroutine.
type Keeper struct {
	o      Options
	state  atomic.Pointer[state]
	failed atomic.Uint64 // reloads that did not work
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex // one reload at a time; guards what follows
	seen    [3]stamp
	told    string    // the last error told
	warned  time.Time // when an end was last warned about
	changed []func()
}

// state is the certificates at one time.
type state struct {
	pair  tls.Certificate
	roots *x509.CertPool
	cas   []*x509.Certificate
}

// stamp tells versions of a file apart. Nothing else needs to be exact: a reload
// that finds the same content does no harm.
type stamp struct {
	modified time.Time
	size     int64
}

// Open reads the files and follows them until Close.
func Open(o Options) (*Keeper, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Look == 0 {
		o.Look = lookEvery
	}
	k := &Keeper{o: o, done: make(chan struct{})}
	k.seen = k.stamps()
	s, err := k.load()
	if err != nil {
		return nil, err
	}
	k.state.Store(s)
	k.warn()
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	go k.run(ctx)
	return k, nil
}

// Close ends the watch over the files.
func (k *Keeper) Close() {
	k.cancel()
	<-k.done
}

func (k *Keeper) run(ctx context.Context) {
	defer close(k.done)
	if k.o.Look < 0 {
		return
	}
	tick := time.NewTicker(k.o.Look)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.look()
		case <-ctx.Done():
			return
		}
	}
}

// look reloads if a file changed.
func (k *Keeper) look() {
	k.mu.Lock()
	now := k.stamps()
	same := now == k.seen && k.told == ""
	k.mu.Unlock()
	if !same {
		_ = k.Reload() // has logged what it has to say
	}
	k.warn()
}

// OnChange has f called after each reload that changed something.
func (k *Keeper) OnChange(f func()) {
	k.mu.Lock()
	k.changed = append(k.changed, f)
	k.mu.Unlock()
}

// Reload reads the files again. On an error everything stays as it was: a file
// half written or a key that does not go with its certificate yet is no reason to
// stop speaking to the other nodes.
func (k *Keeper) Reload() error {
	k.mu.Lock()
	seen := k.stamps() // before reading: what changes meanwhile is seen next time
	s, err := k.load()
	if err != nil {
		if err.Error() != k.told {
			k.failed.Add(1)
			k.o.Log.Warn("certificates not reloaded, the old ones stay in use", slog.Any("err", err))
		}
		k.told = err.Error()
		k.mu.Unlock()
		return err
	}
	old := k.state.Load()
	same := k.told == "" && old.equal(s)
	k.seen, k.told = seen, ""
	if same {
		k.mu.Unlock()
		return nil
	}
	k.state.Store(s)
	k.warned = time.Time{}
	changed := k.changed
	k.mu.Unlock()
	k.o.Log.Info("certificates reloaded", slog.Time("expires", s.pair.Leaf.NotAfter), slog.Int("cas", len(s.cas)))
	for _, f := range changed {
		f()
	}
	return nil
}

func (s *state) equal(other *state) bool {
	if !s.pair.Leaf.Equal(other.pair.Leaf) || len(s.cas) != len(other.cas) {
		return false
	}
	for i := range s.cas {
		if !s.cas[i].Equal(other.cas[i]) {
			return false
		}
	}
	return len(s.pair.Certificate) == len(other.pair.Certificate)
}

func (k *Keeper) stamps() (out [3]stamp) {
	for i, path := range [3]string{k.o.Files.CA, k.o.Files.Cert, k.o.Files.Key} {
		if info, err := os.Stat(path); err == nil {
			out[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return out
}

// load reads the files and checks that they make sense together: a node whose own
// certificate no other would take must not find that out one refusal at a time.
func (k *Keeper) load() (*state, error) {
	f := k.o.Files
	s, err := loadTrust(f.CA)
	if err != nil {
		return nil, advise(err)
	}
	if s.pair, err = loadPair(f.Cert, f.Key); err != nil {
		return nil, advise(err)
	}
	chain, err := parseChain(s.pair.Certificate)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Cert, err)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		name, err := s.verify(chain, usage, within(chain[0], k.o.Now()))
		if expired(err) {
			name, err = NameOf(chain[0])
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Cert, err)
		}
		if name != k.o.Self {
			return nil, fmt.Errorf("%s is the certificate of %s and this is %s; set cert_file to its own, or make one: eider certificate node %s", f.Cert, name, k.o.Self, k.o.Self.ID)
		}
	}
	return s, nil
}

// within is the moment nearest to now at which a certificate counts. A node whose
// own has expired starts, answers queries and says so; it is the others who refuse it.
func within(cert *x509.Certificate, now time.Time) time.Time {
	if now.Before(cert.NotBefore) {
		return cert.NotBefore
	}
	if now.After(cert.NotAfter) {
		return cert.NotAfter
	}
	return now
}

func expired(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}

// advise adds to the error of a file that is not there what makes one.
func advise(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; `eider certificate init` makes a CA and the certificates of all nodes", err)
	}
	return err
}

func loadTrust(path string) (*state, error) {
	certs, err := ReadCertificates(path)
	if err != nil {
		return nil, err
	}
	s := &state{roots: x509.NewCertPool(), cas: certs}
	for _, c := range certs {
		if !c.IsCA {
			return nil, fmt.Errorf("%s: the certificate of %q in it is not that of a CA", path, c.Subject)
		}
		s.roots.AddCert(c)
	}
	return s, nil
}

func loadPair(certFile, keyFile string) (tls.Certificate, error) {
	certs, err := ReadCertificates(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readKey(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	if !sameKey(certs[0], key) {
		return tls.Certificate{}, fmt.Errorf("the key in %s does not go with the certificate in %s", keyFile, certFile)
	}
	pair := tls.Certificate{PrivateKey: key, Leaf: certs[0]}
	for _, c := range certs {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return pair, nil
}

func parseChain(raw [][]byte) ([]*x509.Certificate, error) {
	chain := make([]*x509.Certificate, len(raw))
	for i := range raw {
		var err error
		if chain[i], err = x509.ParseCertificate(raw[i]); err != nil {
			return nil, err
		}
	}
	return chain, nil
}

// verify tells who a chain of certificates is for, if a CA of the cluster stands for it.
func (s *state) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) (Name, error) {
	if len(chain) == 0 {
		return Name{}, errors.New("no certificate was shown")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: s.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
		return Name{}, err
	}
	return NameOf(chain[0])
}

// Expiry is when the node's certificate ends, and the first of the CAs that stand
// for it. After that no other node speaks to this one.
func (k *Keeper) Expiry() (cert, ca time.Time) {
	s := k.state.Load()
	cert = s.pair.Leaf.NotAfter
	chains, err := s.pair.Leaf.Verify(x509.VerifyOptions{
		Roots: s.roots, Intermediates: s.between(), CurrentTime: s.pair.Leaf.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil { // of a CA that is younger; take the first
		return cert, s.cas[0].NotAfter
	}
	for _, chain := range chains {
		if end := chain[len(chain)-1].NotAfter; end.After(ca) {
			ca = end
		}
	}
	return cert, ca
}

func (s *state) between() *x509.CertPool {
	pool := x509.NewCertPool()
	if chain, err := parseChain(s.pair.Certificate); err == nil {
		for _, c := range chain[1:] {
			pool.AddCert(c)
		}
	}
	return pool
}

// CAs is how many CAs are trusted: two during a rotation.
func (k *Keeper) CAs() int { return len(k.state.Load().cas) }

// Failed is how many reloads did not work.
func (k *Keeper) Failed() uint64 { return k.failed.Load() }

// warn says once a day that an end is near.
func (k *Keeper) warn() {
	now := k.o.Now()
	k.mu.Lock()
	due := now.Sub(k.warned) >= warnEvery
	k.mu.Unlock()
	if !due {
		return
	}
	cert, ca := k.Expiry()
	end, which := cert, "certificate"
	if ca.Before(cert) {
		end, which = ca, "CA certificate"
	}
	switch left := end.Sub(now); {
	case left <= 0:
		k.o.Log.Error("certificate expired, the other nodes refuse this one", slog.String("which", which), slog.Time("expires", end))
	case left < WarnBefore:
		k.o.Log.Warn("certificate expires soon", slog.String("which", which), slog.Time("expires", end), slog.String("left", left.Round(time.Hour).String()))
	default:
		return
	}
	k.mu.Lock()
	k.warned = now
	k.mu.Unlock()
}
