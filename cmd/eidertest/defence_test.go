package eidertest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// figure is a metric of a node by its name and labels, as /metrics writes them.
func figure(t *testing.T, n *eidertest.Node, name string) int {
	t.Helper()
	r, err := http.Get("http://" + n.HTTP + "/metrics")
	must(t, err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	must(t, err)
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			must(t, err)
			return int(v)
		}
	}
	t.Fatalf("/metrics has no %s", name)
	return 0
}

// from is a socket to a node with a source address of its own. Every address of
// 127.0.0.0/8 is this machine on Linux, so clients of many prefixes can be had.
func from(t *testing.T, n *eidertest.Node, address string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(address)}}
	c, err := d.Dial("udp", n.Query)
	if err != nil {
		t.Skipf("needs %s: %v", address, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// exchange asks once; nil if there is no answer within d.
func exchange(t *testing.T, c net.Conn, m *dns.Msg, d time.Duration) *dns.Msg {
	t.Helper()
	m.Id = dns.Id()
	conn := dns.Conn{Conn: c, UDPSize: 1232}
	must(t, conn.WriteMsg(m))
	must(t, c.SetReadDeadline(time.Now().Add(d)))
	for {
		r, err := conn.ReadMsg()
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			return nil
		case err != nil:
			t.Fatal(err)
		case r.Id == m.Id:
			return r
		}
	}
}

func question(name string, cookie string) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	m.RecursionDesired = false
	m.SetEdns0(1232, false)
	if cookie != "" {
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
	}
	return m
}

func cookieOf(r *dns.Msg) string {
	if r == nil || r.IsEdns0() == nil {
		return ""
	}
	for _, o := range r.IsEdns0().Option {
		if c, ok := o.(*dns.EDNS0_COOKIE); ok {
			return c.Cookie
		}
	}
	return ""
}

// A cookie of one node is good at all, after a rotation too, after two no more;
// and at a node that was started alone.
func TestCookiesAreGoodAtEveryNode(t *testing.T) {
	c := startCluster(t, 3, nil)
	const client = "0102030405060708"
	ask := func(n *eidertest.Node, cookie string) (got string, accepted bool) {
		before := figure(t, n, "eider_dns_valid_cookies_total")
		got = cookieOf(exchange(t, from(t, n, "127.0.0.1"), question("www.zone.test.", cookie), 5*time.Second))
		return got, figure(t, n, "eider_dns_valid_cookies_total") > before
	}
	var cookie string
	learn := func(n *eidertest.Node) {
		t.Helper()
		must(t, eidertest.Until("node "+n.ID+" to give a cookie", func() bool {
			cookie, _ = ask(n, client)
			return len(cookie) == 48
		}))
	}
	learn(c.Nodes[0])
	for _, n := range c.Nodes[1:] {
		must(t, eidertest.Until("the same secret at node "+n.ID, func() bool {
			got, accepted := ask(n, cookie)
			return accepted && got == cookie
		}))
	}
	first := cookie
	rotate := func(id string) {
		t.Helper()
		out, err := c.Run("cluster", "rotate-cookies", "-c", c.Config, "-n", id)
		if err != nil || !strings.HasPrefix(out, "OK index=") {
			t.Fatalf("%v: %s", err, out)
		}
	}
	rotate("1") // a follower or not
	learn(c.Nodes[1])
	for _, n := range c.Nodes { // at once: nobody waits until all know of the rotation
		for _, made := range []string{first, cookie} {
			if _, accepted := ask(n, made); !accepted {
				t.Errorf("node %s does not take a cookie of before or after a rotation", n.ID)
			}
		}
	}
	rotate("2")
	for _, n := range c.Nodes {
		must(t, eidertest.Until("the first secret to end at node "+n.ID, func() bool {
			_, accepted := ask(n, first)
			return !accepted
		}))
		if _, accepted := ask(n, cookie); !accepted {
			t.Errorf("node %s does not take a cookie of one rotation ago", n.ID)
		}
	}
	for _, n := range c.Nodes {
		n.Kill()
	}
	alone := c.Nodes[2]
	must(t, alone.Start())
	waitData(t, alone, "www.zone.test.", dns.TypeA, "192.0.2.80")
	if _, accepted := ask(alone, cookie); !accepted {
		t.Error("a node alone does not take a cookie of before")
	}
}

