// Package ports finds ports on loopback for the nodes of tests, which listen again
// and again on the same ones.
//
// It promises that nobody else who asks gets them: no second cluster of this process,
// whose first one may not listen yet or be down for a moment, and no other process,
// as tests of several packages run at once. It must never know what they are for.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

const (
	// from and to are below the range that systems give to outgoing connections, so that none is taken in between.
	from, to = 10_000, 32_000
	// block is how many ports a process takes at once. It listens on the first one as long as it lives,
	// which keeps other processes away from the rest.
	block = 50
	// most is how many blocks a process takes: beyond that its ports come round again, the oldest first.
	most = 60
)

var taken struct {
	sync.Mutex
	blocks []int
	locks  []net.Listener
	next   int // counts the ports looked at, over all blocks
}

// Free gives n ports that are free for TCP and UDP.
func Free(n int) ([]int, error) {
	taken.Lock()
	defer taken.Unlock()
	ports := make([]int, 0, n)
	for range most * block {
		if len(ports) == n {
			break
		}
		port, err := next()
		if err != nil {
			return nil, err
		}
		if free(port) {
			ports = append(ports, port)
		}
	}
	if len(ports) < n {
		return nil, fmt.Errorf("of the ports %d to %d of loopback no %d are free", from, to, n)
	}
	return ports, nil
}

// next is the next port of this process, of a new block if there may be one.
func next() (int, error) {
	const each = block - 1 // the first one is the lock
	i := taken.next / each
	if i == len(taken.blocks) && i < most {
		if err := take(); err != nil && i == 0 {
			return 0, err
		}
	}
	if i >= len(taken.blocks) {
		taken.next, i = 0, 0
	}
	port := taken.blocks[i] + 1 + taken.next%each
	taken.next++
	return port, nil
}

// take takes one more block.
func take() error {
	const blocks = (to - from) / block
	start := rand.IntN(blocks)
	for i := range blocks {
		first := from + (start+i)%blocks*block
		lock, err := net.Listen("tcp", address("127.0.0.1", first))
		if err == nil {
			taken.blocks, taken.locks = append(taken.blocks, first), append(taken.locks, lock)
			return nil
		}
	}
	return fmt.Errorf("no block of ports on loopback is left from %d to %d", from, to)
}

// free tries a port on loopback, and on all addresses of this machine, where a test may listen, too.
func free(port int) bool {
	for _, host := range [...]string{"127.0.0.1", ""} {
		l, err := net.Listen("tcp", address(host, port))
		if err != nil {
			return false
		}
		p, err := net.ListenPacket("udp", address(host, port))
		l.Close()
		if err != nil {
			return false
		}
		p.Close()
	}
	return true
}

func address(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
