package eidertest

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Probe asks one node the same question at a steady rate and keeps count of what
// came back. It is how a test sees that answers never stop.
type Probe struct {
	Sent, Right, Wrong, Lost int
	WrongAnswer              string // the first one

	stop chan struct{}
	done sync.WaitGroup
}

// probeTimeout is how late an answer may come on a busy machine; a later one is lost.
const probeTimeout = 2 * time.Second

// Probe starts asking for name and qtype rate times a second. right judges an answer.
func (n *Node) Probe(rate int, name string, qtype uint16, right func(*dns.Msg) bool) (*Probe, error) {
	return n.ProbeFrom("", rate, name, qtype, right)
}

// ProbeFrom is Probe by a client of a certain address, if it is not empty.
func (n *Node) ProbeFrom(address string, rate int, name string, qtype uint16, right func(*dns.Msg) bool) (*Probe, error) {
	conn, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(address)}}).Dial("udp", n.Query)
	if err != nil {
		return nil, err
	}
	p := &Probe{stop: make(chan struct{})}
	p.done.Add(1)
	go p.run(conn, rate, name, qtype, right)
	return p, nil
}

// run sends and receives in one goroutine: it is a steady probe, not a load.
func (p *Probe) run(conn net.Conn, rate int, name string, qtype uint16, right func(*dns.Msg) bool) {
	defer p.done.Done()
	defer conn.Close()
	waiting := map[uint16]time.Time{}
	var mu sync.Mutex
	received := make(chan struct{})
	go func() {
		defer close(received)
		buf := make([]byte, dns.MaxMsgSize)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				var ne net.Error
				if errors.As(err, &ne) {
					return
				}
				continue // connection refused while a process is not there
			}
			m := new(dns.Msg)
			err = m.Unpack(buf[:n])
			mu.Lock()
			if _, ours := waiting[m.Id]; err == nil && ours {
				delete(waiting, m.Id)
				if right(m) {
					p.Right++
				} else {
					p.Wrong++
					if p.WrongAnswer == "" {
						p.WrongAnswer = m.String()
					}
				}
			}
			mu.Unlock()
		}
	}()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	m.RecursionDesired = false
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-tick.C:
			m.Id++
			packet, err := m.Pack()
			if err != nil {
				panic(err)
			}
			mu.Lock()
			p.Sent++
			waiting[m.Id] = time.Now()
			mu.Unlock()
			_, _ = conn.Write(packet)
		case <-p.stop:
			running = false
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(probeTimeout))
	answered := func() bool { mu.Lock(); defer mu.Unlock(); return len(waiting) == 0 }
	for !answered() {
		select {
		case <-tick.C:
			continue
		case <-received:
		}
		break
	}
	_ = conn.SetReadDeadline(time.Now())
	<-received
	p.Lost = len(waiting)
}

// Stop ends the probe, waits for late answers and tells what was wrong, if anything.
func (p *Probe) Stop() error {
	close(p.stop)
	p.done.Wait()
	if p.Sent == 0 || p.Lost > 0 || p.Wrong > 0 {
		return fmt.Errorf("of %d questions %d were answered right, %d wrong, %d not at all; the first wrong answer: %s", p.Sent, p.Right, p.Wrong, p.Lost, p.WrongAnswer)
	}
	return nil
}
