package eidertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

const (
	attackPrefix  = "127.0.9." // all clients of the attack; Linux has all of 127.0.0.0/8
	attackSockets = 8          // that packets come from, so that each worker gets some
	attackClients = 200        // addresses that connections come from: 12,800 connections at the default tcp_per_client
	attackPackets = 4096       // different ones
	// attackOpeners is how many connections are being made at a time: with thousands of
	// goroutines that can run, those of the control client would wait for all of them.
	attackOpeners = 64
	attackPause   = 10 * time.Millisecond // after a connection that could not be made
)

// attack floods one node from one prefix: random packets over UDP as fast as they can be
// sent, and connections that say nothing or part of a question, opened again as soon as the
// node closes them.
type attack struct {
	node *Node
	zone string
	fail context.CancelCauseFunc // ends it all

	packets, opened atomic.Int64
	held            []atomic.Pointer[net.TCPConn] // of each hold
	openers         chan struct{}                 // each opening one holds a place
	running         sync.WaitGroup
}

// start attacks until ctx ends; then running is done.
func (a *attack) start(ctx context.Context, connections int) error {
	packets := a.randomPackets(rand.New(rand.NewPCG(1, 2)))
	var sockets []net.Conn
	for i := range attackSockets {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(fmt.Sprint(attackPrefix, 1+i))}}
		c, err := d.DialContext(ctx, "udp", a.node.Query)
		if err != nil {
			return fmt.Errorf("a socket of the attack: %w", err)
		}
		sockets = append(sockets, c)
	}
	a.running.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = sockets[i%attackSockets].Write(packets[i%attackPackets])
			a.packets.Add(1)
		}
		for _, c := range sockets {
			c.Close()
		}
	})
	a.held, a.openers = make([]atomic.Pointer[net.TCPConn], connections), make(chan struct{}, attackOpeners)
	for i := range connections {
		a.running.Go(func() { a.hold(ctx, i) })
	}
	return nil
}

// randomPackets are questions for random names, such with octets changed, and octets alone.
func (a *attack) randomPackets(rnd *rand.Rand) [][]byte {
	out := make([][]byte, attackPackets)
	for i := range out {
		m := new(dns.Msg)
		m.SetQuestion(fmt.Sprintf("r%d.%s", rnd.Uint32(), dns.Fqdn(a.zone)), uint16(1+rnd.IntN(64)))
		m.SetEdns0(uint16(rnd.IntN(1<<16)), rnd.IntN(2) == 0)
		p, err := m.Pack()
		if err != nil {
			panic(err) // a mistake of ours
		}
		changed := []int{0, 0, 3, len(p)}[i%4]
		for range changed {
			p[rnd.IntN(len(p))] = byte(rnd.Uint32())
		}
		out[i] = p
	}
	return out
}

// hold keeps a connection open, one of four kinds, and opens it again at once when the node closes it.
func (a *attack) hold(ctx context.Context, i int) {
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(fmt.Sprint(attackPrefix, 1+i%attackClients))}}
	part := [][]byte{nil, {0}, {0, 40}, {0, 40, 1, 2, 0, 0, 0, 1, 0, 0}}[i%4]
	for ctx.Err() == nil {
		a.openers <- struct{}{}
		c, err := d.DialContext(ctx, "tcp", a.node.Query)
		<-a.openers
		switch {
		case errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE): // the Go runtime has raised the soft limit already
			a.fail(fmt.Errorf("the attack needs more descriptors than this process may have (ulimit -Hn): %w", err))
			return
		case err != nil:
			select {
			case <-ctx.Done():
			case <-time.After(attackPause):
			}
			continue
		}
		a.opened.Add(1)
		a.held[i].Store(c.(*net.TCPConn))
		stop := context.AfterFunc(ctx, func() { c.Close() })
		_, _ = c.Write(part)
		_, _ = c.Read(make([]byte, 1)) // until the node closes it
		stop()
		a.held[i].Store(nil)
		c.Close()
	}
}

// halfOpen counts the connections that the node has not closed, by a look at each socket: when
// hold gets to know of it depends on who else wants the processors.
func (a *attack) halfOpen() (n int) {
	for i := range a.held {
		c := a.held[i].Load()
		if c == nil {
			continue
		}
		raw, err := c.SyscallConn()
		if err != nil {
			continue
		}
		_ = raw.Control(func(fd uintptr) {
			_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			if errors.Is(err, syscall.EAGAIN) { // neither an end nor a reset
				n++
			}
		})
	}
	return n
}
