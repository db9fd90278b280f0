package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/eider-dns/eider/checkpoint"
	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/cluster/admin/metrics"
	"github.com/eider-dns/eider/cluster/pki"
	"github.com/eider-dns/eider/cluster/secrets"
	"github.com/eider-dns/eider/cluster/tokens"
	"github.com/eider-dns/eider/nameserver"
	"github.com/eider-dns/eider/nameserver/access"
	"github.com/eider-dns/eider/nameserver/catalog"
	"github.com/eider-dns/eider/nameserver/notify"
	"github.com/eider-dns/eider/nameserver/secondary"
	"github.com/eider-dns/eider/nameserver/transfer"
	"github.com/eider-dns/eider/nameserver/update"
	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
)

// storeFile is the checkpoint within the data directory.
const storeFile = "store.db"

// settleTime is how long a node does not answer at a start, at the most, for the
// entries that were applied before a crash to be applied again, so that it
// does not answer from further back than it did. That is a fraction of a second; five
// nodes killed at once on two busy cores took more than one. Past it, old answers are better than
// none. A node whose checkpoint holds all it had applied answers at once.
const settleTime = 5 * time.Second

// node is the parts of a running node, in the order they start.
type node struct {
	settings  *settings
	log       *slog.Logger
	store     *store.Store
	audit     *admin.Audit
	keys      *pki.Keeper // certificates; nil without "tls"
	dns       *nameserver.Server
	secret    *access.Secret
	access    *access.Cache
	updates   *update.Server
	transfers *transfer.Server
	notifies  *notify.Sender
	secrets   *secrets.Keeper
	puller    *secondary.Puller
	catalogs  *catalog.Follower
	admin     *admin.Server
	http      *metrics.Listener // nil without http_loc
	fsm       atomic.Pointer[checkpoint.FSM]
	late      *lateProposer
	stale     *staleWatch
	since     atomic.Pointer[time.Time] // answering since
	backups   *backups                  // nil without a schedule
	found     *cluster.Inspection       // of the data folder
}

func newNode(s *settings) *node {
	secret := access.NewSecret(s.config.SecretFile)
	return &node{settings: s, late: newLateProposer(), log: s.log.With(slog.String("node", s.node.ID)), secret: secret, access: access.NewCache(secret)}
}

