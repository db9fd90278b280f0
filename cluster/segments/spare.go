package segments

import (
	"errors"
	"os"
	"sync"
)

// zeros is what a new file is filled with at a time.
var zeros [256 << 10]byte

// spare is the next segment, made while the one before is filled, so that no append waits for it. It is the writer's, who
// waits for it where it is still in the making.
type spare struct {
	wg   sync.WaitGroup
	seq  uint64 // it was prepared for the one behind this; a disk that is full is not asked again
	file *os.File
	size int
}

// prepare begins to make one.
func (s *spare) prepare(path string, size int, seq uint64) {
	if s.seq == seq {
		return
	}
	s.seq = seq
	s.wg.Go(func() {
		if f, err := makeFile(path, size); err == nil { // else take tries again, and reports it
			s.file, s.size = f, size
		}
	})
}

// take gives a file of zeros, of that size.
func (s *spare) take(path string, size int) (*os.File, error) {
	s.wg.Wait()
	f := s.file
	s.file = nil
	if f != nil && s.size == size {
		return f, nil
	}
	if f != nil {
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return makeFile(path, size)
}

// drop closes one that was not used. Open removes it.
func (s *spare) drop() {
	s.wg.Wait()
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}

// makeFile makes a file of zeros that are on the disk: the file system then has nothing to note when they are written over.
func makeFile(path string, size int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	for at := 0; at < size && err == nil; at += len(zeros) {
		_, err = f.Write(zeros[:min(len(zeros), size-at)])
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return f, nil
}
