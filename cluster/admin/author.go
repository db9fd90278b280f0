package admin

import (
	"context"
	"net"
	"os/user"
	"strconv"

	"github.com/eider-dns/eider/store/record"
)

// ConsoleAuthor is who asks on the standard input of a node.
const ConsoleAuthor = "console"

// authorOf names who is at the other end of a connection: the user of a unix socket, else the
// address. It is who the system says it is and not who it says it is.
func authorOf(conn net.Conn) string {
	if uid, ok := peerUID(conn); ok {
		name := "uid " + strconv.FormatUint(uint64(uid), 10)
		if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
			name = "user " + u.Username
		}
		return record.Author(name)
	}
	if conn.RemoteAddr().Network() == "tcp" {
		return record.Author("from " + conn.RemoteAddr().String())
	}
	return "admin socket"
}

// sign puts the author of a request into a change. What the change says of itself, such as
// which file it was read from, stays behind it.
func sign(ctx context.Context, c *record.Change) {
	by := callerOf(ctx).who
	if c.By != "" {
		by += ": " + c.By
	}
	c.By = record.Author(by)
}
