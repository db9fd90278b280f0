package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/eider-dns/eider/nameserver/catalog"
	"github.com/eider-dns/eider/nameserver/notify"
	"github.com/eider-dns/eider/nameserver/secondary"
	"github.com/eider-dns/eider/store"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/zonemd"
)

// zoneSetting is one setting of a zone as an operator writes it.
type zoneSetting struct {
	key    string
	number record.ZoneSetting
	help   string                                      // what it means, and the form of its value
	unset  string                                      // what holds without it
	parse  func(text string) (value []byte, err error) // nil takes it away
	format func(value []byte) string
}

// zoneSettings are all there are, in the order they are shown.
var zoneSettings = []zoneSetting{
	{
		key: "serial", number: record.ZoneSerialPolicy, unset: string(record.SerialIncrement),
		help: "the next serial: increment, unixtime or dateserial (YYYYMMDDnn); it always goes forward",
		parse: func(text string) ([]byte, error) {
			p, err := record.ParseSerialPolicy(text)
			return []byte(p), err
		},
		format: func(value []byte) string { return string(value) },
	},
	{
		key: "journal", number: record.ZoneJournal, help: journalHelp, unset: defaultJournal,
		parse: parseJournal, format: formatJournal,
	},
	{
		key: "notify", number: record.ZoneNotify, unset: "the zone's name servers",
		help: "who is told of changes beside the zone's name servers: ADDR[@PORT][%KEY],..., or off: nobody",
		parse: func(text string) ([]byte, error) {
			s, err := notify.Parse(text)
			if err != nil {
				return nil, err
			}
			return s.Encode()
		},
		format: func(value []byte) string {
			s, err := notify.Decode(value)
			if err != nil {
				return err.Error()
			}
			return s.String()
		},
	},
	{
		key: "zonemd", number: record.ZoneZONEMD, unset: "off",
		help: fmt.Sprintf("a digest of the zone (RFC 8976) made with each change: sha384, sha512 or off; up to %d records, not for signed zones", store.MaxZONEMDRecords),
		parse: func(text string) ([]byte, error) {
			if text == "off" {
				return nil, nil
			}
			_, err := zonemd.ParseAlgorithm(text)
			return []byte(text), err
		},
		format: func(value []byte) string { return string(value) },
	},
	primariesSetting,
	catalogSetting,
	memberSetting,
	templateSetting,
	originSetting,
}

// ZoneSettingsHelp has one line for each setting of a zone.
func ZoneSettingsHelp() string {
	var b strings.Builder
	for _, s := range zoneSettings {
		fmt.Fprintf(&b, "   %-10s %s\n", s.key, s.help)
	}
	return b.String()
}

// ParseZoneSettings makes ops of KEY=VALUE; KEY= alone takes a setting away.
func ParseZoneSettings(apex record.Name, words []string) ([]record.Op, error) {
	var ops []record.Op
	seen := make(map[string]bool)
	for _, word := range words {
		key, text, ok := strings.Cut(word, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not KEY=VALUE; for example serial=unixtime", shorten(word))
		}
		s, err := zoneSettingOf(key)
		if err != nil {
			return nil, err
		}
		if seen[s.key] {
			return nil, fmt.Errorf("%s is given twice", s.key)
		}
		seen[s.key] = true
		op := record.Op{Kind: record.OpZoneSetting, Owner: apex, Type: s.number}
		if text != "" {
			value, err := s.parse(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.key, err)
			}
			if len(value) > record.MaxSetting {
				return nil, fmt.Errorf("%s: the value takes %d octets, at most %d are kept", s.key, len(value), record.MaxSetting)
			}
			if value != nil {
				op.Data = [][]byte{value}
			}
		}
		ops = append(ops, op)
	}
	return ops, nil
}

func zoneSettingOf(key string) (zoneSetting, error) {
	var keys []string
	for _, s := range zoneSettings {
		if s.key == key {
			return s, nil
		}
		keys = append(keys, s.key)
	}
	return zoneSetting{}, fmt.Errorf("%q is no setting of a zone; there are %s", shorten(key), strings.Join(keys, ", "))
}

// ZoneDetail is a zone as `zone show` shows it.
type ZoneDetail struct {
	Zone     string            `json:"zone"`
	Serial   uint32            `json:"serial"`
	Index    uint64            `json:"index"` // the applied index it was read at
	Settings []ZoneSettingInfo `json:"settings"`

	Secondary *secondary.Status `json:"secondary,omitempty"`
	Catalog   *catalog.Status   `json:"catalog,omitempty"` // of one that is followed
}

// ZoneSettingInfo is one setting of a zone.
type ZoneSettingInfo struct {
	Key   string `json:"key"`
	Value string `json:"value"`         // what holds
	Set   bool   `json:"set,omitempty"` // it was set, and is not what holds without
}

