package cluster

import "errors"

// FailLog makes the node believe that a write to its log failed.
func (n *Node) FailLog() { n.running.Load().logs.fail(errors.New("no space left on device")) }
