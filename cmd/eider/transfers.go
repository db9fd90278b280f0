package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/nameserver/notify"
	"github.com/eider-dns/eider/nameserver/transfer"
	"github.com/eider-dns/eider/store/record"
)

// catchUpTime is how long a signed transfer or SOA question waits for this node to
// show what the cluster had decided before. A healthy cluster takes milliseconds; without a
// quorum the answer is what this node has.
const catchUpTime = time.Second

// newTransfers makes what answers AXFR and IXFR from this node's views.
func (n *node) newTransfers() *transfer.Server {
	rate := n.settings.config.Limits.TransferRate
	if rate == 0 {
		rate = -1 // no bound
	}
	return transfer.New(transfer.Options{
		View: func() transfer.View { return n.store.View() }, Access: n.access, CatchUp: n.catchUpToAnswer,
		Down: func(zone uint32) bool { return n.dns.Down(zone) }, Left: n.left,
		Max: n.settings.config.Limits.Transfers, Rate: rate, MaxUDP: n.settings.config.Limits.UDPSize, Log: n.log,
	})
}

// left is how long a secondary zone is still good for.
func (n *node) left(zone uint32) (seconds uint32, ok bool) { return n.puller.Left(zone) }

// catchUp waits until this node shows every change that was answered before the call
// anywhere in the cluster, or for so long at the most.
func (n *node) catchUp(ctx context.Context, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if _, err := n.late.ReadIndex(ctx); err != nil {
		n.log.Debug("going by what this node has", slog.Any("err", err))
	}
}

// catchUpToAnswer is for signed transfers and SOA questions.
func (n *node) catchUpToAnswer() { n.catchUp(context.Background(), catchUpTime) }

// catchUpToEdit is for who changes what all nodes share, and can wait as long as for the change itself.
func (n *node) catchUpToEdit(ctx context.Context) { n.catchUp(ctx, n.settings.config.Timeouts.Propose) }

// accessNow is the keys and rules of now.
func (n *node) accessNow() *access.Snapshot {
	v := n.store.View()
	defer v.Close()
	return n.access.At(v)
}

// observe is told what was applied, before those who wait for it are.
func (n *node) observe(zones []record.ZoneSerial, more bool) {
	n.puller.Changed(zones, more)
	n.notifies.Changed(zones, more)
}

// newNotifies makes what tells secondaries of changes, while this node leads.
func (n *node) newNotifies() *notify.Sender {
	return notify.New(notify.Options{
		View: func() notify.View { return n.store.View() }, Access: n.accessNow, Leading: n.leading,
		Own: ownAddrs(n.settings.config.Nodes), Log: n.log,
	})
}

// leading tells whether this node leads now.
func (n *node) leading() bool {
	c := n.late.get()
	return c != nil && c.IsLeader()
}

// ownAddrs are the addresses the nodes answer at. One that listens at all its addresses is taken to have
// the one the others reach it at.
func ownAddrs(nodes []config.Node) (out []netip.AddrPort) {
	for _, node := range nodes {
		raftHost, _, _ := net.SplitHostPort(node.RaftLoc)
		for _, loc := range node.QueryLoc {
			host, port, err := net.SplitHostPort(loc)
			if a, parseErr := netip.ParseAddr(host); host == "" || parseErr == nil && a.IsUnspecified() {
				host = raftHost
			}
			addr, parseErr := netip.ParseAddrPort(net.JoinHostPort(host, port))
			if err == nil && parseErr == nil {
				out = append(out, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))
			}
		}
	}
	return out
}