// limited counts what comes back to n questions asked as fast as they are answered.
func limited(t *testing.T, c net.Conn, m *dns.Msg, n int) (full, truncated, refused, nothing int) {
	t.Helper()
	for range n {
		switch r := exchange(t, c, m, 100*time.Millisecond); {
		case r == nil:
			nothing++
		case r.Truncated:
			truncated++
		case r.Rcode == dns.RcodeSuccess && r.IsEdns0().ExtendedRcode() == 0:
			full++
		default:
			refused++
		}
	}
	return
}

func TestRateLimitOfANode(t *testing.T) {
	c := startCluster(t, 1, map[string]any{"limits": map[string]any{"rrl": 5, "rrl_exempt": []string{}}})
	node := c.Nodes[0]
	start := time.Now()
	flood := from(t, node, "127.0.9.1")
	full, truncated, _, nothing := limited(t, flood, question("www.zone.test.", ""), 100)
	if most := 5 + 5*int(time.Since(start)/time.Second+1); full < 5 || full > most || truncated == 0 || nothing == 0 {
		t.Errorf("of 100 questions %d were answered (at most %d should be), %d truncated, %d not answered", full, most, truncated, nothing)
	}
	if full, _, _, _ := limited(t, from(t, node, "127.0.10.1"), question("www.zone.test.", ""), 5); full != 5 {
		t.Errorf("a client of another prefix got %d answers of 5", full)
	}
	r, _, err := (&dns.Client{Net: "tcp", Timeout: 5 * time.Second}).Exchange(question("www.zone.test.", ""), node.Query)
	if err != nil || len(r.Answer) != 1 {
		t.Errorf("over TCP: %v, %v", r, err)
	}
	var cookie string
	must(t, eidertest.Until("a cookie", func() bool {
		cookie = cookieOf(exchange(t, flood, question("www.zone.test.", "0102030405060708"), 100*time.Millisecond))
		return len(cookie) == 48
	}))
	if full, _, _, _ := limited(t, flood, question("www.zone.test.", cookie), 50); full != 50 {
		t.Errorf("with a good cookie %d of 50 were answered", full)
	}
	if figure(t, node, `eider_dns_dropped_total{reason="rate"}`) == 0 || figure(t, node, "eider_dns_rate_limited_replies_total") == 0 {
		t.Error("not counted")
	}
}

func TestQueryACLOfANode(t *testing.T) {
	c := startCluster(t, 1, map[string]any{"query_acl": map[string]any{"deny": []string{"127.0.9.0/24"}}})
	node := c.Nodes[0]
	r := exchange(t, from(t, node, "127.0.9.1"), question("www.zone.test.", ""), 5*time.Second)
	if r == nil || r.Rcode != dns.RcodeRefused || len(r.IsEdns0().Option) != 1 || r.IsEdns0().Option[0].(*dns.EDNS0_EDE).InfoCode != dns.ExtendedErrorCodeProhibited {
		t.Errorf("a client that is denied: %v", r)
	}
	if r := exchange(t, from(t, node, "127.0.8.1"), question("www.zone.test.", ""), 5*time.Second); r == nil || r.Rcode != dns.RcodeSuccess {
		t.Errorf("another: %v", r)
	}
}

