package main

import (
	"fmt"
	"log/slog"

	"github.com/eider-dns/eider/cluster/admin/metrics"
	"github.com/eider-dns/eider/cluster/pki"
)

// openKeys reads the node's certificates and follows their files; nil without "tls".
func openKeys(s *settings, log *slog.Logger) (*pki.Keeper, error) {
	if !s.config.TLS() {
		return nil, nil
	}
	keys, err := pki.Open(pki.Options{
		Self:  pki.Name{Cluster: s.config.Cluster, Role: pki.RoleNode, ID: s.node.ID},
		Files: pki.Files{CA: s.config.CAFile, Cert: s.node.CertFile, Key: s.node.KeyFile},
		Log:   log,
	})
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return keys, nil
}

func (n *node) closeKeys() {
	if n.keys != nil {
		n.keys.Close()
	}
}

// hangUp is what SIGHUP asks for: files are read or opened again.
func (n *node) hangUp() {
	if n.keys != nil {
		_ = n.keys.Reload() // has logged what it has to say
	}
	if err := n.audit.Reopen(); err != nil {
		n.log.Error("audit file not opened anew, the old one stays in use", slog.Any("err", err))
	}
}

// metricsGuard is who may see metrics: anyone, unless the config says otherwise.
func (n *node) metricsGuard() *metrics.Guard {
	if !n.settings.config.HTTPAuth {
		return nil
	}
	return &metrics.Guard{TLS: n.keys.AdminServer(), Allow: n.admin.MayScrape}
}

// portFigures are those of the cluster port, once it is open.
func (n *node) portFigures() (metrics.PortStats, bool) {
	c := n.late.get()
	if c == nil {
		return metrics.PortStats{}, false
	}
	st := metrics.PortStats{Strangers: c.Strangers(), Operators: n.admin.Refused()}
	if n.keys != nil {
		st.FailedReloads = n.keys.Failed()
	}
	return st, true
}
