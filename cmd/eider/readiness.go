package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/eider-dns/eider/cluster/config"
)

// readiness has no error while this node may take queries: it answers, has had something to answer from, and
// nothing says that what it has is not the cluster's any more. Whether there is a quorum does not matter for that, nor what its
// disk takes: were either to take a node out of service, one cause could take all of them.
func (n *node) readiness() (but []string, err error) {
	switch {
	case n.since.Load() == nil:
		return nil, errors.New("not answering yet")
	case n.store.Applied() == 0:
		return nil, errors.New("no data yet: nothing of the cluster has reached this node")
	}
	st := n.status()
	stale := n.settings.node.Stale
	since := time.Duration(st.Staleness * float64(time.Second))
	refuses := stale.Answer == config.StaleServfail && stale.Limit > 0 && since >= stale.Limit // else it answers for some zones at least
	switch since = since.Round(time.Second); {
	case st.LeftBehind > 0:
		return nil, errors.New(st.Error)
	case st.Stale && refuses:
		return nil, fmt.Errorf("stale: no leader was heard of for %v, which is beyond stale_limit, so it answers SERVFAIL", since)
	case st.Stale:
		but = append(but, fmt.Sprintf("stale: no leader was heard of for %v, which is beyond stale_limit", since))
	}
	if st.Diverged > 0 {
		but = append(but, fmt.Sprintf("its content is not that of the other nodes, seen first at index %d", st.Diverged))
	}
	if st.Error != "" {
		but = append(but, st.Error)
	}
	return append(but, st.Troubles...), nil
}
