package cluster_test

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/eider-dns/eider/cluster"
	"github.com/eider-dns/eider/cluster/clustertest"
	"github.com/eider-dns/eider/cluster/pki"
)

// A cluster under TLS does what one without does: changes everywhere, a killed
// leader, a wiped node, a snapshot installed.
func TestTLSCluster(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{TLS: true, Tuning: cluster.Tuning{KeepEntries: 20, TrailingEntries: 20, SnapshotEntries: 50}})
	leader := c.WaitLeader()
	for i := range 3 {
		propose(t, c.Node(i), 1)
	}
	c.Kill(leader)
	next := c.WaitLeader()
	for range 200 {
		propose(t, c.Node(next), 1)
	}
	c.Restart(leader) // behind the end of the log
	c.WaitEqual()
	at := follower(c)
	c.Kill(at)
	c.Wipe(at)
	c.Restart(at)
	c.WaitVoters(3)
	propose(t, c.Node(at), 1)
}

// Certificates and then the CA change one node after the other, under changes,
// without a restart. What the retired CA signed ends.
func TestTLSRotation(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{TLS: true})
	c.WaitLeader()
	ca := c.NewCA()
	c.Trust(ca, c.CA())
	c.Until("all nodes trust both CAs", func() error {
		for i := range 3 {
			if n := c.Keys(i).CAs(); n != 2 {
				return fmt.Errorf("node %d trusts %d", i, n)
			}
		}
		return nil
	})
	for i := range 3 {
		propose(t, c.Node(i), 1)
		c.Certify(ca, i, 2*time.Hour)
		c.Until("the certificate is in use", func() error {
			if cert, _ := c.Keys(i).Expiry(); time.Until(cert) < 90*time.Minute {
				return fmt.Errorf("node %d has one until %v", i, cert)
			}
			return nil
		})
		propose(t, c.Node(i), 1)
	}
	c.Trust(ca)
	c.Until("the old CA is gone", func() error {
		for i := range 3 {
			if n := c.Keys(i).CAs(); n != 1 {
				return fmt.Errorf("node %d trusts %d", i, n)
			}
		}
		return nil
	})
	c.WaitLeader()
	for i := range 3 {
		propose(t, c.Node(i), 1)
	}
	conn, err := knock(c, 0, issue(t, c.CA(), pki.Name{Cluster: "eider", Role: pki.RoleNode, ID: "9"}, time.Hour), nil)
	if err == nil {
		conn.Close()
		t.Error("a certificate of the retired CA was taken")
	}
}

func issue(t *testing.T, ca *pki.CA, name pki.Name, life time.Duration) *tls.Certificate {
	t.Helper()
	cert, key, err := ca.Issue(name, nil, time.Now(), life)
	if err != nil {
		t.Fatal(err)
	}
	return pair(cert, key)
}

func pair(cert *x509.Certificate, key crypto.Signer) *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// knock shakes hands with node i as a program that is no node would, asks for the
// join service as node "9", and reads the first octets of the answer.
func knock(c *clustertest.Cluster, i int, cert *tls.Certificate, change func(*tls.Config)) (net.Conn, error) {
	conf := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, NextProtos: []string{pki.ProtocolCluster}}
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	if change != nil {
		change(conf)
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: clustertest.Patience}, "tcp", c.Config.Nodes[i].RaftLoc, conf)
	if err != nil {
		return nil, err
	}
	if err := ask(conn, "9"); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// ask sends the first frame of the join service, which no one but a node may have answered.
func ask(conn net.Conn, id string) error {
	conn.SetDeadline(time.Now().Add(clustertest.Patience))
	frame := append([]byte("EIDR\x01j"), make([]byte, 16+8)...)
	incarnation := make([]byte, 16)
	rand.Read(incarnation)
	frame = append(append(frame, incarnation...), byte(len(id)))
	if _, err := conn.Write(append(frame, id...)); err != nil {
		return err
	}
	answer := make([]byte, 4)
	if _, err := conn.Read(answer); err != nil {
		return err
	}
	if string(answer) != "EIDR" {
		return fmt.Errorf("answered with %q", answer)
	}
	return nil
}