func detail(view Reader, zone record.Zone) ZoneDetail {
	out := ZoneDetail{Zone: zone.Apex.String(), Serial: zone.Serial, Index: view.Index()}
	for _, s := range zoneSettings {
		info := ZoneSettingInfo{Key: s.key, Value: s.unset}
		if value := view.ZoneSetting(zone.Apex, s.number); value != nil {
			info.Value, info.Set = s.format(value), true
		}
		out.Settings = append(out.Settings, info)
	}
	return out
}

// zoneFor is the zone a request names; without it the request is answered.
func (s *Server) zoneFor(w http.ResponseWriter, r *http.Request, view Reader) (record.Zone, bool) {
	apex, err := record.ParseName(r.URL.Query().Get("zone"))
	if err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("zone: %w", err))
		return record.Zone{}, false
	}
	zone, ok := findZone(view, apex)
	if !ok {
		fail(w, http.StatusNotFound, noZone(apex))
	}
	return zone, ok
}

func (s *Server) getZone(w http.ResponseWriter, r *http.Request) {
	view, ok := s.viewFor(w, r)
	if !ok {
		return
	}
	defer view.Close()
	if zone, ok := s.zoneFor(w, r, view); ok {
		out := detail(view, zone)
		if s.puller != nil {
			if st, ok := s.puller.Status(zone.Apex); ok {
				out.Secondary = &st
			}
		}
		if s.catalogs != nil {
			if st, ok := s.catalogs.Status(zone.Apex); ok {
				out.Catalog = &st
			}
		}
		answerJSON(w, http.StatusOK, out)
	}
}

// maxSettingsBody is the longest body in octets of a request that sets settings of a zone.
const maxSettingsBody = 64 << 10

// postZone sets settings of a zone: the body is a JSON object of keys and values, "" to take one away.
func (s *Server) postZone(w http.ResponseWriter, r *http.Request) {
	timeout, err := timeoutOf(r, s.timeout)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	apex, err := record.ParseName(r.URL.Query().Get("zone"))
	if err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("zone: %w", err))
		return
	}
	ops, err := settingsOf(w, r, apex)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	s.answerChange(ctx, w, record.Change{Ops: ops})
}

func settingsOf(w http.ResponseWriter, r *http.Request, apex record.Name) ([]record.Op, error) {
	setDeadline(http.NewResponseController(w).SetReadDeadline, bodyWait)
	var in map[string]string
	if err := decodeJSON(io.Reader(http.MaxBytesReader(w, r.Body, maxSettingsBody)), &in); err != nil {
		return nil, fmt.Errorf(`settings are a JSON object of texts, for example {"serial":"unixtime"}: %w`, err)
	}
	var words []string
	for _, s := range zoneSettings { // in their order, so that one request is one change
		if text, ok := in[s.key]; ok {
			words = append(words, s.key+"="+text)
			delete(in, s.key)
		}
	}
	for key := range in {
		_, err := zoneSettingOf(key)
		return nil, err
	}
	if len(words) == 0 {
		return nil, errors.New("no setting is named")
	}
	return ParseZoneSettings(apex, words)
}

// ChangeDone is the answer to one change asked for by HTTP.
type ChangeDone struct {
	Status string     `json:"status"` // OK, UNCHANGED, NOT-FOUND
	Index  uint64     `json:"index"`
	Zones  []ZoneInfo `json:"zones,omitempty"`
	Note   string     `json:"note,omitempty"`
}

// answerChange proposes a change and answers with its outcome.
func (s *Server) answerChange(ctx context.Context, w http.ResponseWriter, c record.Change) {
	c.ID = newRequestID()
	sign(ctx, &c)
	results, err := s.proposer.Propose(ctx, []record.Change{c})
	switch {
	case err != nil && outcomeOf(err) == failed:
		fail(w, http.StatusBadRequest, err)
	case err != nil:
		fail(w, http.StatusServiceUnavailable, err)
	case len(results) != 1:
		fail(w, http.StatusInternalServerError, fmt.Errorf("%w: the cluster gave no result", ErrUnknown))
	case results[0].Status == record.Refused:
		fail(w, http.StatusConflict, fmt.Errorf("refused: %s", results[0].Reason))
	default:
		answerJSON(w, http.StatusOK, changeDone(results[0]))
	}
}

func changeDone(res record.Result) ChangeDone {
	out := ChangeDone{Status: res.Status.String(), Index: res.Index, Note: res.Reason}
	for _, z := range res.Zones {
		out.Zones = append(out.Zones, ZoneInfo{Zone: z.Zone.String(), Serial: z.Serial})
	}
	return out
}

// Zone is one zone with its settings.
func (c *Client) Zone(ctx context.Context, apex record.Name) (z ZoneDetail, err error) {
	q := url.Values{"zone": {apex.String()}}
	c.level.set(q)
	err = c.getJSON(ctx, "/v1/zone", q, &z)
	return z, err
}
