package secondary

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

const (
	// DefaultMemory is the most octets all transfers that come in hold at a time: what the largest zone there may be takes. So
	// any zone can be pulled, and many take no more than one.
	DefaultMemory = 2560 << 20
	// recordCost is what keeping a record takes beside its name and data, in octets.
	recordCost = 160
	// memoryStep is how many octets a transfer takes at a time from what all share.
	memoryStep = 256 << 10
)

// errMemory is wrapped by the error about a transfer that had to make room for others.
var errMemory = errors.New("it held most of the memory all transfers share, and made room for others")

// memory is what all transfers share. Where it is not enough, the one that holds most ends, so that a large zone, or a
// primary that sends without end, does not keep small ones from being pulled.
type memory struct {
	mu      sync.Mutex // guards what follows
	total   int
	used    int
	holders map[*holding]struct{}
	freed   chan struct{} // closed, and made anew, when some was given back
	crowded uint64        // transfers that had to make room
}

func newMemory(total int) *memory {
	if total <= 0 {
		total = DefaultMemory
	}
	return &memory{total: total, holders: make(map[*holding]struct{}), freed: make(chan struct{})}
}

// holding is the part of one transfer. nil holds nothing, without bound. One goroutine uses it.
type holding struct {
	of      *memory
	end     context.CancelCauseFunc // ends the transfer
	size    int                     // guarded by of.mu
	spare   int                     // of size, not used yet
	settled bool                    // guarded by of.mu: it is all here, and ends by itself
	ended   bool                    // guarded by of.mu: it has to make room
}

// hold begins a holding; end is called, from any goroutine, if it has to make room. The caller gives it back by release.
func (m *memory) hold(end context.CancelCauseFunc) *holding {
	h := &holding{of: m, end: end}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.holders[h] = struct{}{}
	return h
}

// take takes n octets, and waits while another transfer makes room for them.
func (h *holding) take(ctx context.Context, n int) error {
	if h == nil {
		return nil
	}
	for h.spare < n {
		wait, err := h.grow(max(n, memoryStep))
		switch {
		case err != nil:
			return err
		case wait == nil:
			continue
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	h.spare -= n
	return nil
}

// grow takes n octets, or has the transfer that holds most end, and gives what to wait for.
func (h *holding) grow(n int) (wait <-chan struct{}, err error) {
	m := h.of
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used+n <= m.total {
		m.used, h.size, h.spare = m.used+n, h.size+n, h.spare+n
		return nil, nil
	}
	most := h
	for other := range m.holders {
		if !other.settled && other.size > most.size {
			most = other
		}
	}
	if !most.ended {
		most.ended = true
		m.crowded++
	}
	err = fmt.Errorf("%w: %d octets are all there is (limits.pull_memory)", errMemory, m.total)
	if most == h {
		return nil, err
	}
	most.end(err)
	return m.freed, nil
}

// settle says that all of the transfer is here, so that it need not make room any more.
func (h *holding) settle() error {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	if h.ended {
		return errMemory
	}
	h.settled = true
	return nil
}

// release gives all back; the holding may be used again.
func (h *holding) release() {
	m := h.of
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= h.size
	h.size, h.spare, h.settled = 0, 0, false
	close(m.freed)
	m.freed = make(chan struct{})
}

// drop is release for good.
func (h *holding) drop() {
	h.release()
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	delete(h.of.holders, h)
}

// figures are the octets held now, and how often a transfer had to make room.
func (m *memory) figures() (used int, crowded uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used, m.crowded
}