func TestTLSRefusals(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{TLS: true})
	leader := c.WaitLeader()
	before := c.Node(leader).Status()
	good := pki.Name{Cluster: "eider", Role: pki.RoleNode, ID: "9"}
	foreign, err := pki.NewCA("eider", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		rule   string
		cert   *tls.Certificate
		change func(*tls.Config)
		ok     bool
		reason string
	}{
		{"a node's certificate, under its own id", issue(t, c.CA(), good, time.Hour), nil, true, ""},
		{"another CA", issue(t, foreign, good, time.Hour), nil, false, "certificate"},
		{"expired", issue(t, c.CA(), good, -time.Minute), nil, false, "certificate"},
		{"an operator's", issue(t, c.CA(), pki.Name{Cluster: "eider", Role: pki.RoleOperator, ID: "9"}, time.Hour), nil, false, "certificate"},
		{"another node's", issue(t, c.CA(), pki.Name{Cluster: "eider", Role: pki.RoleNode, ID: "8"}, time.Hour), nil, false, "hello"},
		{"another cluster's, of the same CA", issue(t, c.CA(), pki.Name{Cluster: "other", Role: pki.RoleNode, ID: "9"}, time.Hour), nil, false, "certificate"},
		{"none", nil, nil, false, "tls"},
		{"TLS 1.2", issue(t, c.CA(), good, time.Hour), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, false, "tls"},
		{"another protocol", issue(t, c.CA(), good, time.Hour), func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }, false, "tls"},
		{"no protocol", issue(t, c.CA(), good, time.Hour), func(c *tls.Config) { c.NextProtos = nil }, false, "certificate"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			count := c.Node(leader).Strangers()[tt.reason]
			conn, err := knock(c, leader, tt.cert, tt.change)
			if err == nil {
				conn.Close()
			}
			if (err == nil) != tt.ok {
				t.Fatalf("answered: %v, want %v (%v)", err == nil, tt.ok, err)
			}
			if tt.ok {
				return
			}
			c.Until("it is counted", func() error {
				if now := c.Node(leader).Strangers(); now[tt.reason] == count {
					return fmt.Errorf("as %s, among %v", tt.reason, now)
				}
				return nil
			})
		})
	}
	t.Run("plain text", func(t *testing.T) {
		conn, err := net.Dial("tcp", c.Config.Nodes[leader].RaftLoc)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := ask(conn, "9"); err == nil {
			t.Error("answered")
		}
	})
	if after := c.Node(leader).Status(); after.Term != before.Term || after.State != "leader" {
		t.Errorf("before %+v, after %+v", before, after)
	}
	propose(t, c.Node(leader), 1)
}

// What a stranger may send before it is known is bounded, whatever TLS would take.
func TestTLSHandshakeIsBounded(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Nodes: 1, TLS: true})
	c.WaitLeader()
	cert := issue(t, c.CA(), pki.Name{Cluster: "eider", Role: pki.RoleNode, ID: "9"}, time.Hour)
	for len(cert.Certificate) < 100 {
		cert.Certificate = append(cert.Certificate, cert.Certificate[0])
	}
	conn, err := knock(c, 0, cert, nil)
	if err == nil {
		conn.Close()
		t.Error("a chain of 100 certificates was taken")
	}
}

// Without certificates nothing is ever spoken in plain text by a slip.
func TestTLSConfigWithoutKeysIsRefused(t *testing.T) {
	c := clustertest.Config(t, 1)
	c.CAFile = "ca.pem"
	m, err := clustertest.NewLedger(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Open(t.Context(), cluster.Options{ID: "0", Config: c, StateMachine: m.StateMachine, Snapshots: m.Snapshots, Dir: t.TempDir()}); err == nil {
		t.Error("opened")
	}
}