// start starts in the order that has queries answered first: the store as the
// disk holds it, then the sockets, then the view in memory, then Raft.
func (n *node) start(ctx context.Context) error {
	s := n.settings
	for _, w := range s.config.Warnings() {
		n.log.Warn("unwise config", slog.String("why", w))
	}
	for _, dir := range []string{s.node.DataDir, s.node.LogDir(s.node.DataDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	var err error
	if n.audit, err = admin.OpenAudit(s.node.ID, s.node.AuditFile, n.log); err != nil {
		return err
	}
	n.late.audit = n.audit
	if n.keys, err = openKeys(s, n.log); err != nil {
		return err
	}
	if err := n.openFiles(); err != nil {
		n.closeKeys()
		return err
	}
	if err := n.listen(ctx); err != nil {
		return errors.Join(err, n.abandon())
	}
	settled := make(chan error, 1)
	go func() { settled <- n.join(ctx) }()
	if cluster.AppliedBefore(s.node.DataDir) > n.store.Durable().Index {
		timer := time.NewTimer(settleTime)
		defer timer.Stop()
		select {
		case err = <-settled:
			settled <- err
		case <-timer.C:
			n.log.Warn("answering from the checkpoint while later changes are applied again", slog.Uint64("index", n.store.Applied()))
		}
	}
	if err == nil {
		n.secrets.Look() // the first answer takes the cookies of before
		now := time.Now()
		n.since.Store(&now)
		go n.serve()
		n.log.Info("answering", slog.Any("addrs", n.dns.Addrs()), slog.Uint64("index", n.store.Applied()))
		err = <-settled
	}
	if err != nil {
		return errors.Join(err, n.abandon())
	}
	return nil
}

// abandon stops a node that did not come up.
func (n *node) abandon() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	return n.stop(ctx)
}

// serve answers queries until the server is shut down.
func (n *node) serve() {
	if len(n.settings.node.QueryLoc) == 0 {
		return // a tie-breaker votes and holds everything, and answers nothing
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go keepPlaces(ctx, n.dns.Stats)
	if err := n.dns.Serve(); err != nil {
		n.log.Error("answering ended", slog.Any("err", err))
	}
}

// listen opens all sockets, so that a port in use ends the start before anything
// is changed; it answers nothing yet but the admin socket.
func (n *node) listen(ctx context.Context) (err error) {
	s := n.settings
	n.transfers, n.notifies = n.newTransfers(), n.newNotifies()
	n.updates = update.New(update.Options{
		View: func() update.View { return n.store.View() }, Access: n.access, Propose: n.late.Propose, Log: n.log,
	})
	if n.dns, err = nameserver.New(nameserver.Options{
		Addrs: s.node.QueryLoc, View: func() nameserver.View { return n.store.View() },
		Identity: s.node.ID, Version: "eider " + buildVersion(),
		MaxUDP: s.config.Limits.UDPSize, UDPWorkers: s.config.Limits.Workers, WorkerNice: s.config.Limits.WorkerNice,
		MaxTCP: s.config.Limits.TCPConnections, MaxTCPPerPrefix: s.config.Limits.TCPPerClient,
		RateLimit: nameserver.RateLimit{Rate: s.config.Limits.RRL, Slip: s.config.Limits.RRLSlip, Exempt: s.config.Limits.RRLExempt},
		Allow:     s.config.QueryACL.Allow, Deny: s.config.QueryACL.Deny,
		Guards: guards, Access: n.accessNow, CatchUp: n.catchUpToAnswer, Transfer: n.transfers.Handle, Update: n.updates.Handle,
		Notify: func(packet []byte, from netip.AddrPort, tcp bool) []byte { return n.puller.Notify(packet, from, tcp) },
		Left:   n.left,
		Stale:  staleOptions(s.node.Stale), Log: n.log,
	}); err != nil {
		return err
	}
	n.stale = n.watchStale()
	if err = n.dns.Listen(ctx); err != nil {
		return err
	}
	n.secrets = n.keepSecrets()
	n.puller = n.pullZones()
	n.catalogs = catalog.Open(catalog.Options{View: func() catalog.View { return n.store.View() }, Propose: n.late.Propose, Leading: n.leading, Log: n.log})
	if n.admin, err = admin.New(admin.Options{
		Proposer: n.late, Reader: n.settledView,
		Wait: n.late.WaitApplied, ReadIndex: n.late.ReadIndex, Local: n.status, Nodes: n.nodes, Queries: func() uint64 { s := n.dns.Stats(); return s.Total() },
		RotateCookies: n.secrets.Rotate, Members: n.late, Puller: n.puller, Catalogs: n.catalogs, Backup: n.writeBackup,
		Tokens:  &tokens.Keeper{View: func() tokens.Reader { return n.store.View() }, Propose: n.late.Propose, CatchUp: n.catchUpToEdit},
		Access:  &access.Editor{Secret: n.secret, View: func() access.View { return n.store.View() }, Propose: n.late.Propose, CatchUp: n.catchUpToEdit},
		Version: buildVersion(), AutoZone: s.config.AutoZone, Timeout: s.config.Timeouts.Propose, Log: n.log,
	}); err != nil {
		return err
	}
	n.backups = n.keepBackups()
	if s.node.OperatorLoc != "" {
		if _, err = n.admin.ListenRemote(s.node.OperatorLoc, n.keys); err != nil {
			return err
		}
	}
	if _, err = n.admin.Listen(s.node.AdminLoc); err != nil || s.node.HTTPLoc == "" {
		return err
	}
	n.http, err = metrics.Listen(s.node.HTTPLoc, metrics.Sources{
		Queries: n.dns.Stats, Transfers: n.transfers.Stats, Notifies: n.notifies.Stats, Pulls: n.puller.Stats, Catalogs: n.catalogs.Stats, Status: n.admin.Status, State: n.stateFigures, Port: n.portFigures, Backups: n.backupFigures,
		Version: buildVersion(), Commit: thisBuild().Commit, Go: runtime.Version(),
	}, n.readiness, n.metricsGuard())
	return err
}

// pullZones has this node pull the secondary zones while it leads.
func (n *node) pullZones() *secondary.Puller {
	return secondary.Open(secondary.Options{
		View: func() secondary.View { return n.store.View() }, Access: n.access, Propose: n.late.Propose,
		Leading: n.leading, Expired: n.dns.SetDown, Memory: n.settings.config.Limits.PullMemory,
		Tell: func(ctx context.Context, note []byte) error {
			c := n.late.get()
			if c == nil {
				return errors.New("this node is still starting")
			}
			return c.Tell(ctx, note)
		},
		Log: n.log,
	})
}

// settledView is what the operator's side reads: nothing before queries are answered, so that it does not
// show less than it did before the node was killed.
func (n *node) settledView() admin.Reader {
	if n.since.Load() == nil {
		return nil
	}
	return n.store.View()
}

// keepSecrets has the keys of cookies follow the store, from now on.
func (n *node) keepSecrets() *secrets.Keeper {
	return secrets.Open(secrets.Options{
		Proposer: n.late,
		Leading:  n.leading,
		Setting: func() []byte {
			v := n.store.View()
			defer v.Close()
			return bytes.Clone(v.Setting(record.SettingCookies))
		},
		Publish: func(k secrets.Keys) {
			n.dns.SetCookieSecrets(nameserver.CookieSecrets{
				Previous: nameserver.CookieSecret(k.Previous), Current: nameserver.CookieSecret(k.Current), Next: nameserver.CookieSecret(k.Next),
			})
		},
		Log: n.log,
	})
}

// stateFigures are those of the state machine, once there is one.
func (n *node) stateFigures() (checkpoint.Stats, bool) {
	fsm := n.fsm.Load()
	if fsm == nil {
		return checkpoint.Stats{}, false
	}
	return fsm.Stats(), true
}

// join builds the view in memory, makes the state machine over it, and starts Raft.
func (n *node) join(ctx context.Context) error {
	s := n.settings
	if err := n.store.Load(ctx); err != nil {
		return err
	}
	fsm, err := checkpoint.New(n.store, checkpoint.Options{
		Dir: s.node.DataDir, Observe: n.observe, VerifyEvery: s.config.Limits.VerifyEvery, Keep: n.keepDamaged, Log: n.log,
		Failed: func(err error) { cluster.MakeRoom(s.node.DataDir, err, n.log) },
	})
	if err != nil {
		return err
	}
	n.fsm.Store(fsm)
	c, err := cluster.Open(ctx, cluster.Options{
		ID: s.node.ID, Config: s.config, Dir: s.node.DataDir,
		Told: n.puller.Told, StateMachine: fsm, Snapshots: fsm.Snapshots(), Report: n.report, Log: s.log, Keys: n.keys, Found: n.found,
		Tuning: cluster.Tuning{
			TrailingEntries: uint64(s.config.Limits.TrailingEntries), SnapshotEntries: uint64(s.config.Limits.SnapshotEntries),
			KeepEntries: min(uint64(s.config.Limits.TrailingEntries), cluster.DefaultKeepEntries),
		},
	})
	if err != nil {
		return err
	}
	n.late.set(c)
	return nil
}

// stop ends a node in the order that loses nothing: no new queries, leadership
// handed over, a last checkpoint, files closed.
func (n *node) stop(ctx context.Context) error {
	var errs []error
	n.log.Info("stopping")
	if n.http != nil {
		errs = append(errs, n.http.Close())
	}
	if n.admin != nil {
		errs = append(errs, n.admin.Close())
	}
	if n.updates != nil {
		n.updates.Close() // what waits for a decision gets no answer, and asks another node
	}
	if n.transfers != nil {
		n.transfers.Close() // a secondary that got part of a zone asks another node
		n.notifies.Close()
	}
	if n.catalogs != nil {
		n.catalogs.Close() // whoever leads next goes on
	}
	if n.puller != nil {
		n.puller.Close() // so does it
	}
	if n.backups != nil {
		n.backups.close()
	}
	if n.secrets != nil {
		n.secrets.Close() // it proposes, and reads the store
	}
	if c := n.late.get(); c != nil {
		errs = append(errs, c.Shutdown(ctx))
	}
	if fsm := n.fsm.Load(); fsm != nil {
		errs = append(errs, fsm.Close())
	}
	if n.stale != nil {
		n.stale.close()
	}
	if n.dns != nil {
		errs = append(errs, n.dns.Shutdown(ctx))
	}
	n.closeKeys()
	errs = append(errs, n.audit.Close())
	errs = append(errs, n.store.Close())
	n.log.Info("stopped")
	return errors.Join(errs...)
}