// A flood from one prefix leaves another's answers alone, 95 of 100 or more, once it is a second old.
func TestFloodFromOnePrefix(t *testing.T) {
	notShort(t)
	c := startCluster(t, 1, map[string]any{"limits": map[string]any{"rrl_exempt": []string{}}})
	node := c.Nodes[0]
	const questions, rate = 600, 200 // three seconds
	for _, name := range []string{"r%d.zone.test.", "r%d.wild.zone.test.", "www.zone.test."} {
		t.Run(name, func(t *testing.T) {
			stop := make(chan struct{})
			var flooding sync.WaitGroup
			sent := 0
			socket := from(t, node, "127.0.9.1")
			var packets [][]byte
			for i := range 1000 {
				name := name
				if name[0] == 'r' {
					name = fmt.Sprintf(name, i)
				}
				p, err := question(name, "").Pack()
				must(t, err)
				packets = append(packets, p)
			}
			flooding.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_, _ = socket.Write(packets[sent%len(packets)])
						sent++
					}
				}
			})
			control := from(t, node, "127.0.10.1")
			answers := make(chan []bool) // by number of the question
			go func() {
				answered, buf := make([]bool, questions), make([]byte, 1232)
				for {
					size, err := control.Read(buf)
					if err != nil {
						answers <- answered
						return
					}
					if m := new(dns.Msg); m.Unpack(buf[:size]) == nil && m.Rcode == dns.RcodeSuccess && len(m.Answer) == 1 && int(m.Id) < questions {
						answered[m.Id] = true
					}
				}
			}()
			start := time.Now()
			tick := time.NewTicker(time.Second / rate)
			defer tick.Stop()
			asked := []string{"www.zone.test.", "ns1.zone.test.", "gone.zone.test."}
			for i := range questions {
				<-tick.C
				m := question(asked[i%len(asked)], "")
				m.Id = uint16(i)
				p, err := m.Pack()
				must(t, err)
				_, _ = control.Write(p)
			}
			took := time.Since(start)
			held := figure(t, node, "eider_dns_held_off_prefixes")
			close(stop)
			flooding.Wait()
			must(t, control.SetReadDeadline(time.Now().Add(time.Second)))
			got, late := 0, 0
			for i, ok := range <-answers {
				if ok {
					got++
				} else if i >= rate {
					late++
				}
			}
			t.Logf("%d of %d questions answered beside %.0f a second of the flood, %d lost after the first second; prefixes held off: %d",
				got, questions, float64(sent)/took.Seconds(), late, held)
			// The filter looks four times a second and comes after two looks; how much of the
			// first second that is depends on who else uses the processors.
			if late > (questions-rate)*5/100 {
				t.Errorf("%d of %d questions were lost after the first second", late, questions-rate)
			}
		})
	}
}

// Beside a flood of random packets and thousands of half-open connections from one prefix,
// another's questions are answered over UDP and TCP, 95 of 100 or more; memory and descriptors
// stay bounded, none is left over, and the leader leads on. `make overload` does so for a minute.
func TestOverloadOfACluster(t *testing.T) {
	notShort(t)
	c := startCluster(t, 3, map[string]any{"limits": map[string]any{"rrl_exempt": []string{}}})
	from(t, c.Nodes[0], "127.0.9.1") // or skip
	var o *eidertest.Overload
	for try := 1; ; try++ {
		var err error
		o, err = c.Overload("zone.test", "www.zone.test", 5000, 5*time.Second)
		must(t, err)
		t.Logf("%+v", *o)
		if o.UDP.Share() >= 0.95 && o.TCP.Share() >= 0.95 {
			break
		}
		if try == 3 && !raceEnabled { // once may be the machine's fault; with the race detector the node is the slow one
			t.Errorf("of the questions of others %.1f %% were answered over UDP and %.1f %% over TCP", 100*o.UDP.Share(), 100*o.TCP.Share())
		}
		if try == 3 {
			break
		}
	}
	if o.TermAfter != o.TermBefore || o.LeaderAfter != o.Leader {
		t.Errorf("node %s led in term %d, afterwards node %s in term %d", o.Leader, o.TermBefore, o.LeaderAfter, o.TermAfter)
	}
	for _, n := range o.Nodes {
		if n.MemoryMost > n.Memory+100 && !raceEnabled || n.FilesMost > n.Files+1024+64 {
			t.Errorf("node %s grew from %d to %d MB and from %d to %d descriptors", n.ID, n.Memory, n.MemoryMost, n.Files, n.FilesMost)
		}
	}
	wantLine(t, c.Nodes[0], "ADD: after.zone.test A 192.0.2.9", "OK")
}
