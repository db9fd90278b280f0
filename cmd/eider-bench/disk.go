package main

import (
	"os"
	"path/filepath"
	"time"

	"github.com/eider-dns/eider/cluster/segments"
)

// Syncs that are timed, and how much is written before each, in octets: about an entry of the log.
const (
	diskSyncs = 300
	diskWrite = 512
)

// disk times what each change waits for: a write within a file that is there already, synced.
func (s *session) disk() (took []time.Duration, err error) {
	f, err := os.Create(filepath.Join(s.dir, "disk"))
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(make([]byte, diskSyncs*diskWrite)); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	block := make([]byte, diskWrite)
	for i := range diskSyncs {
		block[0] = byte(i + 1)
		if _, err := f.WriteAt(block, int64(i*diskWrite)); err != nil {
			return nil, err
		}
		start := time.Now()
		if err := segments.SyncData(f); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}
