package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Lifetimes of what is made here, unless asked otherwise.
const (
	DefaultCALife       = 10 * 365 * 24 * time.Hour
	DefaultNodeLife     = 365 * 24 * time.Hour
	DefaultOperatorLife = 90 * 24 * time.Hour
	// backdate lets a certificate count on machines whose clocks are behind.
	backdate = time.Hour
	// MaxBundle is the most certificates in one file: two CAs during a rotation, and their
	// intermediate ones.
	MaxBundle = 16
	// maxFile is the largest file read, in octets.
	maxFile = 256 << 10
)

// CA signs certificates of one cluster.
type CA struct {
	Cert *x509.Certificate
	key  crypto.Signer
}

// NewCA makes a CA whose certificate counts from now until from now plus life.
func NewCA(cluster string, now time.Time, life time.Duration) (*CA, error) {
	if err := (Name{cluster, RoleNode, "0"}).Check(); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Eider cluster " + cluster + ", made " + now.UTC().Format("2006-01-02 15:04:05")},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(life),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	cert, err := sign(template, template, key.Public(), key)
	return &CA{cert, key}, err
}

// Issue makes a key and a certificate for name. A node's is for both ends of a
// connection and bears hosts, so that programs which check host names take it too; an
// operator's is for the asking end alone.
func (ca *CA) Issue(name Name, hosts []string, now time.Time, life time.Duration) (*x509.Certificate, crypto.Signer, error) {
	if err := name.Check(); err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: string(name.Role) + " " + name.ID},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(life), URIs: []*url.URL{name.uri()},
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if name.Role == RoleNode {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		for _, host := range hosts {
			if ip, err := netip.ParseAddr(host); err == nil {
				template.IPAddresses = append(template.IPAddresses, net.IP(ip.Unmap().AsSlice()))
			} else {
				template.DNSNames = append(template.DNSNames, host)
			}
		}
	}
	cert, err := sign(template, ca.Cert, key.Public(), ca.key)
	return cert, key, err
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// serial is 127 random bits: positive, and in the 20 octets of RFC 5280 section 4.1.2.2.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}

// LoadCA reads a CA: the key, and of the certificates of a bundle the one that goes with it.
func LoadCA(bundle, keyFile string) (*CA, error) {
	certs, err := ReadCertificates(bundle)
	if err != nil {
		return nil, err
	}
	key, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	for _, c := range certs {
		if c.IsCA && sameKey(c, key) {
			return &CA{c, key}, nil
		}
	}
	return nil, fmt.Errorf("no CA certificate in %s goes with the key in %s", bundle, keyFile)
}

func sameKey(cert *x509.Certificate, key crypto.Signer) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}

// ReadCertificates reads all certificates of a PEM file, at least one.
func ReadCertificates(path string) ([]*x509.Certificate, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	certs, err := parseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return certs, nil
}

func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if len(certs) == MaxBundle {
			return nil, fmt.Errorf("more than %d certificates; take out those that are not needed any more", MaxBundle)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate in it; a PEM file starts with -----BEGIN CERTIFICATE-----")
	}
	return certs, nil
}

// readKey reads a private key only its owner may read. An error never shows any of it.
func readKey(path string) (crypto.Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0 { // a group may be meant
		return nil, fmt.Errorf("%s holds a private key and may be read by everyone; chmod 600 it", path)
	}
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, fmt.Errorf("%s: no private key in it; PKCS #8, EC and RSA keys in PEM are taken", path)
		}
		var key any
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default:
			continue // EC PARAMETERS, certificates
		}
		signer, ok := key.(crypto.Signer)
		if err != nil || !ok {
			return nil, fmt.Errorf("%s: the private key in it cannot be read; PKCS #8, EC and RSA keys in PEM are taken", path)
		}
		return signer, nil
	}
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d octets", path, maxFile)
	}
	return data, nil
}

// Modes of the files written here.
const (
	secretMode fs.FileMode = 0o600
	publicMode fs.FileMode = 0o644
)

// WriteKey writes the key of a CA, for its owner alone; it never overwrites one.
func (ca *CA) WriteKey(path string) error { return writeKey(path, ca.key, false) }

// WriteBundle writes certificates into one PEM file, all at once.
func WriteBundle(path string, certs []*x509.Certificate) error {
	return replace(path, encodeCertificates(certs), publicMode)
}

// WritePair writes a certificate and its key, the key first: a node that looks in
// between sees that they do not go together, and looks again.
func WritePair(certFile, keyFile string, chain []*x509.Certificate, key crypto.Signer, overwrite bool) error {
	if !overwrite {
		if _, err := os.Lstat(certFile); err == nil {
			return fmt.Errorf("%s is there already; say --force to make a new one", certFile)
		}
	}
	if err := writeKey(keyFile, key, overwrite); err != nil {
		return err
	}
	return WriteBundle(certFile, chain)
}

func encodeCertificates(certs []*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

func writeKey(path string, key crypto.Signer, overwrite bool) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if !overwrite {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s is there already; what was made with it would be lost with it", path)
		}
	}
	return replace(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), secretMode)
}

// replace writes a file wholly or not at all; no other user can read a secret
// one at any moment.
func replace(path string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
