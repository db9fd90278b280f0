package nameserver

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func TestPrefixTable(t *testing.T) {
	for _, tt := range []struct {
		rule      string
		yes, no   []netip.Prefix
		otherwise bool
		addr      string
		want      bool
	}{
		{"in neither", prefixes("10.0.0.0/8"), nil, false, "192.0.2.1", false},
		{"in neither, otherwise in", nil, prefixes("10.0.0.0/8"), true, "192.0.2.1", true},
		{"first address", prefixes("10.0.0.0/8"), nil, false, "10.0.0.0", true},
		{"last address", prefixes("10.0.0.0/8"), nil, false, "10.255.255.255", true},
		{"the one behind it", prefixes("10.0.0.0/8"), nil, false, "11.0.0.0", false},
		{"a prefix written with host bits", prefixes("10.9.9.9/8"), nil, false, "10.0.0.1", true},
		{"the longest decides, no within yes", prefixes("10.0.0.0/8"), prefixes("10.1.0.0/16"), false, "10.1.2.3", false},
		{"behind it yes again", prefixes("10.0.0.0/8"), prefixes("10.1.0.0/16"), false, "10.2.0.0", true},
		{"the longest decides, yes within no", prefixes("10.1.0.0/16"), prefixes("10.0.0.0/8"), true, "10.1.2.3", true},
		{"of equal ones no", prefixes("10.0.0.0/8"), prefixes("10.0.0.0/8"), true, "10.0.0.1", false},
		{"the end of all addresses", prefixes("255.255.255.255/32"), nil, false, "255.255.255.255", true},
		{"all of IPv4 is not IPv6", prefixes("0.0.0.0/0"), nil, false, "2001:db8::1", false},
		{"all of IPv6 is not IPv4", prefixes("::/0"), nil, false, "192.0.2.1", false},
		{"IPv4 in IPv6 is IPv4", prefixes("192.0.2.0/24"), nil, false, "::ffff:192.0.2.1", true},
		{"IPv6", prefixes("2001:db8::/32"), prefixes("2001:db8:1::/48"), false, "2001:db8:2::1", true},
		{"IPv6, longer", prefixes("2001:db8::/32"), prefixes("2001:db8:1::/48"), false, "2001:db8:1:ffff::1", false},
	} {
		if got := newPrefixTable(tt.yes, tt.no, tt.otherwise).contains(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("%s: %s: got %v, want %v", tt.rule, tt.addr, got, tt.want)
		}
	}
}

// Random tables give what looking at every prefix gives.
func TestPrefixTableAgainstModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	addr := func() netip.Addr { // few bits differ, so that prefixes nest and meet
		if rnd.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{10, byte(rnd.IntN(4)), byte(rnd.IntN(2)) * 255, byte(rnd.IntN(4))})
		}
		return netip.AddrFrom16([16]byte{0x20, 1, byte(rnd.IntN(4)), 15: byte(rnd.IntN(4))})
	}
	for range 500 {
		var lists [2][]netip.Prefix
		for range rnd.IntN(8) {
			a := addr()
			i := rnd.IntN(2)
			lists[i] = append(lists[i], netip.PrefixFrom(a, rnd.IntN(a.BitLen()+1)))
		}
		otherwise := rnd.IntN(2) == 0
		table := newPrefixTable(lists[1], lists[0], otherwise)
		for range 50 {
			a, want, longest := addr(), otherwise, -1
			for i, list := range lists {
				for _, p := range list {
					if p.Contains(a) && p.Bits() > longest {
						want, longest = i == 1, p.Bits()
					}
				}
			}
			if got := table.contains(a); got != want {
				t.Fatalf("yes %v no %v otherwise %v: %v: got %v", lists[1], lists[0], otherwise, a, got)
			}
		}
	}
}
