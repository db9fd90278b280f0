package main

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/eider-dns/eider/"

// layers is the table of who may import whom: packages of Eider by their folder,
// others by module, besides the standard library. Imports point down;
// store/record is the ground. "*" stands for every package.
var layers = map[string][]string{
	"store/record":      {},
	"store/boltfile":    {}, // tests make files with bbolt
	"store":             {"store/boltfile", "store/record", "store/zonemd", "go.etcd.io/bbolt"},
	"store/zonemd":      {"store/record"},
	"store/zonediff":    {"store/record"},
	"store/backup":      {"store"},
	"store/storetest":   {"store", "store/record", "zonefile"},
	"zonefile":          {"store/record", "github.com/miekg/dns", "golang.org/x/net"}, // the public suffix list
	"nameserver/lookup": {"store/record"},

	"nameserver/lookup/lookuptest": {"nameserver/lookup", "store/record", "github.com/miekg/dns"},

	"nameserver/tsig":   {"store/record", "github.com/miekg/dns"},
	"nameserver/access": {"nameserver/tsig", "store/record"},
	"nameserver/update": {"nameserver/access", "nameserver/tsig", "store/record", "github.com/miekg/dns"},

	// asks for zones, and gives changes to a Proposer
	"nameserver/secondary": {"nameserver/access", "nameserver/tsig", "store/record", "store/zonediff", "store/zonemd"},
	// compares catalogs with zones, which are made as secondary says
	"nameserver/catalog":  {"nameserver/secondary", "store/record"},
	"nameserver/transfer": {"nameserver/access", "nameserver/tsig", "store", "store/record"},

	// who is told with which key, access says
	"nameserver/notify": {"nameserver/access", "nameserver/tsig", "store/record"},

	"nameserver": {
		"nameserver/access", "nameserver/tsig",
		"nameserver/lookup", "store", "store/record", "github.com/miekg/dns", "golang.org/x/net", "golang.org/x/sys",
	},
	"checkpoint":            {"store", "store/record", "github.com/hashicorp/raft"},
	"cluster/config":        {},
	"cluster/pki":           {},
	"cluster/segments":      {"github.com/hashicorp/raft"},
	"cluster":               {"cluster/config", "cluster/pki", "cluster/segments", "store/boltfile", "store/record", "github.com/hashicorp/raft", "github.com/hashicorp/raft-boltdb", "github.com/hashicorp/go-hclog", "go.etcd.io/bbolt"},
	"cluster/secrets":       {"store/record"},
	"cluster/tokens":        {"store/record"},
	"cluster/clustertest":   {"cluster", "cluster/clustertest/ports", "cluster/config", "cluster/pki", "store/record", "github.com/hashicorp/raft"},
	"cluster/admin":         {"cluster", "cluster/pki", "cluster/tokens", "nameserver/access", "nameserver/catalog", "nameserver/notify", "nameserver/secondary", "nameserver/tsig", "store", "store/record", "store/zonemd", "zonefile", "golang.org/x/net"},
	"cluster/admin/metrics": {"cluster/admin", "checkpoint", "nameserver", "nameserver/catalog", "nameserver/notify", "nameserver/secondary", "nameserver/transfer", "github.com/prometheus/client_golang"},
	"cmd/eider":             {"*", "github.com/urfave/cli", "github.com/miekg/dns"},
	"cmd/eidertest":         {"cluster/clustertest/ports", "store/record", "zonefile", "github.com/miekg/dns", "golang.org/x/sys"},
	"cmd/eider-bench":       {"cluster/segments", "cmd/eidertest", "store/record", "github.com/miekg/dns", "golang.org/x/sys"},

	// where tests have their nodes listen, of whichever package they are
	"cluster/clustertest/ports": {},

	"cmd/eider-chaos": {"cmd/eidertest", "cluster/admin", "store/record", "github.com/miekg/dns", "github.com/anishathalye/porcupine"},

	"cmd/eider-conformance":      {"cmd/eidertest", "cmd/eider-conformance/diff", "cmd/eider-conformance/gen", "cmd/eider-conformance/peer", "github.com/miekg/dns"},
	"cmd/eider-conformance/diff": {"github.com/miekg/dns"},
	"cmd/eider-conformance/gen":  {"github.com/miekg/dns"},
	"cmd/eider-conformance/peer": {"cmd/eidertest", "github.com/miekg/dns"},
}

// rooms are the folders of the root that packages are below; there is no further one.
var rooms = []string{"checkpoint", "cluster", "cmd", "nameserver", "store", "zonefile"}

// The walls between the rooms stand: what each package imports is in the table,
// and every package is in it.
func TestLayers(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "../../...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		if room, _, _ := strings.Cut(name, "/"); !slices.Contains(rooms, room) {
			t.Errorf("%s: the root gets no further folder, there are %v", name, rooms)
		}
		allowed, known := layers[name]
		if !known {
			t.Errorf("%s is not in the table of layers; add it with what it may import", name)
			continue
		}
		for _, path := range p.Imports {
			if why := wall(allowed, path); why != "" {
				t.Errorf("%s imports %s: %s", name, path, why)
			}
		}
	}
}

// wall says why an import is not allowed.
func wall(allowed []string, path string) string {
	if own, ok := strings.CutPrefix(path, module); ok {
		if !slices.Contains(allowed, own) && !slices.Contains(allowed, "*") {
			return "it is behind a wall (house style, layout)"
		}
		return ""
	}
	first, _, _ := strings.Cut(path, "/")
	if !strings.Contains(first, ".") {
		return "" // the standard library
	}
	if slices.ContainsFunc(allowed, func(m string) bool { return path == m || strings.HasPrefix(path, m+"/") }) {
		return ""
	}
	return "this package has no business with that module"
}

func TestWall(t *testing.T) {
	for _, tt := range []struct {
		rule, path string
		ok         bool
	}{
		{"the standard library", "net/http", true},
		{"a package in the table", module + "store", true},
		{"a package behind a wall", module + "cluster", false},
		{"a module in the table, of any version", "go.etcd.io/bbolt", true},
		{"a package of it", "go.etcd.io/bbolt/errors", true},
		{"a module that only starts alike", "go.etcd.io/bboltx", false},
		{"a module not in the table", "github.com/hashicorp/raft", false},
	} {
		if why := wall([]string{"store", "go.etcd.io/bbolt"}, tt.path); (why == "") != tt.ok {
			t.Errorf("%s: %s: %q", tt.rule, tt.path, why)
		}
	}
}
