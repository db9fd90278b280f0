package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestInitialNode(t *testing.T) {
	for _, tt := range []struct{ rule, text, raft, query, err string }{
		{"an address alone", "ns1=192.0.2.1", "192.0.2.1:4321", "192.0.2.1:53", ""},
		{"both ports", "ns1=192.0.2.1:5000:5353", "192.0.2.1:5000", "192.0.2.1:5353", ""},
		{"a name: DNS at all addresses", "ns1=ns1.example.org:5000", "ns1.example.org:5000", ":53", ""},
		{"localhost is no machine's name", "ns1=localhost:5000:5353", "localhost:5000", "localhost:5353", ""},
		{"IPv6", "ns1=[2001:db8::1]:5000:5353", "[2001:db8::1]:5000", "[2001:db8::1]:5353", ""},
		{"IPv6 without ports", "ns1=[2001:db8::1]", "[2001:db8::1]:4321", "[2001:db8::1]:53", ""},
		{"IPv6 without brackets", "ns1=2001:db8::1", "", "", "brackets"},
		{"no id", "192.0.2.1", "", "", "has no ="},
		{"a bad id", "n s=192.0.2.1", "", "", "no node id"},
		{"no host", "ns1=:4321", "", "", "names no host"},
		{"all addresses are none", "ns1=0.0.0.0", "", "", "could reach"},
		{"a bracket left open", "ns1=[2001:db8::1", "", "", "without its ]"},
		{"what follows a bracket", "ns1=[2001:db8::1]x", "", "", "without its ]"},
		{"four ports", "ns1=192.0.2.1:1:2:3:4", "", "", "more than three ports"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			n, err := InitialNode(tt.text)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %+v, %v; want an error with %q", n, err, tt.err)
				}
				return
			}
			if err != nil || n.RaftLoc != tt.raft || n.QueryLoc[0] != tt.query {
				t.Errorf("got %+v, %v", n, err)
			}
		})
	}
}

func TestInitial(t *testing.T) {
	for _, tt := range []struct {
		rule      string
		nodes     []string
		operators []string
		err       string
	}{
		{"one node is enough", []string{"ns1=192.0.2.1"}, []string{"192.0.2.1:8053"}, ""},
		{"in the order of ids", []string{"10=192.0.2.3", "2=192.0.2.2"}, []string{"192.0.2.2:8053", "192.0.2.3:8053"}, ""},
		{"three of one machine", []string{"1=127.0.0.1:4321:10053", "2=127.0.0.1:4322:8053", "3=127.0.0.1:8054:10073"}, []string{"127.0.0.1:8055", "127.0.0.1:8056", "127.0.0.1:8057"}, ""},
		{"the operators' port given", []string{"1=127.0.0.1:4321:10053", "2=127.0.0.1:4322:10063:8053"}, []string{"127.0.0.1:8054", "127.0.0.1:8053"}, ""},
		{"a port of two nodes", []string{"1=127.0.0.1", "2=127.0.0.1"}, nil, "is taken by"},
		{"an id twice", []string{"1=192.0.2.1", "1=192.0.2.2"}, nil, "there twice"},
		{"a bad port", []string{"1=192.0.2.1:99999"}, nil, "from 1 to 65535"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			var nodes []Node
			for _, text := range tt.nodes {
				n, err := InitialNode(text)
				if err != nil {
					t.Fatal(err)
				}
				nodes = append(nodes, n)
			}
			text, conf, err := Initial("prod", nodes)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %s, %v; want an error with %q", text, err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var operators []string
			for _, n := range conf.Nodes {
				operators = append(operators, n.OperatorLoc)
			}
			if !reflect.DeepEqual(operators, tt.operators) || !conf.TLS() || conf.SecretFile == "" {
				t.Errorf("got %s", text)
			}
		})
	}
}
