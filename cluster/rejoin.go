package cluster

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/eider-dns/eider/cluster/segments"
	"github.com/eider-dns/eider/store/boltfile"
)

// errUnfit: log and checkpoint do not go together, or an entry between them is
// damaged; Raft would panic on it, or pass over it in silence.
var errUnfit = errors.New("log and checkpoint do not fit")

// fit makes sure that Raft can run over log and checkpoint. Where they do not fit, an older
// checkpoint most likely, the log is put aside and the node asks to be let in again under
// a new incarnation, since its votes go too; it answers from the checkpoint meanwhile. The only
// node of a cluster stays as it is, with an error that says what helps. Without a run there
// is nothing to go on with. Raft does not run.
func (n *Node) fit(r *run) (*run, error) {
	err := n.preflight(r.logs)
	if err == nil || !errors.Is(err, errUnfit) {
		return r, err
	}
	if n.alone() {
		return r, fmt.Errorf("%w; this is the only node of its cluster, so that no other can give back what is lost: stop it and move %s away to have it go on from the checkpoint, or `eider restore` a backup", err, logFile)
	}
	if closing := r.close(); closing != nil {
		n.log.Warn("log not closed cleanly", slog.Any("err", closing))
	}
	if err := n.logAside(SetAside, err); err != nil {
		return nil, err
	}
	if r, err = n.openAgain(); err != nil {
		return nil, err
	}
	return r, n.preflight(r.logs)
}

// openLog opens the log at a start. Inspect did not read it whole if the node ended in good order; damage that shows only now is dealt with in the
// same way.
func (n *Node) openLog() (*run, error) {
	r, err := n.newRun()
	if !errors.Is(err, segments.ErrDamaged) && !errors.Is(err, boltfile.ErrDamaged) {
		return r, err
	}
	if n.alone() {
		return nil, fmt.Errorf("%w: %w; this is the only node of its cluster, so that no other can give it back; `eider restore` takes a backup, moving %s away lets the node go on from its checkpoint, without what was answered since", ErrDamaged, err, logFile)
	}
	if err := n.logAside(SetAside, err); err != nil {
		return nil, err
	}
	return n.newRun()
}

// openAgain opens the log after a write to it failed, or a new one in the place of one that was put aside. The
// disk may have done more than refuse a write: what is damaged now would end the process when bbolt opens it.
func (n *Node) openAgain() (*run, error) {
	if _, err := readLogFacts(n.raftDir); errors.Is(err, boltfile.ErrDamaged) {
		if n.alone() {
			return nil, err
		}
		if err := n.logAside(SetAside, err); err != nil {
			return nil, err
		}
	}
	r, err := n.newRun()
	if err != nil {
		return nil, err
	}
	switch _, there, err := r.logs.logID(); {
	case err != nil:
		return r, err
	case there: // without a log that takes writes Raft would only fail again, with a vote that cannot be kept in between
		boot := n.identity.get().Boot
		if err := r.logs.mark(boot, boot); err != nil {
			return nil, errors.Join(fmt.Errorf("the log takes no writes: %w", err), r.close())
		}
		return r, nil
	}
	logID, err := n.claimLog(r.logs, n.machine.sm) // of a new incarnation of this node
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	n.machine.hint.begin(logID)
	return n.mark(r)
}

// mark leaves a mark of this start in the log and then in identity.json, so that one
// of them that is put back from an older copy is found at the next start: votes are lost with it. A disk that takes no
// write costs the mark alone; the log is opened anew after it, as after every failed write.
func (n *Node) mark(r *run) (*run, error) {
	boot, prior := newToken(), n.identity.get().Boot
	err := r.logs.mark(boot, prior)
	if err == nil {
		if err := n.identity.change(func(i *identity) { i.Boot, i.RaftDir = boot, apart(n.dir, n.raftDir) }); err != nil {
			n.log.Warn("start not marked in "+identityFile, slog.Any("err", err))
			return r, nil
		}
		err = r.logs.mark(boot, boot) // the one from before is not believed any more
	}
	if err == nil {
		return r, nil
	}
	n.log.Warn("start not marked in the log", slog.Any("err", err))
	if err := r.close(); err != nil {
		n.log.Warn("log not closed cleanly", slog.Any("err", err))
	}
	return n.newRun()
}
