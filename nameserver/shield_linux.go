package nameserver

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// networkHeader is where a socket filter finds the IP header, whatever the
// socket shows (SKF_NET_OFF of linux/filter.h, -0x100000).
const networkHeader = 0xfff00000

// holdOff has the kernel drop packets of these prefixes at all UDP sockets, all but
// one in shieldKeep. They count among what the kernel dropped.
func (s *Server) holdOff(prefixes []uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.udp {
		u := &s.udp[i]
		var err error
		if program := shieldProgram(prefixes, u.bound.Addr().Is4()); program == nil {
			_ = unix.SetsockoptInt(u.handle, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) // there may be none
		} else if err = attach(u.handle, program); err != nil {
			return fmt.Errorf("socket filter: %w", err)
		}
	}
	return nil
}

// shieldProgram is the filter for sockets of one family, nil if it has nothing to drop.
func shieldProgram(prefixes []uint64, v4 bool) []bpf.Instruction {
	var checks []bpf.Instruction // each jumps to the instruction behind the next if it is not its prefix
	for _, p := range prefixes {
		if is4 := p>>56 == 0xff; is4 != v4 {
			continue
		}
		if v4 {
			checks = append(checks,
				bpf.LoadAbsolute{Off: networkHeader + 12, Size: 4},
				bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xffffff00},
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(p) << 8, SkipTrue: 1})
		} else {
			checks = append(checks,
				bpf.LoadAbsolute{Off: networkHeader + 8, Size: 4},
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(p >> 32), SkipTrue: 4},
				bpf.LoadAbsolute{Off: networkHeader + 12, Size: 4},
				bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xffffff00},
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(p), SkipTrue: 1})
		}
		checks = append(checks, bpf.Jump{}) // to the dice, below
	}
	if checks == nil {
		return nil
	}
	for i := range checks {
		if _, ok := checks[i].(bpf.Jump); ok {
			checks[i] = bpf.Jump{Skip: uint32(len(checks) - i)}
		}
	}
	return append(checks,
		bpf.RetConstant{Val: wholePacket}, // of no prefix held off
		bpf.LoadExtension{Num: bpf.ExtRand},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: shieldKeep - 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: wholePacket})
}

// wholePacket is longer than any packet: nothing is cut off.
const wholePacket = 1 << 18

func attach(fd int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}
