package access

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/eider-dns/eider/nameserver/tsig"
	"github.com/eider-dns/eider/store/record"
)

// ErrNoSecret is wrapped by every error of a node that has no secret file.
var ErrNoSecret = errors.New("this node has no secret to seal keys with")

// secretSize is the length in octets of what is in a secret file: an AES-256 key.
const secretSize = 32

// Secret is the file that seals TSIG keys in the log and in checkpoints
// (AES-256-GCM). It is the same on all nodes, and read when it is first needed,
// so that it may come after the start.
type Secret struct {
	path string

	mu    sync.Mutex
	bytes []byte // nil until read
}

// NewSecret is the secret in the file at path; an empty path is none.
func NewSecret(path string) *Secret { return &Secret{path: path} }

// Init makes a new secret file, readable by its owner alone. It never overwrites one.
func Init(path string) error {
	b := make([]byte, secretSize)
	rand.Read(b) //nolint:errcheck // never returns an error
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there already; keys sealed with it would be lost with it", path)
		}
		return err
	}
	_, err = f.WriteString(hex.EncodeToString(b) + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}

func (s *Secret) read() ([]byte, error) {
	if s.path == "" {
		return nil, fmt.Errorf("%w: set \"secret_file\" in the config, for example \"secret.key\", run `eider key init-secret`, and copy the file to every node", ErrNoSecret)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes != nil {
		return s.bytes, nil
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w; run `eider key init-secret`, and copy the file to every node", ErrNoSecret, err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s may be read by others; chmod 600 it", ErrNoSecret, s.path)
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoSecret, err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(b) != secretSize {
		return nil, fmt.Errorf("%w: %s does not hold %d hexadecimal digits", ErrNoSecret, s.path, 2*secretSize)
	}
	s.bytes = b
	return b, nil
}

// fingerprint tells secrets apart and gives nothing of them away.
func (s *Secret) fingerprint() (f [8]byte, err error) {
	b, err := s.read()
	if err != nil {
		return f, err
	}
	mac := hmac.New(sha256.New, b)
	mac.Write([]byte("eider secret fingerprint"))
	copy(f[:], mac.Sum(nil))
	return f, nil
}

func (s *Secret) gcm() (cipher.AEAD, error) {
	b, err := s.read()
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(b)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// sealedKey is the form of a key in the settings.
type sealedKey struct {
	name      record.Name
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"`
	Sealed    string `json:"sealed"` // base64: nonce, then the sealed secret
}

// bound is what the seal covers besides the secret: a secret cannot be moved to another key.
func (k *sealedKey) bound() []byte { return []byte("eider key\n" + k.Name + "\n" + k.Algorithm) }

func (s *Secret) seal(k *tsig.Key) ([]byte, error) {
	gcm, err := s.gcm()
	if err != nil {
		return nil, err
	}
	out := sealedKey{Name: k.Name.Lower().String(), Algorithm: k.AlgorithmText()}
	nonce := make([]byte, gcm.NonceSize())
	rand.Read(nonce) //nolint:errcheck // never returns an error
	out.Sealed = base64.StdEncoding.EncodeToString(gcm.Seal(nonce, nonce, k.Secret, out.bound()))
	return json.Marshal(out)
}

func (s *Secret) open(k sealedKey) (*tsig.Key, error) {
	gcm, err := s.gcm()
	if err != nil {
		return nil, err
	}
	sealed, err := base64.StdEncoding.DecodeString(k.Sealed)
	if err != nil || len(sealed) < gcm.NonceSize() {
		return nil, fmt.Errorf("key %s: its seal is damaged", k.Name)
	}
	n := gcm.NonceSize()
	secret, err := gcm.Open(nil, sealed[:n], sealed[n:], k.bound())
	if err != nil {
		return nil, fmt.Errorf("key %s was sealed with another secret than this node has", k.Name)
	}
	out := &tsig.Key{Name: k.name, Secret: secret}
	if out.Algorithm, out.MinMAC, err = tsig.ParseAlgorithm(k.Algorithm); err != nil {
		return nil, err
	}
	return out, out.Check()
}

func readKey(view Reader, place uint16) (k sealedKey, ok bool) {
	b := view.Setting(record.SettingKeys + record.Setting(place))
	if b == nil || json.Unmarshal(b, &k) != nil {
		return k, false
	}
	name, err := record.ParseName(k.Name)
	k.name = name.Lower()
	return k, err == nil
}
