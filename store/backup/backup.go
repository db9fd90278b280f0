// Package backup is the form of a backup: the checkpoint of a store in one file,
// with a description before it and a checksum behind it.
//
//	"eider-backup 1\n", a line of JSON (Header), the store's file (Header.Size octets), SHA-256 of all before it
//
// It owns that form and promises that what Open gives was verified wholly: the checksum, the pages and values of
// the store's file, and that it is what the description says. It must never know where a backup comes from, or
// how one is brought back.
package backup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/eider-dns/eider/store"
)

const (
	magic = "eider-backup 1\n"
	// maxHeader is the longest line of JSON, in octets.
	maxHeader = 64 << 10
	// maxSize is the largest store in a backup: what a node maps at once.
	maxSize = 1 << 40
)

// ErrDamaged is wrapped by every error about a file that is not what was written.
var ErrDamaged = errors.New("it is no whole backup")

// Header describes a backup.
type Header struct {
	Cluster   string    `json:"cluster"`    // name
	ClusterID string    `json:"cluster_id"` // hexadecimal
	Node      string    `json:"node"`       // that made it
	Version   string    `json:"version"`    // of the build
	Made      time.Time `json:"made"`
	Index     uint64    `json:"index"` // of the last entry in it
	Term      uint64    `json:"term"`
	Zones     int       `json:"zones"`
	Keys      uint64    `json:"keys"` // of the store
	Size      int64     `json:"size"` // of the store's file, octets
	SHA256    string    `json:"sha256"`
}

// Write writes the checkpoint of st, which should have been folded just now, to w, after it was verified. h says where it comes from; the rest of it
// is filled in.
func Write(st *store.Store, h Header, w io.Writer) (Header, error) {
	file, err := st.Snapshot()
	if err != nil {
		return h, err
	}
	defer file.Close()
	if _, h.Zones, err = store.Examine(file.Name()); err != nil {
		return h, fmt.Errorf("the store is not fit to be backed up: %w", err)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return h, fmt.Errorf("read the copy of the store: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return h, err
	}
	h.Index, h.Term, h.Keys, h.Size, h.SHA256 = file.Meta.Index, file.Meta.Term, file.Meta.Entries, file.Size, hex.EncodeToString(sum.Sum(nil))
	line, err := json.Marshal(h)
	if err != nil {
		return h, err
	}
	all := sha256.New()
	out := io.MultiWriter(w, all)
	if _, err := fmt.Fprintf(out, "%s%s\n", magic, line); err != nil {
		return h, err
	}
	if _, err := io.CopyN(out, file, file.Size); err != nil {
		return h, err
	}
	_, err = w.Write(all.Sum(nil))
	return h, err
}

// File is a backup that was verified.
type File struct {
	Header
	Store *store.Store // loaded, of a copy; only to be read
	dir   string
}

// Open verifies the backup at path, whole, and opens a copy of the store in it, within dir (empty: where
// temporary files go). Close removes the copy.
func Open(path, dir string) (f *File, err error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	f = &File{}
	if f.dir, err = os.MkdirTemp(dir, "eider-backup-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("backup %s: %w", path, errors.Join(err, f.Close()))
			f = nil
		}
	}()
	copied := filepath.Join(f.dir, "store.db")
	if f.Header, err = extract(in, copied); err != nil {
		return f, err
	}
	meta, zones, err := store.Examine(copied)
	if err != nil {
		return f, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if meta.Index != f.Index || meta.Term != f.Term || meta.Entries != f.Keys || zones != f.Zones {
		return f, fmt.Errorf("%w: it says it holds %d keys and %d zones at index %d, and holds %d and %d at %d", ErrDamaged, f.Keys, f.Zones, f.Index, meta.Entries, zones, meta.Index)
	}
	if f.Store, err = store.Open(copied, store.Options{NoSync: true}); err != nil {
		return f, err
	}
	return f, f.Store.Load(context.Background())
}

// Close removes the copy of the store.
func (f *File) Close() error {
	var err error
	if f.Store != nil {
		err = f.Store.Close()
	}
	return errors.Join(err, os.RemoveAll(f.dir))
}

// extract copies the store's file out of a backup, and verifies both checksums.
func extract(in io.Reader, to string) (h Header, err error) {
	all := sha256.New()
	r := bufio.NewReaderSize(in, 1<<20)
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(r, head); err != nil || !bytes.Equal(head, []byte(magic)) {
		return h, fmt.Errorf("%w: it does not begin with %q", ErrDamaged, magic[:len(magic)-1])
	}
	line, err := readLine(r)
	if err != nil {
		return h, err
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return h, fmt.Errorf("%w: its description: %w", ErrDamaged, err)
	}
	if h.Size <= 0 || h.Size > maxSize {
		return h, fmt.Errorf("%w: it says its store has %d octets", ErrDamaged, h.Size)
	}
	all.Write(head)
	all.Write(line)
	all.Write([]byte{'\n'})
	if err := copyBody(r, to, h, all); err != nil {
		return h, err
	}
	trailer := make([]byte, sha256.Size+1)
	if n, _ := io.ReadFull(r, trailer); n != sha256.Size || !bytes.Equal(trailer[:n], all.Sum(nil)) {
		return h, fmt.Errorf("%w: its checksum is missing or wrong", ErrDamaged)
	}
	return h, nil
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for len(line) <= maxHeader {
		c, err := r.ReadByte()
		if err != nil {
			break
		}
		if c == '\n' {
			return line, nil
		}
		line = append(line, c)
	}
	return nil, fmt.Errorf("%w: its description does not end", ErrDamaged)
}

func copyBody(r io.Reader, to string, h Header, all hash.Hash) error {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.CopyN(io.MultiWriter(out, all, sum), r, h.Size)
	if closing := out.Close(); err == nil {
		err = closing
	}
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it is cut short", ErrDamaged)
	case err != nil:
		return err
	case hex.EncodeToString(sum.Sum(nil)) != h.SHA256:
		return fmt.Errorf("%w: the checksum of its store is wrong", ErrDamaged)
	}
	return nil
}
