package diff

import (
	"slices"

	"github.com/miekg/dns"
)

// Rules are tried in their order. DESIGN.md lists them, a test compares.
var Rules = []Rule{
	{
		Name: "any: other RRsets of the name",
		Why:  "RFC 8482 section 4.1: ANY may be answered with one RRset or a subset of those at the name; RRSIG alike",
		Match: func(c *Case, parts []Part) bool {
			return c.meta() && only(parts, InAnswer, Truncated) && len(c.Ours.Sections[Answer]) > 0 && c.someRRsets() && (c.Theirs.Flags&TC != 0 || len(c.Theirs.Sections[Answer]) > 0)
		},
	},
	{
		Name:  "loop: aliases without end",
		Why:   "RFC 1034 section 3.6.2 has loops signalled, none says how; RFC 6672 section 2.2 lets a DNAME into itself grow names until they are too long",
		Match: func(c *Case, _ []Part) bool { return (c.Ours.loop() || c.Theirs.loop()) && c.samePath() },
	},
	{
		Name:  "chain: more aliases than someone follows",
		Why:   "RFC 1034 section 5.3.3 (bound the amount of work) leaves the number of aliases to the server; BIND follows 11, Eider 16",
		Match: func(c *Case, _ []Part) bool { return len(c.Ours.aliases()) >= 10 && c.samePath() },
	},
	{
		Name:  "alias into another zone",
		Why:   "RFC 1034 section 4.3.2 step 3a goes back to step 1, which looks at all zones; Knot stays in the first",
		Match: func(c *Case, _ []Part) bool { return c.leaves() },
	},
	{
		Name: "any: behind a DNAME",
		Why:  "RFC 1034 section 3.6.2: a CNAME that matches QTYPE is the answer, and is not followed; ANY matches; NSD and Knot follow",
		Match: func(c *Case, parts []Part) bool {
			return c.Type == dns.TypeANY && c.Ours.has(Answer, dns.TypeDNAME) && c.samePath()
		},
	},
	{
		Name:  "DS of a zone its parent does not delegate",
		Why:   "RFC 4035 section 3.1.4.1 has the parent answer; RFC 8020 section 2: NXDOMAIN would deny the child, which is here",
		Match: func(c *Case, _ []Part) bool { return c.Type == dns.TypeDS && c.undelegated() },
	},
	{
		Name: "wildcard that is an empty non-terminal",
		Why:  "RFC 4592 section 4.9: no error, no data; NSD answers NXDOMAIN, Knot leaves out part of the proof (RFC 5155 section 7.2.5)",
		Match: func(c *Case, _ []Part) bool {
			return c.Ours.onlyAliases() && c.emptyWildcard()
		},
	},
	{
		Name: "name of * that another wildcard stands in for",
		Why:  "RFC 4592 section 2.1.3: such a name that is not there is one like any other, so the whole proof goes with it (RFC 4035 section 3.1.3.3, RFC 5155 sections 7.2.5 and 7.2.6); Knot and NSD leave out some or all",
		Match: func(c *Case, parts []Part) bool {
			if slices.Contains(parts, InGlue) { // where the alias of the wildcard leads to a cut
				return only(parts, InAuth, InGlue) && c.madeGlue() && c.starred() && c.within(Authority)
			}
			return c.likewise(parts, InAuth) && c.starred() && c.within(Authority)
		},
	},
	{
		Name:  "what another zone here holds exists for this one",
		Why:   "RFC 1034 section 4.3.2 step 3 matches down in the one zone found in step 2; NSD keeps all zones in one tree of names, where those of a parent or child exist too",
		Match: func(c *Case, _ []Part) bool { return c.Peer == "nsd" && c.foreign() },
	},
	{
		Name: "octet 0 in a label",
		Why:  "RFC 2181 section 11: any octets are a label; Knot orders names with octet 0 between the labels and takes some for others, NSD takes the wrong NSEC to be before them",
		Match: func(c *Case, parts []Part) bool {
			return (c.Peer == "knot" || c.Peer == "nsd" && only(parts, InAuth, Truncated)) && c.zeroOctets()
		},
	},
	{
		Name: "proof for a name behind a DNAME",
		Why:  "RFC 4035 sections 3.1.3.2 and 3.1.3.3: it is for the last name; NSD leaves it out, or gives the one for another",
		Match: func(c *Case, parts []Part) bool {
			return c.Peer == "nsd" && c.DO && c.Ours.has(Answer, dns.TypeDNAME) && c.likewise(parts, InAuth)
		},
	},
	{
		Name: "NSEC, NSEC3 or RRSIG asked for at an alias",
		Why:  "RFC 1034 section 3.6.2: only a type that is there comes before the CNAME, and NSEC3 never is; RFC 4035 section 2.5: NSEC and RRSIG stand beside it; NSD follows for these and not for NSEC3",
		Match: func(c *Case, _ []Part) bool {
			return c.Peer == "nsd" && (c.Type == dns.TypeNSEC || c.Type == dns.TypeNSEC3 || c.Type == dns.TypeRRSIG) && len(c.Ours.aliases())+len(c.Theirs.aliases()) > 0
		},
	},
	{
		Name: "NSEC asked for at a cut",
		Why:  "RFC 1034 section 4.3.2 step 3b makes it a referral, and RFC 4035 section 3.1.4.1 excepts DS alone; BIND excepts NSEC too",
		Match: func(c *Case, _ []Part) bool {
			_, referral := c.Ours.Referral()
			return c.Peer == "bind" && c.Type == dns.TypeNSEC && referral && c.Theirs.has(Answer, dns.TypeNSEC)
		},
	},
	{
		Name:  "glue made from a wildcard",
		Why:   "RFC 1034 section 4.3.2 step 3b takes the glue RRs there are, and wildcards are step 3c; NSD and Knot make some",
		Match: func(c *Case, parts []Part) bool { return only(parts, InGlue, Truncated) && c.madeGlue() },
	},
	{
		Name: "empty non-terminal that opt-out leaves without an NSEC3",
		Why:  "RFC 5155 sections 7.1 and 7.2.1: the closest provable encloser is further up, and the proof starts there; NSD leaves it out, Knot the whole proof and AA",
		Match: func(c *Case, parts []Part) bool {
			return c.DO && only(parts, InAuth, Flags, Truncated) && c.optedOut()
		},
	},
	{
		Name:  "wildcard that owns NS",
		Why:   "RFC 4592 section 4.2: what it means is not defined; here it is data of the synthesized name and no cut",
		Match: func(c *Case, _ []Part) bool { return c.wildcard(dns.TypeNS) },
	},
	{
		Name:  "wildcard that owns a DNAME",
		Why:   "RFC 6672 section 3.3: such owners are not defined and SHOULD NOT be; RFC 4592 section 4.4: no name below is renamed by it",
		Match: func(c *Case, _ []Part) bool { return c.wildcard(dns.TypeDNAME) },
	},
	{
		Name: "in-domain glue left out",
		Why:  "RFC 9471 section 3.1: all addresses of in-domain name servers go with a referral, or TC is set; NSD and BIND give their room to others, or leave it empty",
		Match: func(c *Case, parts []Part) bool {
			return (c.Peer == "nsd" || c.Peer == "bind") && only(parts, InGlue) && subset(c.Theirs.glue(), c.Ours.glue())
		},
	},
	{
		Name: "NSEC asked for that a wildcard has",
		Why:  "RFC 4035 section 3.1.3.3: an answer made from a wildcard comes with the NSEC that denies the name; Knot leaves it out if it is the one asked for",
		Match: func(c *Case, parts []Part) bool {
			return c.Peer == "knot" && c.Type == dns.TypeNSEC && c.DO && only(parts, InAuth) && subset(multiset(c.Theirs.Sections[Authority]), multiset(c.Ours.Sections[Authority]))
		},
	},
	{
		Name: "DNAME asked for behind itself",
		Why:  "RFC 2181 section 5: a record is in a set once; Knot gives the DNAME that led to the name again as the answer",
		Match: func(c *Case, parts []Part) bool {
			return c.Peer == "knot" && c.Type == dns.TypeDNAME && only(parts, InAnswer) &&
				slices.Equal(slices.Compact(multiset(c.Theirs.Sections[Answer])), multiset(c.Ours.Sections[Answer]))
		},
	},
	{
		Name: "name too long behind a DNAME",
		Why:  "RFC 6672 section 2.2: YXDOMAIN, and there is nothing to follow; Knot says NXDOMAIN for some, and adds what its target owns, or an SOA, for others",
		Match: func(c *Case, parts []Part) bool {
			return c.Peer == "knot" && c.Ours.Rcode == dns.RcodeYXDomain && c.Ours.has(Answer, dns.TypeDNAME) && (c.Theirs.Rcode == dns.RcodeNameError || only(parts, InAnswer, InAuth, InGlue))
		},
	},
	{
		Name: "NSEC3 of the next closer name left out",
		Why:  "RFC 5155 section 7.2.5: no data at a wildcard is shown by the closest encloser, the next closer name and the wildcard; NSD leaves out the second for some names",
		Match: func(c *Case, parts []Part) bool {
			return c.Peer == "nsd" && c.DO && only(parts, InAuth) && c.Ours.has(Authority, dns.TypeNSEC3) && c.Ours.onlyAliases() && c.substituted() &&
				subset(multiset(c.Theirs.Sections[Authority]), multiset(c.Ours.Sections[Authority]))
		},
	},
	{
		Name: "label that comes before *",
		Why:  "RFC 4034 section 6.1: octets below that of * come before it; NSD takes a wildcard to be the first below its parent, and gives the NSEC before that",
		Match: func(c *Case, parts []Part) bool {
			return c.Peer == "nsd" && c.DO && only(parts, InAuth) && c.Ours.has(Authority, dns.TypeNSEC) && c.beforeStar()
		},
	},
}
