package config

import (
	"bytes"
	"encoding/json"
	"net/netip"
)

// MarshalJSON writes the effective configuration in the form of the file, defaults
// included; Parse reads it back to an equal Config.
func (c *Config) MarshalJSON() ([]byte, error) {
	type node struct {
		RaftLoc  string            `json:"raft_loc"`
		Listen   string            `json:"raft_listen,omitempty"`
		QueryLoc any               `json:"query_loc"`
		AdminLoc string            `json:"admin_loc,omitempty"`
		Operator string            `json:"operator_loc,omitempty"`
		HTTPLoc  string            `json:"http_loc,omitempty"`
		DataDir  string            `json:"data_dir,omitempty"`
		RaftDir  string            `json:"raft_dir,omitempty"`
		LogStore string            `json:"log_store,omitempty"`
		Audit    string            `json:"audit_file,omitempty"`
		CertFile string            `json:"cert_file,omitempty"`
		KeyFile  string            `json:"key_file,omitempty"`
		Voter    bool              `json:"voter"`
		Labels   map[string]string `json:"labels,omitempty"`
		Stale    string            `json:"stale_limit,omitempty"`
		Answer   string            `json:"stale_answer,omitempty"`
	}
	var nodes bytes.Buffer // by hand, since a map would lose the order of ids
	nodes.WriteByte('{')
	for i, n := range c.Nodes {
		var query any = n.QueryLoc
		if len(n.QueryLoc) == 1 {
			query = n.QueryLoc[0]
		}
		key, err := json.Marshal(n.ID)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(node{n.RaftLoc, n.RaftListen, query, n.AdminLoc, n.OperatorLoc, n.HTTPLoc, n.DataDir, n.RaftDir, n.LogStore, n.AuditFile, n.CertFile, n.KeyFile, n.Voter, n.Labels, n.Stale.limit(), n.Stale.Answer})
		if err != nil {
			return nil, err
		}
		if i > 0 {
			nodes.WriteByte(',')
		}
		nodes.Write(key)
		nodes.WriteByte(':')
		nodes.Write(value)
	}
	nodes.WriteByte('}')
	type timeouts struct {
		Propose     string `json:"propose"`
		Heartbeat   string `json:"heartbeat"`
		Election    string `json:"election"`
		LeaderLease string `json:"leader_lease"`
		Commit      string `json:"commit"`
	}
	type limits struct {
		UDPSize        int `json:"udp_size"`
		TCPConnections int `json:"tcp_connections"`
		TCPPerClient   int `json:"tcp_per_client"`
		Transfers      int `json:"transfers"`
		TransferRate   int `json:"transfer_rate"`
		PullMemory     int `json:"pull_memory"`
		Workers        int `json:"workers"`
		WorkerNice     int `json:"worker_nice"`

		TrailingEntries int `json:"trailing_entries"`
		SnapshotEntries int `json:"snapshot_entries"`

		VerifyEvery string `json:"verify_every"`

		RRL       int            `json:"rrl"`
		RRLSlip   int            `json:"rrl_slip"`
		RRLExempt []netip.Prefix `json:"rrl_exempt"`
	}
	type acl struct {
		Allow []netip.Prefix `json:"allow"`
		Deny  []netip.Prefix `json:"deny"`
	}
	type tls struct {
		CAFile string `json:"ca_file"`
	}
	var secure *tls
	if c.TLS() {
		secure = &tls{c.CAFile}
	}
	type backup struct {
		Dir   string `json:"dir"`
		Every string `json:"every"`
		Keep  int    `json:"keep"`
	}
	var kept *backup
	if b := c.Backup; b.Dir != "" {
		kept = &backup{b.Dir, b.Every.String(), b.Keep}
	}
	t, l := c.Timeouts, c.Limits
	return json.Marshal(struct {
		Cluster   string          `json:"cluster"`
		Nodes     json.RawMessage `json:"nodes"`
		AutoZone  bool            `json:"auto_zone"`
		Plaintext bool            `json:"plaintext"`
		TLS       *tls            `json:"tls,omitempty"`
		Join      []string        `json:"join,omitempty"`
		Expect    int             `json:"expect,omitempty"`
		HTTPAuth  bool            `json:"http_auth,omitempty"`
		Secret    string          `json:"secret_file,omitempty"`
		QueryACL  acl             `json:"query_acl"`
		Backup    *backup         `json:"backup,omitempty"`
		Timeouts  timeouts        `json:"timeouts"`
		Limits    limits          `json:"limits"`
	}{
		c.Cluster, nodes.Bytes(), c.AutoZone, c.Plaintext, secure, c.Join, c.Expect, c.HTTPAuth, c.SecretFile, acl(c.QueryACL), kept,
		timeouts{t.Propose.String(), t.Heartbeat.String(), t.Election.String(), t.LeaderLease.String(), t.Commit.String()},
		limits{
			l.UDPSize, l.TCPConnections, l.TCPPerClient, l.Transfers, l.TransferRate, l.PullMemory, l.Workers, l.WorkerNice,
			l.TrailingEntries, l.SnapshotEntries, l.VerifyEvery.String(), l.RRL, l.RRLSlip, l.RRLExempt,
		},
	})
}

// limit is the value of stale_limit, empty if there is none.
func (s Stale) limit() string {
	switch {
	case s.Expire:
		return staleExpire
	case s.Limit > 0:
		return s.Limit.String()
	}
	return ""
}
