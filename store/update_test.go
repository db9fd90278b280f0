package store_test

import (
	"testing"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/storetest"
)

// Ops with OpUpdate follow RFC 2136 section 3.4.2: what ADD and REMOVE are
// refused there is passed over, or replaces.
func TestUpdateOps(t *testing.T) {
	up := func(ops []record.Op) []record.Op {
		for i := range ops {
			ops[i].Flags |= record.OpUpdate
			ops[i].Zone = name("example.org.")
		}
		return ops
	}
	add := func(lines ...string) []record.Op { return up(storetest.Add(t, lines...)) }
	remove := func(lines ...string) []record.Op { return up(storetest.Remove(t, lines...)) }
	rrset := func(owner string, rt record.Type) []record.Op {
		return up([]record.Op{{Kind: record.OpRemoveRRset, Owner: name(owner), Type: rt}})
	}
	all := func(owner string) []record.Op {
		return up([]record.Op{{Kind: record.OpRemoveName, Owner: name(owner)}})
	}
	join := func(lists ...[]record.Op) (out []record.Op) {
		for _, l := range lists {
			out = append(out, l...)
		}
		return out
	}
	runOps(t, []opsRow{
		{
			rule: "RFC 2136 3.4.2.2: a record is added, and the serial counts up", ops: add("new.example.org. 60 A 192.0.2.7"),
			status: record.OK, serial: 101, has: "new.example.org. 60 IN A 192.0.2.7",
		},
		{rule: "RFC 2136 3.4.2.2: a record that is there changes nothing", ops: add("www.example.org. 300 A 192.0.2.10"), status: record.Unchanged},
		{
			rule: "RFC 2181 5.2: the TTL of a record added is that of its RRset", ops: add("www.example.org. 60 A 192.0.2.11"),
			status: record.OK, has: "www.example.org. 60 IN A 192.0.2.10|www.example.org. 60 IN A 192.0.2.11",
		},
		{rule: "RFC 2136 3.4.2.2: a CNAME beside other data is passed over", ops: add("www.example.org. 60 CNAME ns1.example.org."), status: record.Unchanged},
		{rule: "RFC 2136 3.4.2.2: other data beside a CNAME is passed over", ops: add("alias.example.org. 60 A 192.0.2.7"), status: record.Unchanged},
		{
			rule: "RFC 2136 3.4.2.2: a CNAME replaces a CNAME", ops: add("alias.example.org. 60 CNAME ns1.example.org."),
			status: record.OK, has: "alias.example.org. 60 IN CNAME ns1.example.org.", hasNot: "alias.example.org. 300 IN CNAME www.example.org.",
		},
		{
			rule: "RFC 6672 2.4: a DNAME replaces a DNAME", ops: add("d.example.org. 300 DNAME other.example.net."),
			status: record.OK, has: "d.example.org. 300 IN DNAME other.example.net.", hasNot: "d.example.org. 300 IN DNAME target.example.net.",
		},
		{rule: "RFC 6672 2.4: no name below a DNAME", ops: add("x.d.example.org. 300 A 192.0.2.7"), status: record.Refused, cause: record.CauseRule},
		{
			rule: "RFC 2136 3.4.2.2: a later SOA replaces", ops: add("example.org. 300 SOA ns1.example.org. admin.example.org. 500 1 1 1 1"),
			status: record.OK, serial: 500,
		},
		{rule: "RFC 2136 3.4.2.2: an SOA of the same serial is passed over", ops: add("example.org. 300 SOA ns1.example.org. admin.example.org. 100 1 1 1 1"), status: record.Unchanged},
		{rule: "RFC 2136 3.4.2.2: an earlier SOA is passed over", ops: add("example.org. 300 SOA ns1.example.org. admin.example.org. 99 1 1 1 1"), status: record.Unchanged},
		{rule: "RFC 2136 3.4.2.2: an SOA below the apex is passed over", ops: add("www.example.org. 300 SOA ns1.example.org. admin.example.org. 500 1 1 1 1"), status: record.Unchanged},
		{
			rule: "RFC 2136 3.4.2.4: one record goes", ops: remove("www.example.org. A 192.0.2.10"),
			status: record.OK, hasNot: "www.example.org. 300 IN A 192.0.2.10", has: "www.example.org. 300 IN AAAA 2001:db8::10",
		},
		{rule: "RFC 2136 3.4.2.4: one that is not there changes nothing", ops: remove("www.example.org. A 192.0.2.99"), status: record.NotFound},
		{rule: "RFC 2136 3.4.2.4: the SOA stays", ops: remove("example.org. SOA ns1.example.org. admin.example.org. 100 3600 600 86400 60"), status: record.NotFound},
		{rule: "RFC 2136 3.4.2.4: the last NS stays", ops: remove("example.org. NS ns1.example.org."), status: record.NotFound},
		{
			rule: "RFC 2136 3.4.2.4: one of two NS goes", before: storetest.Add(t, "example.org. 300 NS ns2.example.org."), ops: remove("example.org. NS ns1.example.org."),
			status: record.OK, has: "example.org. 300 IN NS ns2.example.org.", hasNot: "example.org. 300 IN NS ns1.example.org.",
		},
		{
			rule: "RFC 2136 3.4.2.4: of two NS removed one after the other the second stays", before: storetest.Add(t, "example.org. 300 NS ns2.example.org."),
			ops: remove("example.org. NS ns1.example.org.", "example.org. NS ns2.example.org."), status: record.OK, has: "example.org. 300 IN NS ns2.example.org.",
		},
		{
			rule: "RFC 2136 3.4.2.4: below the apex the last NS goes", ops: remove("child.example.org. NS ns.child.example.org."),
			status: record.OK, hasNot: "child.example.org. 300 IN NS ns.child.example.org.",
		},
		{rule: "RFC 2136 3.4.2.3: an RRset goes", ops: rrset("www.example.org.", record.TypeA), status: record.OK, hasNot: "www.example.org. 300 IN A 192.0.2.10"},
		{rule: "RFC 2136 3.4.2.3: the SOA of the apex stays", ops: rrset("example.org.", record.TypeSOA), status: record.NotFound},
		{rule: "RFC 2136 3.4.2.3: the NS of the apex stay", ops: rrset("example.org.", record.TypeNS), status: record.NotFound},
		{rule: "RFC 2136 3.4.2.3: NS below the apex go", ops: rrset("child.example.org.", record.TypeNS), status: record.OK},
		{
			rule: "RFC 2136 3.4.2.3: a name goes", ops: all("www.example.org."),
			status: record.OK, hasNot: "www.example.org. 300 IN A 192.0.2.10|www.example.org. 300 IN AAAA 2001:db8::10",
		},
		{
			rule: "RFC 2136 3.4.2.3: of the apex SOA and NS stay", before: storetest.Add(t, `example.org. 300 TXT "x"`), ops: all("example.org."),
			status: record.OK, has: "example.org. 300 IN NS ns1.example.org.", hasNot: `example.org. 300 IN TXT "x"`,
		},
		{
			rule: "RFC 2136 3.4.2.6: ops apply in order, so a CNAME may take the place of data", ops: join(all("www.example.org."), add("www.example.org. 60 CNAME ns1.example.org.")),
			status: record.OK, has: "www.example.org. 60 IN CNAME ns1.example.org.", hasNot: "www.example.org. 300 IN A 192.0.2.10",
		},
		{
			rule: "RFC 2136 3.4.2.6: and data that of a CNAME", ops: join(rrset("alias.example.org.", record.TypeCNAME), add("alias.example.org. 60 A 192.0.2.7")),
			status: record.OK, has: "alias.example.org. 60 IN A 192.0.2.7",
		},
		{rule: "RFC 2136 3.4.2.6: added and removed in one message is no change", ops: join(add("new.example.org. 60 A 192.0.2.7"), remove("new.example.org. A 192.0.2.7")), status: record.Unchanged},
		{rule: "RFC 2136 3.4.1.3: a name outside the zone", ops: add("new.example.net. 60 A 192.0.2.7"), status: record.Refused, cause: record.CauseNotZone},
	})
}
