// Package metrics shows a node to monitoring: Prometheus metrics, health and
// readiness, and profiles, on an HTTP listener of its own.
//
// All figures are read when they are asked for; nothing runs on the way of a
// query or of a change. It lives apart from package admin so that what only asks
// a node does not carry the Prometheus library along.
//
// It must never change anything: every path is a GET.
package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/eider-dns/eider/checkpoint"
	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/nameserver"
	"github.com/eider-dns/eider/nameserver/catalog"
	"github.com/eider-dns/eider/nameserver/notify"
	"github.com/eider-dns/eider/nameserver/secondary"
	"github.com/eider-dns/eider/nameserver/transfer"
)

// Sources are where the figures come from. What is nil is left out. They are
// called from any goroutine, and must not block.
type Sources struct {
	Queries func() nameserver.Stats
	Status  func() admin.NodeStatus // of this node

	Transfers func() transfer.Stats
	Notifies  func() notify.Stats
	Pulls     func() secondary.Stats
	Catalogs  func() catalog.Stats

	State   func() (checkpoint.Stats, bool)
	Backups func() (last int64, failed uint64, ok bool) // scheduled ones: when the newest was made, Unix seconds; how many failed
	Port    func() (PortStats, bool)                    // of the cluster port, once it is open
	Version string
	Commit  string
	Go      string
}

// PortStats are figures of the cluster port and its certificates.
type PortStats struct {
	Strangers     map[string]uint64 // connections turned away, by reason
	FailedReloads uint64            // of certificates
	Operators     uint64            // requests at the operators' port nobody proved to be allowed
}

// collector reads Sources at each scrape.
type collector struct{ from Sources }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("eider_"+name, help, labels, nil)
}

