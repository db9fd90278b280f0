package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/eider-dns/eider/nameserver/secondary"
	"github.com/eider-dns/eider/store/record"
)

// Puller pulls secondary zones; *secondary.Puller is one.
type Puller interface {
	Refresh(ctx context.Context, apex record.Name, force bool) error
	Status(apex record.Name) (secondary.Status, bool)
}

// primariesSetting is the row of zoneSettings that makes a zone secondary.
var primariesSetting = zoneSetting{
	key: "primaries", number: record.ZoneSecondary, unset: "none",
	help: "makes the zone secondary: ADDR[@PORT][%KEY],... are asked in turn, with the cluster's TSIG key KEY",
	parse: func(text string) ([]byte, error) {
		list, err := secondary.ParsePrimaries(text)
		if err != nil {
			return nil, err
		}
		return secondary.EncodePrimaries(list)
	},
	format: func(value []byte) string {
		list, err := secondary.DecodePrimaries(value)
		if err != nil {
			return err.Error()
		}
		return secondary.FormatPrimaries(list)
	},
}

// CreateZone makes the ops that create a zone with settings; op is the OpZoneCreate of a primary one.
func CreateZone(op record.Op, settings []record.Op) []record.Op {
	ops := []record.Op{op}
	for _, s := range settings {
		if s.Type == record.ZoneSecondary && len(s.Data) == 1 {
			made := secondary.Create(op.Owner, s.Data[0])
			made[0].Flags = op.Flags
			ops = append(made, ops[1:]...)
			continue
		}
		ops = append(ops, s)
	}
	return ops
}

// postRefresh has a secondary zone looked after by the node that leads.
func (s *Server) postRefresh(w http.ResponseWriter, r *http.Request) {
	apex, err := record.ParseName(r.URL.Query().Get("zone"))
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if s.puller == nil {
		fail(w, http.StatusNotFound, errors.New("this node pulls no zones"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
	defer cancel()
	switch err := s.puller.Refresh(ctx, apex, r.URL.Query().Get("force") == "1"); {
	case err == nil:
		answerJSON(w, http.StatusOK, struct{}{})
	case errors.Is(err, secondary.ErrNotSecondary):
		fail(w, http.StatusNotFound, err)
	default:
		fail(w, http.StatusServiceUnavailable, err)
	}
}

// Refresh has a secondary zone looked after now; with force it is transferred whole.
func (c *Client) Refresh(ctx context.Context, apex record.Name, force bool) error {
	q := url.Values{"zone": {apex.String()}}
	if force {
		q.Set("force", "1")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+httpHost+"/v1/zone/refresh?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	return c.doJSON(req, &struct{}{})
}
