package main

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/config"
	"github.com/eider-dns/eider/cluster/pki"
	"github.com/eider-dns/eider/nameserver/access"
)

// initialOperator is whom the first operator certificate is for, unless --operator says another.
const initialOperator = "admin"

func clusterInitCommand() *cli.Command {
	return &cli.Command{
		Name:      "init",
		Usage:     "write all files of a new cluster: config, certificates, secret",
		ArgsUsage: "[DIR]",
		Description: example("Into DIR, by default this folder: cluster-config.json and secret.key, alike for all nodes, a CA with a certificate for each node,\nand one for an operator. Nothing is overwritten, nothing is started; the next commands are printed.\n"+
			"Ports left out are 4321 (cluster), 53 (DNS) and 8053 (operators). The DNS of a HOST that is a name is answered at all addresses of its machine.\n"+
			"One node is enough: it begins alone, and others join it later (eider cluster join).",
			"eider cluster init --node ns1=192.0.2.1 --node ns2=198.51.100.2 --node ns3=203.0.113.3",
			"eider cluster init prod --cluster prod --node ns1=[2001:db8::1]:4321:53",
			"eider cluster init --node ns1=192.0.2.1 --ca company-ca.pem:company-ca.key"),
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: flagNode, Usage: "a node, `ID=HOST[:RAFTPORT[:DNSPORT[:OPERATORPORT]]]`; one for each"},
			&cli.StringFlag{Name: "cluster", Value: config.DefaultCluster, Usage: "`NAME` of the cluster, in its certificates and handshakes"},
			&cli.StringFlag{Name: "ca", Usage: "sign with a CA of your own, `CERT:KEY`, two PEM files, instead of a new one"},
			&cli.StringFlag{Name: "operator", Value: initialOperator, Usage: "`NAME` of the operator, as it stands in the audit"},
		},
		Action: clusterInit,
	}
}

// newCluster is what `cluster init` writes, and where.
type newCluster struct {
	certificates
	dir      string
	text     []byte // of the config
	operator pki.Name
	ca       *pki.CA
	trusted  []*x509.Certificate // what goes into tls.ca_file
	madeCA   bool
}

func clusterInit(c *cli.Context) error {
	if err := args(c, 0, 1, "a DIR"); err != nil {
		return err
	}
	n, err := planCluster(c)
	if err != nil {
		return err
	}
	if err := n.vacant(); err != nil {
		return failedAt(c, err)
	}
	if err := n.openCA(c.String("ca")); err != nil {
		return failedAt(c, err)
	}
	if err := n.write(c); err != nil {
		return failedAt(c, err)
	}
	n.printNext(c)
	return nil
}

// planCluster reads the command line; nothing is written if any of it is wrong.
func planCluster(c *cli.Context) (*newCluster, error) {
	if len(c.StringSlice(flagNode)) == 0 {
		return nil, misusedAt(c, "--node is missing; for example --node ns1=192.0.2.1")
	}
	var nodes []config.Node
	for _, text := range c.StringSlice(flagNode) {
		node, err := config.InitialNode(text)
		if err != nil {
			return nil, misusedAt(c, "--node: %w", err)
		}
		nodes = append(nodes, node)
	}
	text, conf, err := config.Initial(c.String("cluster"), nodes)
	if err != nil {
		return nil, misusedAt(c, "%w", err)
	}
	n := &newCluster{dir: c.Args().First(), text: text, operator: pki.Name{Cluster: conf.Cluster, Role: pki.RoleOperator, ID: c.String("operator")}}
	for _, node := range conf.Nodes {
		if err := (pki.Name{Cluster: conf.Cluster, Role: pki.RoleNode, ID: node.ID}).Check(); err != nil {
			return nil, misusedAt(c, "%w", err)
		}
	}
	if err := n.operator.Check(); err != nil {
		return nil, misusedAt(c, "%w", err)
	}
	if n.dir == "" {
		n.dir = "."
	}
	n.conf, n.path = conf, filepath.Join(n.dir, config.FileName)
	n.bundle = filepath.Join(n.dir, filepath.FromSlash(config.InitialCAFile))
	n.key = filepath.Join(filepath.Dir(n.bundle), config.CAKeyName)
	for i := range conf.Nodes { // the config's own are seen from the node's folder, not from here
		conf.Nodes[i].CertFile, conf.Nodes[i].KeyFile = config.NodeFiles(filepath.Dir(n.bundle), conf.Nodes[i].ID)
	}
	return n, nil
}

func (n *newCluster) secret() string { return filepath.Join(n.dir, config.SecretFileName) }

