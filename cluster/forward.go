package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/eider-dns/eider/store/record"
)

const (
	// maxForward is how many changes one call carries; their results must fit maxAnswer.
	maxForward = 1024
	// forwardBytes is how many octets of changes one call carries, unless a single
	// change is larger.
	forwardBytes = 512 << 10
	// maxForwardTime is the longest a leader works for a call.
	maxForwardTime = time.Minute
)

// Codes of the answer to callPropose.
const (
	proposeDone    byte = iota // all changes have results
	proposeNotDone             // the changes without a result were not appended
	proposeUnknown             // some of them may have been
	proposeCodes
)

// forward sends changes to the leader and has it propose them; it never passes
// them on. Losing the connection after sending makes the outcome unsure, and so
// does a change of leader, which is not waited out.
func (n *Node) forward(ctx context.Context, to leader, changes [][]byte, changed <-chan struct{}) outcome {
	count, size := 0, 0
	for count < len(changes) && count < maxForward && (count == 0 || size+len(changes[count]) <= forwardBytes) {
		size += len(changes[count])
		count++
	}
	timeout := untilDeadline(ctx, maxForwardTime)
	question := appendForward(make([]byte, 0, size+4*count+8), timeout, changes[:count])
	if end, ok := ctx.Deadline(); !ok || time.Until(end) > timeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	answer, err := n.calls.callUntil(ctx, changed, to.address, callPropose, question)
	var remote remoteError
	switch {
	case errors.Is(err, errNotSent), errors.As(err, &remote):
		return outcome{err: fmt.Errorf("forward to leader %s: %w", to.id, err)}
	case err != nil:
		return outcome{err: fmt.Errorf("forward to leader %s: %w", to.id, err), unsure: count}
	}
	o, err := parseAnswer(answer, count)
	if err != nil {
		return outcome{err: fmt.Errorf("forward to leader %s: %w", to.id, err), unsure: count}
	}
	return o
}

// onPropose is the leader's end of forward.
func (n *Node) onPropose(ctx context.Context, payload []byte) ([]byte, error) {
	timeout, changes, err := parseForward(payload)
	if err != nil {
		return nil, err
	}
	for i, c := range changes {
		if _, err := record.DecodeChange(c); err != nil {
			return nil, fmt.Errorf("change %d of %d: %w", i+1, len(changes), err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r := n.running.Load()
	if r == nil {
		return appendAnswer(nil, outcome{err: n.whyNotRunning()}), nil
	}
	if r.raft.State() != raft.Leader {
		l, _ := n.leaderNow()
		return appendAnswer(nil, outcome{err: fmt.Errorf("node %s does not lead", n.id), leader: l}), nil
	}
	return appendAnswer(nil, n.lead(ctx, r, changes)), nil
}

var errFrame = errors.New("bad call")

func appendForward(dst []byte, timeout time.Duration, changes [][]byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(max(timeout.Milliseconds(), 1)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(changes)))
	for _, c := range changes {
		dst = appendBlob(dst, c)
	}
	return dst
}

func parseForward(b []byte) (time.Duration, [][]byte, error) {
	if len(b) < 8 {
		return 0, nil, fmt.Errorf("%w: cut short", errFrame)
	}
	timeout := min(time.Duration(binary.BigEndian.Uint32(b))*time.Millisecond, maxForwardTime)
	count := binary.BigEndian.Uint32(b[4:])
	if count == 0 || count > maxForward {
		return 0, nil, fmt.Errorf("%w: %d changes, 1 to %d are allowed", errFrame, count, maxForward)
	}
	b = b[8:]
	changes := make([][]byte, count)
	for i := range changes {
		var ok bool
		if changes[i], b, ok = takeBlob(b); !ok {
			return 0, nil, fmt.Errorf("%w: cut short", errFrame)
		}
	}
	if len(b) > 0 {
		return 0, nil, fmt.Errorf("%w: %d octets too many", errFrame, len(b))
	}
	return timeout, changes, nil
}

// appendAnswer: code[1] index[8] unsure[4] leader id, leader address, reason (blobs), count[4] results (blobs).
func appendAnswer(dst []byte, o outcome) []byte {
	code, reason := proposeDone, ""
	if o.err != nil {
		code, reason = proposeNotDone, o.err.Error()
		if o.unsure > len(o.results) {
			code = proposeUnknown
		}
	}
	dst = append(dst, code)
	dst = binary.BigEndian.AppendUint64(dst, o.index)
	dst = binary.BigEndian.AppendUint32(dst, uint32(o.unsure))
	for _, s := range []string{o.leader.id, o.leader.address, reason} {
		dst = appendBlob(dst, []byte(s[:min(len(s), record.MaxReason)]))
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(o.results)))
	for i := range o.results {
		b, _ := o.results[i].AppendBinary(nil) // cuts what is too long, never fails
		dst = appendBlob(dst, b)
	}
	return dst
}

// parseAnswer reads the answer to sent changes.
func parseAnswer(b []byte, sent int) (outcome, error) {
	var o outcome
	bad := func(why string) (outcome, error) { return outcome{}, fmt.Errorf("%w: %s", errFrame, why) }
	if len(b) < 13 || b[0] >= proposeCodes {
		return bad("no answer to a proposal")
	}
	code := b[0]
	o.index = binary.BigEndian.Uint64(b[1:])
	o.unsure = int(min(binary.BigEndian.Uint32(b[9:]), uint32(sent)))
	b = b[13:]
	var texts [3]string
	for i := range texts {
		text, rest, ok := takeBlob(b)
		if !ok || len(text) > record.MaxReason {
			return bad("cut short")
		}
		texts[i], b = string(text), rest
	}
	o.leader = leader{texts[0], texts[1]}
	if code != proposeDone {
		o.err = remoteError(texts[2])
	}
	if len(b) < 4 {
		return bad("cut short")
	}
	count := int(binary.BigEndian.Uint32(b))
	b = b[4:]
	if count > sent || code == proposeDone && count != sent {
		return bad(fmt.Sprintf("%d results for %d changes", count, sent))
	}
	o.results = make([]record.Result, count)
	for i := range o.results {
		blob, rest, ok := takeBlob(b)
		if !ok {
			return bad("cut short")
		}
		var err error
		if o.results[i], err = record.DecodeResult(blob); err != nil {
			return outcome{}, err
		}
		b = rest
	}
	if len(b) > 0 {
		return bad("octets too many")
	}
	return o, nil
}

func appendBlob(dst, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(b))), b...)
}

func takeBlob(b []byte) (blob, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := int64(binary.BigEndian.Uint32(b))
	if int64(len(b)-4) < n {
		return nil, nil, false
	}
	return b[4 : 4+n : 4+n], b[4+n:], true
}
