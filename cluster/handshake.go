package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/eider-dns/eider/cluster/config"
)

// The handshake is one frame each way before anything else is read: nothing of
// a stranger reaches a decoder of Raft or of our own calls.
//
//	dialer:   magic[4] version[1] service[1] cluster[16] epoch[8] incarnation[16] idLen[1] id
//	acceptor: magic[4] version[1] status[1]  cluster[16] epoch[8] incarnation[16] idLen[1] id reasonLen[1] reason
const (
	protocolVersion = 1
	helloFixed      = 4 + 1 + 1 + 16 + 8 + 16 + 1
	maxReason       = 255
)

var magic = [4]byte{'E', 'I', 'D', 'R'}

// service is what a connection is for.
type service byte

const (
	serviceRaft service = 'r' // Raft's own messages, between admitted nodes
	serviceCall service = 'c' // our calls, between admitted nodes
	serviceJoin service = 'j' // hello and admit alone: for nodes that are not admitted yet
)

func (s service) valid() bool { return s == serviceRaft || s == serviceCall || s == serviceJoin }

const (
	statusWelcome byte = 0
	statusRefused byte = 1
)

var (
	errStranger = errors.New("not a node of an Eider cluster")
	errRefused  = errors.New("refused by the other node")
)

// hello is either frame of the handshake.
type hello struct {
	Service     service // of the dialer
	Status      byte    // of the acceptor
	Cluster     token
	Epoch       uint64 // identity.era
	Incarnation token
	ID          string
	Reason      string // of the acceptor
}

func (h *hello) append(dst []byte, answer bool) []byte {
	dst = append(dst, magic[:]...)
	dst = append(dst, protocolVersion)
	if answer {
		dst = append(dst, h.Status)
	} else {
		dst = append(dst, byte(h.Service))
	}
	dst = append(dst, h.Cluster[:]...)
	dst = binary.BigEndian.AppendUint64(dst, h.Epoch)
	dst = append(dst, h.Incarnation[:]...)
	dst = append(dst, byte(len(h.ID)))
	dst = append(dst, h.ID...)
	if answer {
		reason := h.Reason[:min(len(h.Reason), maxReason)]
		dst = append(dst, byte(len(reason)))
		dst = append(dst, reason...)
	}
	return dst
}

// readHello reads one frame octet by octet as its form asks for: a stranger is
// noticed at its first wrong octet, and nothing behind the frame is taken.
func readHello(r io.Reader, answer bool) (hello, error) {
	var h hello
	var b [helloFixed]byte
	if _, err := io.ReadFull(r, b[:len(magic)]); err != nil {
		return h, fmt.Errorf("%w: %w", errStranger, err)
	}
	if [4]byte(b[:4]) != magic {
		return h, errStranger
	}
	if _, err := io.ReadFull(r, b[4:]); err != nil {
		return h, fmt.Errorf("%w: %w", errStranger, err)
	}
	if b[4] != protocolVersion {
		return h, fmt.Errorf("%w: protocol version %d, this build speaks %d", errStranger, b[4], protocolVersion)
	}
	if answer {
		h.Status = b[5]
	} else if h.Service = service(b[5]); !h.Service.valid() {
		return h, fmt.Errorf("%w: unknown service %q", errStranger, b[5])
	}
	h.Cluster = token(b[6:22])
	h.Epoch = binary.BigEndian.Uint64(b[22:])
	h.Incarnation = token(b[30:46])
	n := int(b[46])
	if n == 0 || n > config.MaxID {
		return h, fmt.Errorf("%w: a node id of %d octets", errStranger, n)
	}
	id := make([]byte, n)
	if _, err := io.ReadFull(r, id); err != nil {
		return h, fmt.Errorf("%w: %w", errStranger, err)
	}
	h.ID = string(id)
	if answer {
		if _, err := io.ReadFull(r, b[:1]); err != nil {
			return h, fmt.Errorf("%w: %w", errStranger, err)
		}
		reason := make([]byte, b[0])
		if _, err := io.ReadFull(r, reason); err != nil {
			return h, fmt.Errorf("%w: %w", errStranger, err)
		}
		h.Reason = string(reason)
	}
	return h, nil
}
