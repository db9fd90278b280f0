package eidertest_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// networks makes two network namespaces with an Ethernet between them, 192.0.2.1 and 192.0.2.2.
func networks(t *testing.T) (server, client string) {
	t.Helper()
	ip := program(t, "ip", "Debian: iproute2")
	name := fmt.Sprintf("eider-%d-", os.Getpid())
	server, client = name+"s", name+"c"
	for _, line := range []string{
		"netns add " + server, "netns add " + client,
		"link add e0 netns " + server + " type veth peer name e0 netns " + client,
		"-n " + server + " addr add 192.0.2.1/24 dev e0", "-n " + client + " addr add 192.0.2.2/24 dev e0",
		"-n " + server + " link set lo up", "-n " + server + " link set e0 up", "-n " + client + " link set e0 up",
	} {
		if out, err := runTool(t, nil, "", ip, strings.Fields(line)...); err != nil {
			t.Skipf("no network namespaces can be made here (root, CAP_SYS_ADMIN): ip %s: %v %s", line, err, out)
		}
		if ns, ok := strings.CutPrefix(line, "netns add "); ok {
			t.Cleanup(func() { _ = exec.Command(ip, "netns", "del", ns).Run() })
		}
	}
	return server, client
}

// listenIn opens a UDP socket in a network namespace.
func listenIn(t *testing.T, ns, addr string) net.PacketConn {
	t.Helper()
	type opened struct {
		c   net.PacketConn
		err error
	}
	done := make(chan opened)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, since it is elsewhere now
		f, err := os.Open(filepath.Join("/var/run/netns", ns))
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			f.Close()
		}
		if err != nil {
			done <- opened{nil, err}
			return
		}
		c, err := net.ListenPacket("udp4", addr)
		done <- opened{c, err}
	}()
	o := <-done
	must(t, o.err)
	t.Cleanup(func() { o.c.Close() })
	return o.c
}

// relay hands DNS messages on to a node, which is in another namespace and at another port than dhcpd sends to.
func relay(from net.PacketConn, node *eidertest.Node) {
	for {
		buf := make([]byte, 4096)
		n, addr, err := from.ReadFrom(buf)
		if err != nil {
			return
		}
		go func() {
			c, err := net.Dial("udp", node.Query)
			if err != nil {
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(eidertest.Patience))
			reply := make([]byte, 4096)
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
			if n, err := c.Read(reply); err == nil {
				_, _ = from.WriteTo(reply[:n], addr)
			}
		}()
	}
}

// lease is a DHCP client behind a relay agent at 192.0.2.2 (RFC 2131).
type lease struct {
	t    *testing.T
	c    net.PacketConn
	mac  byte
	host string
	addr net.IP
}

const (
	dhcpDiscover = 1
	dhcpOffer    = 2
	dhcpRequest  = 3
	dhcpAck      = 5
	dhcpRelease  = 7
)

// ask sends a message and gives the address of the answer of that kind, if one is waited for.
func (l *lease) ask(kind, answer byte, options ...byte) {
	l.t.Helper()
	m := make([]byte, 240, 300)
	m[0], m[1], m[2] = 1, 1, 6 // BOOTREQUEST, Ethernet
	binary.BigEndian.PutUint32(m[4:], uint32(l.mac))
	if kind == dhcpRelease {
		copy(m[12:], l.addr.To4())
	}
	copy(m[24:], []byte{192, 0, 2, 2}) // giaddr
	copy(m[28:], []byte{2, 0, 0, 0, 0, l.mac})
	copy(m[236:], []byte{0x63, 0x82, 0x53, 0x63})
	m = append(m, 53, 1, kind, 12, byte(len(l.host)))
	m = append(append(append(m, l.host...), options...), 255)
	server := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 67}
	must(l.t, eidertest.Until(fmt.Sprintf("dhcpd answers message %d of %s", kind, l.host), func() bool {
		_, err := l.c.WriteTo(m, server)
		if err != nil || answer == 0 {
			return err == nil
		}
		buf := make([]byte, 1500)
		_ = l.c.SetReadDeadline(time.Now().Add(time.Second))
		n, _, err := l.c.ReadFrom(buf)
		if err != nil || n < 243 || buf[7] != l.mac || buf[242] != answer {
			return false
		}
		l.addr = net.IP(buf[16:20])
		return true
	}))
}

// ISC dhcpd, which updates when it gives a lease and when that is given back (RFC 4703), forward and reverse.
func TestDHCPD(t *testing.T) {
	notShort(t)
	dhcpd := program(t, "dhcpd", "Debian: isc-dhcp-server")
	server, client := networks(t)
	c := updatable(t)
	const reverse = "2.0.192.in-addr.arpa"
	run(t, c, "zone", "create", reverse)
	run(t, c, "acl", "add", "--zone", reverse, "--key", "ddns", "--allow", "update")
	for _, n := range c.Nodes {
		must(t, eidertest.Until("all rules", func() bool {
			var rules []any
			return n.Get("/v1/rules", &rules) == nil && len(rules) == 3
		}))
	}
	agent := listenIn(t, client, "192.0.2.2:67")
	quietAndAfterAKill(t, c, func(t *testing.T, round int, node *eidertest.Node) {
		go relay(listenIn(t, server, "127.0.0.1:53"), node)
		dir := t.TempDir()
		conf, leases := filepath.Join(dir, "conf"), filepath.Join(dir, "leases")
		must(t, os.WriteFile(leases, nil, 0o644))
		must(t, os.WriteFile(conf, fmt.Appendf(nil, `ddns-update-style standard;
ddns-domainname "zone.test.";
ping-check false;
authoritative;
default-lease-time 600;
key ddns { algorithm hmac-sha256; secret %s; };
zone zone.test. { primary 127.0.0.1; key ddns; }
zone %s. { primary 127.0.0.1; key ddns; }
subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.%d 192.0.2.%d; }
`, updateSecret, reverse, 10+round, 10+round), 0o644))
		daemon(t, nil, dir, program(t, "ip", "Debian: iproute2"), "netns", "exec", server, dhcpd, "-4", "-f", "-d", "-cf", conf, "-lf", leases, "-pf", filepath.Join(dir, "pid"), "e0")
		l := &lease{t: t, c: agent, mac: byte(1 + round), host: fmt.Sprintf("dhcp%d", round)}
		l.ask(dhcpDiscover, dhcpOffer)
		l.ask(dhcpRequest, dhcpAck, append([]byte{54, 4, 192, 0, 2, 1, 50, 4}, l.addr.To4()...)...)
		name, ptr := l.host+".zone.test.", fmt.Sprintf("%d.%s.", 10+round, reverse)
		waitData(t, node, name, dns.TypeA, l.addr.String())
		waitData(t, node, ptr, dns.TypePTR, name)
		if len(node.Data(name, dns.TypeDHCID)) != 1 {
			t.Error("no DHCID beside the address")
		}
		must(t, eidertest.Until("dhcpd knows that it is there", func() bool { // or it takes away less than it added
			b, err := os.ReadFile(leases)
			return err == nil && strings.Contains(string(b), "ddns-rev-name")
		}))
		l.ask(dhcpRelease, 0, 54, 4, 192, 0, 2, 1)
		waitData(t, node, ptr, dns.TypePTR)
		waitData(t, node, name, dns.TypeA)
		waitData(t, node, name, dns.TypeDHCID)
	})
}
