package admin

import (
	"net"
	"syscall"
)

// peerUID is the user of the process at the other end of a unix socket (unix(7), SO_PEERCRED).
func peerUID(conn net.Conn) (uid uint32, ok bool) {
	unix, isUnix := conn.(*net.UnixConn)
	if !isUnix {
		return 0, false
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *syscall.Ucred
	if raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}) != nil || err != nil {
		return 0, false
	}
	return cred.Uid, true
}
