package admin

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/eider-dns/eider/store/record"
)

// The body of a propose request is encoded changes, each after its length in
// four octets; the body of the answer is one frame for each: a kind, a length in
// four octets and a record.Result or the text of an error.
const (
	// maxProposeChanges and maxProposeBody bound one request: what a node decodes
	// before it proposes. A longer list is sent as several requests.
	maxProposeChanges = 1024
	maxProposeBody    = 4 << 20
	frameHeader       = 4
)

// The kinds of answer frames.
const (
	frameResult byte = iota
	frameNotDone
	frameUnknown
	frameFailed
)

// maxErrorText is the longest error in octets an answer frame carries.
const maxErrorText = 4096

// appendChange appends the frame of c.
func appendChange(dst []byte, c *record.Change) ([]byte, error) {
	start := len(dst)
	dst, err := c.AppendBinary(append(dst, 0, 0, 0, 0))
	if err != nil {
		return dst[:start], err
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-frameHeader))
	return dst, nil
}

// errFrame is wrapped by every error about a body that is no list of changes.
var errFrame = errors.New("not a list of framed changes")

// decodeChanges takes the body of a propose request apart; the changes share it.
func decodeChanges(body []byte) ([]record.Change, error) {
	var changes []record.Change
	for len(body) > 0 {
		if len(changes) == maxProposeChanges {
			return nil, fmt.Errorf("%w: more than %d changes", errFrame, maxProposeChanges)
		}
		if len(body) < frameHeader || uint64(len(body)-frameHeader) < uint64(binary.BigEndian.Uint32(body)) {
			return nil, fmt.Errorf("%w: change %d is cut short", errFrame, len(changes))
		}
		n := frameHeader + int(binary.BigEndian.Uint32(body))
		c, err := record.DecodeChange(body[frameHeader:n:n])
		if err != nil {
			return nil, fmt.Errorf("%w: change %d: %w", errFrame, len(changes), err)
		}
		if err := ownSettings(&c); err != nil {
			return nil, fmt.Errorf("change %d: %w", len(changes), err)
		}
		changes, body = append(changes, c), body[n:]
	}
	return changes, nil
}

// ownSettings keeps from everyone what the nodes settle among themselves: a table of members or a feature level that
// makes no sense could be mended by no command.
func ownSettings(c *record.Change) error {
	for _, op := range c.Ops {
		if op.Kind == record.OpSetting && (op.Type == record.SettingLevel || op.Type >= record.SettingMembers && op.Type < record.SettingMembers+record.MaxMemberParts) {
			return fmt.Errorf("setting %#x is the nodes' own; `eider cluster` changes members", uint16(op.Type))
		}
	}
	return nil
}

// appendAnswers appends the frames that answer n changes of which the first
// len(results) were decided and the others ended in err.
func appendAnswers(dst []byte, n int, results []record.Result, err error) []byte {
	for i := range n {
		start := len(dst)
		dst = append(dst, frameResult, 0, 0, 0, 0)
		if i < len(results) && results[i].Status != 0 {
			dst, _ = results[i].AppendBinary(dst) // it has no error but to fit the interface
		} else {
			if err == nil {
				err = fmt.Errorf("%w: the cluster gave no result", ErrUnknown)
			}
			switch outcomeOf(err) {
			case notDone:
				dst[start] = frameNotDone
			case unknown:
				dst[start] = frameUnknown
			default:
				dst[start] = frameFailed
			}
			text := err.Error()
			dst = append(dst, text[:min(len(text), maxErrorText)]...)
		}
		binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-1-frameHeader))
	}
	return dst
}

// remoteError is an error the node asked gave, sorted as that node sorted it.
type remoteError struct {
	text string
	kind error // ErrNoLeader, ErrUnknown or nil
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

// readAnswers reads the answers to n changes: the results of the first ones, and
// the error of those behind.
func readAnswers(r io.Reader, n int) ([]record.Result, error) {
	results := make([]record.Result, 0, n)
	var failure error
	for range n {
		var head [1 + frameHeader]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return results, fmt.Errorf("%w: the node's answer broke off: %w", ErrUnknown, err)
		}
		size := binary.BigEndian.Uint32(head[1:])
		if size > maxProposeBody {
			return results, fmt.Errorf("%w: the node's answer has a frame of %d octets", ErrUnknown, size)
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(r, body); err != nil {
			return results, fmt.Errorf("%w: the node's answer broke off: %w", ErrUnknown, err)
		}
		if head[0] == frameResult && failure == nil {
			res, err := record.DecodeResult(body)
			if err != nil {
				return results, fmt.Errorf("%w: the node's answer: %w", ErrUnknown, err)
			}
			results = append(results, res)
			continue
		}
		if failure == nil {
			failure = frameError(head[0], string(body))
		}
	}
	return results, failure
}

func frameError(kind byte, text string) error {
	switch kind {
	case frameNotDone:
		return &remoteError{text: text, kind: ErrNoLeader}
	case frameFailed:
		return &remoteError{text: text}
	}
	return &remoteError{text: text, kind: ErrUnknown}
}
