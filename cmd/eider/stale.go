package main

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/nameserver"
	"github.com/eider-dns/eider/store/record"
)

// staleEvery is how often it is measured how stale this node is; limits are a second at least.
const staleEvery = 250 * time.Millisecond

// staleWatch tells the nameserver how stale the node is, so that no query reads a clock.
type staleWatch struct {
	n       *node
	began   time.Time
	stop    chan struct{}
	running sync.WaitGroup
	beyond  atomic.Bool // some answers are beyond their limit
}

func staleOptions(s config.Stale) nameserver.Stale {
	if s.Answer == config.StaleAnswer {
		return nameserver.Stale{}
	}
	return nameserver.Stale{Limit: s.Limit, Expire: s.Expire, Refuse: s.Answer == config.StaleServfail}
}

// watchStale measures once before it returns, so that the first answers are judged, too.
func (n *node) watchStale() *staleWatch {
	w := &staleWatch{n: n, began: time.Now(), stop: make(chan struct{})}
	w.look()
	w.running.Go(func() {
		tick := time.NewTicker(staleEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.look()
			case <-w.stop:
				return
			}
		}
	})
	return w
}

func (w *staleWatch) close() {
	close(w.stop)
	w.running.Wait()
}

func (w *staleWatch) look() {
	age := w.age()
	w.n.dns.SetStale(age)
	s := w.n.settings.node.Stale
	w.beyond.Store(s.Limit > 0 && age >= s.Limit || s.Expire && w.expired(age))
}

// age is how long ago this node was as new as the cluster; 0 if it never was, and has nothing to be stale.
func (w *staleWatch) age() time.Duration {
	if c := w.n.late.get(); c != nil {
		if d, ok := c.Staleness(); ok {
			return d
		}
	} else if at := cluster.LastContact(w.n.settings.node.DataDir); !at.IsZero() {
		return max(time.Since(at), 0)
	}
	if w.n.store.Applied() > 0 {
		return time.Since(w.began) // it has data of unknown age
	}
	return 0
}

// expired tells whether any zone is older than the EXPIRE of its SOA.
func (w *staleWatch) expired(age time.Duration) bool {
	if age < time.Second {
		return false
	}
	view := w.n.store.View()
	if view == nil {
		return false
	}
	defer view.Close()
	for z := range view.Zones() {
		for set := range view.RRsets(z.ID, "") {
			if !set.Owner.Equal(z.Apex) {
				break
			}
			if set.Type != record.TypeSOA || len(set.Data) == 0 || len(set.Data[0]) < 8 {
				continue
			}
			soa := set.Data[0]
			if age >= time.Duration(binary.BigEndian.Uint32(soa[len(soa)-8:]))*time.Second {
				return true
			}
			break
		}
	}
	return false
}