var (
	repliesDesc   = desc("dns_replies_total", "Replies to DNS queries.", "transport", "type", "rcode")
	droppedDesc   = desc("dns_dropped_total", "Packets that got no reply.", "reason")
	truncatedDesc = desc("dns_truncated_total", "Replies with the TC bit.")
	slippedDesc   = desc("dns_rate_limited_replies_total", "Replies over the rate limit that went out truncated, or as they were if errors; those left out are dropped for reason rate.")
	cookiesDesc   = desc("dns_valid_cookies_total", "Queries with a valid server cookie.")
	kernelDesc    = desc("dns_kernel_dropped_total", "UDP packets the kernel dropped at the sockets, for want of room.")
	heldOffDesc   = desc("dns_held_off_prefixes", "Client prefixes whose flood the kernel drops before it fills the sockets.")
	workersDesc   = desc("dns_udp_workers", "Threads that answer UDP, by what the system prefers them to other threads by: nice, slice, both or nothing.", "ahead_by")
	updatesDesc   = desc("dns_updates_total", "UPDATE messages: taken to be worked on, or dropped for want of a place.", "event")
	panicsDesc    = desc("dns_panics_total", "Queries that ended in a recovered panic.")
	latencyDesc   = desc("dns_latency_seconds", "Time from parse to reply of a sample of the queries (1 in 1024); the sum is estimated from the buckets.")
	tcpOpenDesc   = desc("dns_tcp_connections", "TCP connections open now.")
	tcpDesc       = desc("dns_tcp_connections_total", "TCP connections by what became of them.", "event")

	leaderDesc       = desc("raft_leader", "1 if this node leads.")
	leaderKnownDesc  = desc("raft_leader_known", "1 if this node knows a leader.")
	roleDesc         = desc("raft_role", "1 for the role this node has.", "role")
	voterDesc        = desc("raft_voter", "1 if this node has a vote.")
	membersDesc      = desc("cluster_nodes", "Nodes of the cluster as this one knows it, by whether they vote.", "vote")
	epochDesc        = desc("cluster_epoch", "How often the cluster was recovered after the loss of a majority.")
	termDesc         = desc("raft_term", "Raft term.")
	commitDesc       = desc("raft_commit_index", "Index of the last entry known to be committed.")
	divergedDesc     = desc("diverged", "1 if the leader found that this node's content is not that of the others at the same index.")
	leftBehindDesc   = desc("left_behind", "1 if the cluster was recovered without this node's disk, so that it answers from before that.")
	troublesDesc     = desc("disk_troubles", "Kinds of files the disk takes no writes to now, while the node goes on answering; cluster status names them.")
	asideDesc        = desc("files_set_aside", "Files of the data folder that were damaged or another's, and were put aside since the start of the process.")
	appliedDesc      = desc("applied_index", "Index of the last entry the answers come from.")
	checkpointedDesc = desc("checkpointed_index", "Index of the last entry that is durable in the store.")
	logFirstDesc     = desc("raft_log_first_index", "Index of the first entry in the log.")
	logLastDesc      = desc("raft_log_last_index", "Index of the last entry in the log.")
	stalenessDesc    = desc("staleness_seconds", "Time since this node last heard of a leader; 0 on the leader, -1 if never.")
	staleDesc        = desc("stale", "1 while answers, or those of some zone, are beyond stale_limit.")
	zonesDesc        = desc("zones", "Zones this node answers for.")
	answeringDesc    = desc("answering_since_seconds", "When this node began to answer, Unix time; 0 if it does not yet.")

	entriesDesc     = desc("apply_entries_total", "Log entries applied.")
	changesDesc     = desc("apply_changes_total", "Changes applied, the refused ones among them.")
	refusedDesc     = desc("apply_refused_total", "Changes a rule refused.")
	applyTimeDesc   = desc("apply_seconds_total", "Time spent applying.")
	backupDesc      = desc("backup_last_success_timestamp_seconds", "When the newest scheduled backup was made; 0: none yet.")
	backupFailsDesc = desc("backup_failures_total", "Scheduled backups that failed.")
	rewritesDesc    = desc("store_rewrites_total", "Times the store's file was found damaged while the node ran, and was written anew from memory.")
	foldsDesc       = desc("checkpoint_folds_total", "Folds of applied changes into the store's file.", "outcome")
	foldTimeDesc    = desc("checkpoint_fold_seconds_total", "Time spent folding.")
	unfoldedDesc    = desc("checkpoint_unfolded_changes", "Applied changes that are in memory and the log only.")
	snapshotsDesc   = desc("raft_snapshots_total", "Raft snapshots given to and taken from other nodes.", "direction")
	haltedDesc      = desc("state_machine_halted", "1 if the state machine met an entry it cannot apply, and stopped.")
	strangersDesc   = desc("cluster_port_refused_total", "Connections the cluster port turned away.", "reason")
	certEndDesc     = desc("tls_certificate_expires_seconds", "When a certificate of the cluster port ends, Unix time.", "of")
	operatorsDesc   = desc("operator_refused_total", "Connections and requests at the operators' port that did not prove to be allowed.")
	reloadsDesc     = desc("tls_reload_failures_total", "Changes of the certificates' files that could not be taken over.")
	buildDesc       = desc("build_info", "1, with the build in the labels.", "version", "commit", "go")
	allDescs        = []*prometheus.Desc{repliesDesc, droppedDesc, truncatedDesc, slippedDesc, cookiesDesc, kernelDesc, heldOffDesc, workersDesc, updatesDesc, panicsDesc, latencyDesc, tcpOpenDesc, tcpDesc, leaderDesc, leaderKnownDesc, roleDesc, voterDesc, membersDesc, epochDesc, termDesc, commitDesc, divergedDesc, leftBehindDesc, troublesDesc, asideDesc, appliedDesc, checkpointedDesc, logFirstDesc, logLastDesc, stalenessDesc, staleDesc, zonesDesc, answeringDesc, entriesDesc, changesDesc, refusedDesc, applyTimeDesc, foldsDesc, rewritesDesc, foldTimeDesc, unfoldedDesc, snapshotsDesc, backupDesc, backupFailsDesc, haltedDesc, strangersDesc, certEndDesc, operatorsDesc, reloadsDesc, buildDesc}
	statesReported  = []string{"leader", "follower", "candidate", "starting"}
)

