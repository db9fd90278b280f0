package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

const (
	// logCache is how many entries are kept in memory for followers at the most.
	logCache = 512
	// logCacheBytes is how many octets of them: entries of a load have 64 KiB each, and the last of them would be there
	// until as many others came.
	logCacheBytes = 8 << 20
)

// cachedLog keeps the newest entries in memory, as raft.LogCache does, but so many octets at the most.
type cachedLog struct {
	raft.LogStore

	mu     sync.RWMutex
	ring   [logCache]*raft.Log
	oldest uint64 // index from which on ring may hold entries, without gaps
	next   uint64 // behind the newest
	octets int
}

func newCachedLog(of raft.LogStore) *cachedLog { return &cachedLog{LogStore: of} }

// IsMonotonic is raft.MonotonicLogStore: what is beneath decides.
func (c *cachedLog) IsMonotonic() bool {
	m, ok := c.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

func (c *cachedLog) GetLog(index uint64, log *raft.Log) error {
	c.mu.RLock()
	e := c.ring[index%logCache]
	c.mu.RUnlock()
	if e != nil && e.Index == index {
		*log = *e
		return nil
	}
	return c.LogStore.GetLog(index, log)
}

func (c *cachedLog) StoreLog(log *raft.Log) error { return c.StoreLogs([]*raft.Log{log}) }

func (c *cachedLog) StoreLogs(logs []*raft.Log) error {
	if err := c.LogStore.StoreLogs(logs); err != nil {
		return err // what is beneath says it all
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range logs {
		c.keep(l)
	}
	return nil
}

func (c *cachedLog) DeleteRange(low, high uint64) error {
	c.mu.Lock()
	c.clear()
	c.mu.Unlock()
	return c.LogStore.DeleteRange(low, high)
}

func (c *cachedLog) keep(l *raft.Log) {
	if l.Index != c.next { // after a snapshot or in the place of entries that were not committed
		c.clear()
		c.oldest = l.Index
	}
	c.next = l.Index + 1
	c.octets += len(l.Data)
	for c.next-c.oldest > logCache || c.octets > logCacheBytes && c.oldest < l.Index {
		c.drop(c.oldest)
		c.oldest++
	}
	c.ring[l.Index%logCache] = l
}

func (c *cachedLog) drop(index uint64) {
	at := &c.ring[index%logCache]
	c.octets -= len((*at).Data)
	*at = nil
}

func (c *cachedLog) clear() {
	clear(c.ring[:])
	c.oldest, c.next, c.octets = 0, 0, 0
}
