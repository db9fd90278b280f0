package main

import (
	"context"
	"encoding/json"

	"github.com/eider-dns/eider/cluster/admin"
)

// status is what this node knows of itself, without asking anyone.
func (n *node) status() admin.NodeStatus {
	st := admin.NodeStatus{Role: "starting", Staleness: -1, RaftAddr: n.settings.node.RaftLoc}
	if c := n.late.get(); c != nil {
		st = admin.StatusOf(c.Status())
	}
	st.ID = n.settings.node.ID
	st.Applied, st.Checkpointed = n.store.Applied(), n.store.Durable().Index
	if since := n.since.Load(); since != nil {
		st.AnsweringSince = *since
		for _, a := range n.dns.Addrs() {
			st.QueryAddrs = append(st.QueryAddrs, a.String())
		}
	}
	st.Stale = n.stale != nil && n.stale.beyond.Load()
	if n.keys != nil {
		st.CertificateExpires, st.CAExpires = n.keys.Expiry()
	}
	if fsm := n.fsm.Load(); fsm != nil {
		if f := fsm.Stats(); f.Halted != "" {
			st.Error = f.Halted
		} else if f.FoldError != "" {
			st.Troubles = append(st.Troubles, storeFile+" cannot be written: "+f.FoldError+"; changes stay in memory and in the log")
		}
	}
	return st
}

// report is what the other nodes are told of this one.
func (n *node) report() []byte {
	b, err := json.Marshal(n.admin.Status())
	if err != nil {
		return nil // nothing in it can fail to encode
	}
	return b
}

// nodes asks every node of the cluster, this one too.
func (n *node) nodes(ctx context.Context) []admin.NodeStatus {
	c := n.late.get()
	if c == nil {
		return []admin.NodeStatus{n.admin.Status()}
	}
	return admin.NodesOf(c.ClusterStatus(ctx))
}
