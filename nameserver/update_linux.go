package nameserver

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// later gives a function that sends the reply to packet i when it is there; what
// it needs of the batch is copied, which is used again meanwhile.
func (b *batch) later(u *udpSocket, i int) func(reply []byte) {
	to := b.from[i]
	size := b.in[i].Hdr.Namelen
	fd := u.handle
	var control []byte
	if u.wildcard {
		control = append(control, replySource(b.control[i][:b.in[i].Hdr.Controllen])...)
	}
	return func(reply []byte) {
		vec := unix.Iovec{Base: &reply[0]}
		vec.SetLen(len(reply))
		h := unix.Msghdr{Name: (*byte)(unsafe.Pointer(&to)), Namelen: size, Iov: &vec}
		h.SetIovlen(1)
		if len(control) > 0 {
			h.Control = &control[0]
			h.SetControllen(len(control))
		}
		_, _, _ = unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&h)), 0) // what is lost is asked again
		runtime.KeepAlive(reply)
		runtime.KeepAlive(control)
	}
}
