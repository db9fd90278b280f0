package nameserver

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// udpHandle is how a socket is used here: a blocking descriptor the runtime does
// not know of.
type udpHandle = int

// takeOver closes conn and keeps its socket. Left with the runtime, every packet
// would wake the runtime's poller, too, for nothing: that costs more than answering.
func takeOver(conn *net.UDPConn) (udpHandle, error) {
	fd := -1
	raw, err := conn.SyscallConn()
	if err != nil {
		return fd, err
	}
	if e := raw.Control(func(f uintptr) { fd, err = unix.FcntlInt(f, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return fd, e
	}
	if err != nil {
		return fd, err
	}
	// Beyond net.core.rmem_max only with CAP_NET_ADMIN; without it what there is must do.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer)
	_ = conn.Close() // before the mode changes: closing wants what it opened
	if err = unix.SetNonblock(fd, false); err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: receiveTimeout})
	}
	if err != nil {
		_ = unix.Close(fd)
	}
	return fd, err
}

func (u *udpSocket) close() { _ = unix.Close(u.handle) }

// interrupt wakes a worker up: Linux does so on shutdown(2) of an unconnected
// socket, too, although it reports an error.
func (u *udpSocket) interrupt() { _ = unix.Shutdown(u.handle, unix.SHUT_RD) }

// skMeminfoDrops is where SO_MEMINFO has the packets a socket dropped
// (SK_MEMINFO_DROPS of linux/sock_diag.h), skMeminfoVars how many figures it has.
const (
	skMeminfoDrops = 8
	skMeminfoVars  = 9
)

// kernelDrops is how many packets the kernel dropped at this socket, modulo 2^32.
func (u *udpSocket) kernelDrops() (uint64, bool) {
	var info [skMeminfoVars]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(u.handle), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return uint64(info[skMeminfoDrops]), errno == 0 && size >= uint32(unsafe.Sizeof(info))
}

// listenUDP opens one socket for each worker; the kernel spreads the clients over them.
func listenUDP(ctx context.Context, addr netip.AddrPort, workers, maxUDP int) ([]udpSocket, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			if err == nil {
				err = forgetPathMTU(int(fd), addr.Addr().Is4(), maxUDP)
			}
		}); e != nil {
			return e
		}
		return err
	}}
	var out []udpSocket
	for range workers {
		conn, err := lc.ListenPacket(ctx, family("udp", addr.Addr()), addr.String())
		if err == nil {
			var u udpSocket
			if u, err = newUDPSocket(conn.(*net.UDPConn)); err == nil {
				out = append(out, u)
				addr = netip.AddrPortFrom(addr.Addr(), u.bound.Port())
				continue
			}
		}
		for _, u := range out {
			u.close()
		}
		return nil, err
	}
	return out, nil
}

// forgetPathMTU has the kernel send replies without a look at what it was told of the MTU of their path: anyone can
// tell it, and replies in fragments are replies others can put theirs into. Replies that fit every path of
// IPv6 go out with DF over IPv4 (RFC 9715 section 3.1), which spares the kernel to number them, too; larger
// ones, if the operator wants them, may be in fragments.
func forgetPathMTU(fd int, v4 bool, maxUDP int) error {
	level, option, how := unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE
	if v4 {
		level, option, how = unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE
	}
	if maxUDP > DefaultMaxUDP {
		how = unix.IP_PMTUDISC_OMIT // the same number for IPv6
	}
	return unix.SetsockoptInt(fd, level, option, how)
}

// askDestination has the kernel tell with each packet which of our addresses it was sent to.
func askDestination(conn *net.UDPConn, v4 bool) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	level, option := unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	if v4 {
		level, option = unix.IPPROTO_IP, unix.IP_PKTINFO
	}
	if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) }); e != nil {
		return e
	}
	return err
}

// replySource turns the control message of a packet, in place, into the one its
// reply is sent with: the same address of ours, the way out left to routing.
func replySource(control []byte) []byte {
	if len(control) < unix.SizeofCmsghdr {
		return nil
	}
	// The kernel wrote it in the byte order of the machine, of which cmsghdr is made.
	var level, kind int32
	if unix.SizeofCmsghdr == 16 {
		level, kind = int32(binary.NativeEndian.Uint32(control[8:])), int32(binary.NativeEndian.Uint32(control[12:]))
	} else {
		level, kind = int32(binary.NativeEndian.Uint32(control[4:])), int32(binary.NativeEndian.Uint32(control[8:]))
	}
	info := control[unix.SizeofCmsghdr:]
	switch {
	case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(info) >= unix.SizeofInet4Pktinfo:
		clear(info[:4]) // ifindex; the address to come from follows
		return control[:unix.CmsgSpace(unix.SizeofInet4Pktinfo)]
	case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(info) >= unix.SizeofInet6Pktinfo:
		if info[0] != 0xfe || info[1]&0xc0 != 0x80 { // a link-local address needs its interface
			clear(info[16:20])
		}
		return control[:unix.CmsgSpace(unix.SizeofInet6Pktinfo)]
	}
	return nil
}