// vacant makes sure that nothing to be written is there, before anything is written.
func (n *newCluster) vacant() error {
	cert, key := config.OperatorFiles(filepath.Dir(n.bundle), n.operator.ID)
	files := []string{n.path, n.bundle, n.key, n.secret(), cert, key}
	for _, node := range n.conf.Nodes {
		files = append(files, node.CertFile, node.KeyFile)
	}
	var there []string
	for _, file := range files {
		if _, err := os.Lstat(file); err == nil {
			there = append(there, file)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(there) > 0 {
		return fmt.Errorf("there already: %s; nothing is overwritten: name another DIR, or move them away", strings.Join(there, ", "))
	}
	return nil
}

// openCA makes a CA, or reads that of CERT:KEY.
func (n *newCluster) openCA(own string) (err error) {
	if own == "" {
		n.madeCA = true
		if n.ca, err = pki.NewCA(n.conf.Cluster, time.Now(), pki.DefaultCALife); err == nil {
			n.trusted = []*x509.Certificate{n.ca.Cert}
		}
		return err
	}
	at := strings.LastIndexByte(own, ':')
	if at <= 0 || at == len(own)-1 {
		return fmt.Errorf("--ca: %q is not CERT:KEY; for example company-ca.pem:company-ca.key", own)
	}
	if n.ca, err = pki.LoadCA(own[:at], own[at+1:]); err != nil {
		return fmt.Errorf("--ca: %w", err)
	}
	if n.key, err = filepath.Abs(own[at+1:]); err != nil { // it is shown to those who went elsewhere
		return err
	}
	n.trusted, err = pki.ReadCertificates(own[:at])
	return err
}

// write makes the files, the config last: where it is, all the others are.
func (n *newCluster) write(c *cli.Context) error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	if n.madeCA {
		if err := n.ca.WriteKey(n.key); err != nil {
			return err
		}
		line(c, "made %s: the key of the CA of cluster %q; it goes to no node", n.key, n.conf.Cluster)
	}
	if err := pki.WriteBundle(n.bundle, n.trusted); err != nil {
		return err
	}
	line(c, "made %s: the CA, for every node", n.bundle)
	for _, node := range n.conf.Nodes {
		file, err := n.issueNode(n.ca, node, pki.DefaultNodeLife, false)
		if err != nil {
			return err
		}
		line(c, "made %s and its key: node %s", file, node.ID)
	}
	cert, key := config.OperatorFiles(filepath.Dir(n.bundle), n.operator.ID)
	if err := issue(n.ca, n.operator, nil, cert, key, pki.DefaultOperatorLife, false); err != nil {
		return err
	}
	line(c, "made %s and its key: operator %s, for %d days", cert, n.operator.ID, int(pki.DefaultOperatorLife/(24*time.Hour)))
	if err := access.Init(n.secret()); err != nil {
		return err
	}
	line(c, "made %s: seals TSIG keys, for every node", n.secret())
	f, err := os.OpenFile(n.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(n.text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	line(c, "made %s: the same for every node", n.path)
	return nil
}

// printNext says what to type now. What is indented is a command.
func (n *newCluster) printNext(c *cli.Context) {
	var next bytes.Buffer
	if n.dir != "." {
		fmt.Fprintf(&next, "  cd %s\n", shellWord(n.dir))
	}
	first := n.conf.Nodes[0]
	for _, node := range n.conf.Nodes {
		host, _, _ := net.SplitHostPort(node.RaftLoc)
		start := fmt.Sprintf("eider node -n %s -c %s", node.ID, config.FileName)
		if localHost(host) {
			fmt.Fprintf(&next, "  %s &\n", start)
			continue
		}
		cert, key := config.NodeFiles(filepath.Dir(filepath.FromSlash(config.InitialCAFile)), node.ID)
		fmt.Fprintf(&next, "  tar -cf - %s %s %s %s %s | ssh %s 'mkdir -p eider && tar -C eider -xpf -'\n", config.FileName, config.SecretFileName, config.InitialCAFile, cert, key, host)
		fmt.Fprintf(&next, "# on %s, in that folder, as a service:\n#   %s\n", host, start)
	}
	cert, _ := config.OperatorFiles(filepath.Dir(filepath.FromSlash(config.InitialCAFile)), n.operator.ID)
	fmt.Fprintf(&next, "  export EIDER_SOCKET=%s EIDER_CA=%s EIDER_CERT=%s\n", first.OperatorLoc, config.InitialCAFile, cert)
	fmt.Fprintf(&next, "  eider cluster wait --all --timeout 60s\n")
	fmt.Fprintf(&next, "  eider zone create example.org\n  eider record add www.example.org A 192.0.2.10\n")
	host, port, _ := net.SplitHostPort(first.QueryLoc[0])
	if host == "" {
		host, _, _ = net.SplitHostPort(first.RaftLoc)
	}
	fmt.Fprintf(&next, "  dig @%s -p %s www.example.org A\n", host, port)
	line(c, "\nnext:\n%s", strings.TrimSuffix(next.String(), "\n"))
	if len(n.conf.Nodes)%2 == 0 {
		line(c, "\n%s", n.conf.Warnings()[0])
	}
	keyFlag := ""
	if !n.madeCA {
		keyFlag = " --ca-key " + shellWord(n.key)
	}
	line(c, "\na node that comes later: add it to %s here, `eider certificate node ID%s`, start it there with --join %s, and `eider cluster join ID`", config.FileName, keyFlag, first.RaftLoc)
}

func localHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// shellWord quotes what a shell would take apart.
func shellWord(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+=:@", r))
	}) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}