// NewRegistry is a registry of its own with the node's metrics and those of the
// Go runtime and the process.
func NewRegistry(from Sources) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(&collector{from}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range slices.Concat(transferDescs, secondaryDescs, catalogDescs, allDescs) {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	out := sink{ch}
	out.gauge(buildDesc, 1, c.from.Version, c.from.Commit, c.from.Go)
	if c.from.Queries != nil {
		out.queries(c.from.Queries())
	}
	if c.from.Transfers != nil {
		out.transfers(c.from.Transfers())
	}
	if c.from.Pulls != nil {
		out.secondaries(c.from.Pulls())
	}
	if c.from.Catalogs != nil {
		out.catalogs(c.from.Catalogs())
	}
	if c.from.Notifies != nil {
		out.notifies(c.from.Notifies())
	}
	if c.from.Status != nil {
		out.status(c.from.Status())
	}
	if c.from.State != nil {
		if st, ok := c.from.State(); ok {
			out.state(st)
		}
	}
	if c.from.Backups != nil {
		if last, failed, ok := c.from.Backups(); ok {
			out.gauge(backupDesc, float64(last))
			out.counter(backupFailsDesc, float64(failed))
		}
	}
	if c.from.Port != nil {
		if st, ok := c.from.Port(); ok {
			for reason, n := range st.Strangers {
				out.counter(strangersDesc, float64(n), reason)
			}
			out.counter(operatorsDesc, float64(st.Operators))
			out.counter(reloadsDesc, float64(st.FailedReloads))
		}
	}
}

// sink sends metrics of known descriptions.
type sink struct{ ch chan<- prometheus.Metric }

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

func (s sink) queries(q nameserver.Stats) {
	for _, r := range q.Replies {
		s.counter(repliesDesc, float64(r.Count), r.Transport.String(), r.Type, r.Rcode)
	}
	for reason, n := range q.Dropped {
		s.counter(droppedDesc, float64(n), reason)
	}
	s.counter(truncatedDesc, float64(q.Truncated))
	s.counter(panicsDesc, float64(q.Panics))
	s.counter(slippedDesc, float64(q.Slipped))
	s.counter(cookiesDesc, float64(q.Cookies))
	if q.HasKernel {
		s.counter(kernelDesc, float64(q.KernelDropped))
		s.gauge(heldOffDesc, float64(q.HeldOff))
	}
	for by, n := range q.Workers {
		s.gauge(workersDesc, float64(n), by)
	}
	s.counter(updatesDesc, float64(q.Updates), "taken")
	s.counter(updatesDesc, float64(q.UpdatesDropped), "dropped")
	s.asides(&q)
	s.gauge(tcpOpenDesc, float64(q.TCP.Open))
	s.counter(tcpDesc, float64(q.TCP.Accepted), "accepted")
	s.counter(tcpDesc, float64(q.TCP.Evicted), "evicted")
	s.counter(tcpDesc, float64(q.TCP.Refused), "refused")
	s.ch <- latency(q.Latency[:])
}

// latency makes a histogram of counts: counts[i] took less than 2^i microseconds
// and at least half of that, the last one longer.
func latency(counts []uint64) prometheus.Metric {
	buckets := make(map[float64]uint64, len(counts))
	var total uint64
	var sum float64
	for i, n := range counts {
		total += n
		bound := float64(uint64(1)<<i) * time.Microsecond.Seconds()
		sum += float64(n) * bound * 3 / 4 // the middle of the bucket
		if i < len(counts)-1 {
			buckets[bound] = total
		}
	}
	return prometheus.MustNewConstHistogram(latencyDesc, total, sum, buckets)
}

func (s sink) status(st admin.NodeStatus) {
	s.gauge(leaderDesc, flag(st.Role == "leader"))
	s.gauge(leaderKnownDesc, flag(st.Leader != ""))
	for _, role := range statesReported {
		s.gauge(roleDesc, flag(st.Role == role), role)
	}
	s.gauge(voterDesc, flag(st.Voter))
	s.gauge(membersDesc, float64(st.Voters), "yes")
	s.gauge(membersDesc, float64(st.NonVoters), "no")
	s.gauge(epochDesc, float64(st.Epoch))
	s.gauge(termDesc, float64(st.Term))
	s.gauge(commitDesc, float64(st.Commit))
	s.gauge(divergedDesc, flag(st.Diverged > 0))
	s.gauge(leftBehindDesc, flag(st.LeftBehind > 0))
	s.gauge(troublesDesc, float64(len(st.Troubles)))
	s.gauge(asideDesc, float64(len(st.SetAside)))
	s.gauge(appliedDesc, float64(st.Applied))
	s.gauge(checkpointedDesc, float64(st.Checkpointed))
	s.gauge(logFirstDesc, float64(st.LogFirst))
	s.gauge(logLastDesc, float64(st.LogLast))
	s.gauge(stalenessDesc, st.Staleness)
	s.gauge(staleDesc, flag(st.Stale))
	s.gauge(zonesDesc, float64(st.Zones))
	if !st.CertificateExpires.IsZero() {
		s.gauge(certEndDesc, float64(st.CertificateExpires.Unix()), "node")
		s.gauge(certEndDesc, float64(st.CAExpires.Unix()), "ca")
	}
	since := 0.0
	if !st.AnsweringSince.IsZero() {
		since = float64(st.AnsweringSince.UnixMilli()) / 1000
	}
	s.gauge(answeringDesc, since)
}

func (s sink) state(st checkpoint.Stats) {
	s.counter(entriesDesc, float64(st.Entries))
	s.counter(changesDesc, float64(st.Changes))
	s.counter(refusedDesc, float64(st.Refused))
	s.counter(applyTimeDesc, st.ApplyTime.Seconds())
	s.counter(rewritesDesc, float64(st.Rewrites))
	s.counter(foldsDesc, float64(st.Folds), "ok")
	s.counter(foldsDesc, float64(st.FoldErrors), "error")
	s.counter(foldTimeDesc, st.FoldTime.Seconds())
	s.gauge(unfoldedDesc, float64(st.Unfolded))
	s.counter(snapshotsDesc, float64(st.SnapshotsOut), "out")
	s.counter(snapshotsDesc, float64(st.SnapshotsIn), "in")
	s.gauge(haltedDesc, flag(st.Halted != ""))
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
