package nameserver

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/eider-dns/eider/store/record"
)

const (
	// batchSize is how many packets one system call takes in or sends. More gain
	// little, and delay the first reply of a batch.
	batchSize = 32
	// receiveTimeout lets a worker look whether it is to stop, should nothing wake
	// it, in seconds.
	receiveTimeout = 1
	// shortWait is how long a busy worker waits for more packets without the scheduler's knowledge, in nanoseconds. Longer gains
	// nothing more, and a stop of the world waits for it.
	shortWait = 50_000
	// packetStride is how far apart the packets of a batch are, in octets. A whole page
	// would put the starts of all of them into the same few lines of the cache.
	packetStride = maxUDPQuery + 64
	// warmBatch is from how many packets on it is worth it to look at their names together first.
	warmBatch = 4
)

// batch is the memory of recvmmsg and sendmmsg: for each packet a header, a
// buffer, the sender's address and the address it was sent to; for each reply a
// header and a buffer. The kernel is given pointers into it, so it stays as it is.
type batch struct {
	in, out   [batchSize]unix.Mmsghdr
	inVec     [batchSize]unix.Iovec
	outVec    [batchSize]unix.Iovec
	from      [batchSize]unix.RawSockaddrInet6 // the longest address there is
	control   [batchSize][controlSize]byte
	packets   [batchSize][packetStride]byte
	replies   []byte // batchSize buffers
	replySize int
	used      int // entries of in that the kernel wrote to
	poll      unix.PollFd
	wait      unix.Timespec // what is left of shortWait: the kernel writes it

	keys   [batchSize][]byte // of the names asked for
	asked  [batchSize][]byte // by packet: its key; nil if it is not known
	keyBuf [batchSize * record.MaxKey]byte
}

func newBatch(maxUDP int) *batch {
	b := &batch{replySize: maxUDP + slack}
	b.replies = make([]byte, batchSize*b.replySize)
	for i := range batchSize {
		b.inVec[i].Base = &b.packets[i][0]
		b.inVec[i].SetLen(maxUDPQuery)
		in := &b.in[i].Hdr
		in.Name = (*byte)(unsafe.Pointer(&b.from[i]))
		in.Iov = &b.inVec[i]
		in.SetIovlen(1)
		b.out[i].Hdr.Iov = &b.outVec[i]
		b.out[i].Hdr.SetIovlen(1)
	}
	b.used = batchSize
	return b
}

// serveUDP is one worker: receive what is there, at least one packet, answer
// each, send the replies. The socket outlives it: Shutdown closes it when all
// workers have ended.
func (s *Server) serveUDP(u udpSocket, w *scratch) {
	runtime.LockOSThread() // for good: the thread ends with the worker, and nobody else gets one that goes ahead
	s.goAhead()
	b := newBatch(s.o.MaxUDP)
	own := w.message.b
	defer func() { w.message.b = own }()
	for n := 0; !s.stopping(); {
		n = b.receive(u.handle, u.wildcard, n > 1)
		if s.stopping() {
			return // shut down sockets "receive" packets that are none
		}
		b.warm(s, n)
		sent := 0
		for i := range n {
			if b.answer(s, &u, w, i, sent) {
				sent++
			}
		}
		b.send(u.handle, sent)
	}
}

// receive waits for packets and tells how many came. A worker that is busy looks
// first whether some are there already.
//
// What cannot wait goes past the scheduler (RawSyscall6): a system call the scheduler knows of that lasts
// longer than 20 microseconds, as sending a batch does, has the runtime's monitor take the
// processor away and look again 10,000 times a second whether there is another, for 8 % of all CPU time. So
// does a wait for packets: a busy worker, whose next ones are microseconds away, waits shortWait before it tells the scheduler.
func (b *batch) receive(fd int, control, busy bool) int {
	for i := range b.used {
		h := &b.in[i].Hdr
		h.Namelen = unix.SizeofSockaddrInet6
		if control {
			h.Control = &b.control[i][0]
			h.SetControllen(controlSize)
		}
	}
	b.used = 0
	if busy && (b.take(fd) || b.soon(fd) && b.take(fd)) {
		return b.used
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_WAITFORONE, 0, 0)
	if errno != 0 {
		b.used = 1
		return 0 // time is over, a signal, or an error of one packet
	}
	b.used = int(n)
	return int(n)
}

// take takes in what is there, and tells whether anything was.
func (b *batch) take(fd int) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return false
	}
	b.used = int(n)
	return true
}

// soon waits shortWait for packets, and tells whether there are any.
func (b *batch) soon(fd int) bool {
	b.poll = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	b.wait = unix.Timespec{Nsec: shortWait}
	n, _, _ := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&b.poll)), 1, uintptr(unsafe.Pointer(&b.wait)), 0, 0, 0)
	return n == 1
}

// warm makes the keys of the names that n packets ask for, and has the view look at them before any is answered; where
// it is not worth it, it forgets those of the packets before.
func (b *batch) warm(s *Server, n int) {
	clear(b.asked[:n])
	if n < warmBatch {
		return
	}
	view := s.o.View()
	if view == nil {
		return
	}
	defer view.Close()
	keys, buf := b.keys[:0], b.keyBuf[:0]
	for i := range n {
		p := b.packets[i][:b.in[i].Len]
		if end := nameEnd(p, headerSize); end > 0 {
			start := len(buf)
			buf = record.AppendWireKey(buf, p[headerSize:end])
			b.asked[i] = buf[start:len(buf):len(buf)]
			keys = append(keys, b.asked[i])
		}
	}
	view.Warm(keys)
}

// answer answers packet i and makes the reply number k of those to send; false
// if it gets none.
func (b *batch) answer(s *Server, u *udpSocket, w *scratch, i, k int) bool {
	from := b.sender(i)
	if drop := u.refuses(from); drop != dropNone {
		w.counts.drop(drop)
		return false
	}
	if packet := b.packets[i][:b.in[i].Len]; s.updates.wants(packet) {
		s.updateUDP(packet, from, b.later(u, i))
		return false
	}
	w.key = b.asked[i]
	at := k * b.replySize
	w.message.b = b.replies[at : at : at+b.replySize]
	reply := s.answer(w, b.packets[i][:b.in[i].Len], from.Addr(), UDP)
	if reply == nil {
		if w.aside {
			s.asideUDP(b.packets[i][:b.in[i].Len], from, b.later(u, i))
		}
		return false
	}
	b.outVec[k].Base = &reply[0]
	b.outVec[k].SetLen(len(reply))
	in, out := &b.in[i].Hdr, &b.out[k].Hdr
	out.Name, out.Namelen = in.Name, in.Namelen
	out.Control = nil
	out.SetControllen(0)
	if u.wildcard {
		if c := replySource(b.control[i][:in.Controllen]); c != nil {
			out.Control = &c[0]
			out.SetControllen(len(c))
		}
	}
	return true
}

// send sends the first n replies, and waits only when the socket's buffer is full. One
// the kernel does not take is left out; who asked will ask again.
func (b *batch) send(fd, n int) {
	for at := 0; at < n; {
		sent, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.out[at])), uintptr(n-at), unix.MSG_DONTWAIT, 0, 0)
		if errno == syscall.EAGAIN {
			sent, _, errno = unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.out[at])), uintptr(n-at), 0, 0, 0)
		}
		switch {
		case errno == syscall.EINTR:
		case errno != 0 || sent == 0:
			at++
		default:
			at += int(sent)
		}
	}
}

// sender is where packet i came from.
func (b *batch) sender(i int) netip.AddrPort {
	a := &b.from[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&a.Port))[:])
	if a.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), port)
}
