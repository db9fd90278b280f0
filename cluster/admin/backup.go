package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// BackupType is the Content-Type of a backup.
const BackupType = "application/vnd.eider.backup"

// errBackupBusy is the answer while another backup is being made: each costs a copy of the store.
var errBackupBusy = errors.New("a backup is being made already; ask again when it is done")

// getBackup streams a backup of what this node has, with or without a quorum.
func (s *Server) getBackup(w http.ResponseWriter, _ *http.Request) {
	if s.backup == nil {
		fail(w, http.StatusNotImplemented, errors.New("this node makes no backups"))
		return
	}
	if !s.backingUp.TryLock() {
		fail(w, http.StatusConflict, errBackupBusy)
		return
	}
	defer s.backingUp.Unlock()
	w.Header().Set("Content-Type", BackupType)
	out := &begun{w: &flushWriter{w: w, control: http.NewResponseController(w)}}
	err := s.backup(out)
	switch {
	case err == nil:
	case out.any:
		panic(http.ErrAbortHandler) // the client sees a broken body, not a short backup
	default:
		fail(w, http.StatusInternalServerError, err)
	}
}

// begun notes whether anything was written.
type begun struct {
	w   io.Writer
	any bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.any = true
	return b.w.Write(p)
}

// Backup writes a backup of what the node asked has to w. Whether it is whole, its checksum says.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	resp, err := c.get(ctx, "/v1/backup", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("the backup broke off: %w", err)
	}
	return nil
}
