package cluster

import (
	"errors"
	"time"
)

// FailLog makes the node believe that a write to its log failed.
func (n *Node) FailLog() { n.running.Load().logs.fail(errors.New("no space left on device")) }

// HangLog makes the node believe that a write to its log hangs since then, until it has made another.
func (n *Node) HangLog(since time.Time) { n.running.Load().logs.writing.Store(since.UnixNano()) }
