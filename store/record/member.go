package record

import (
	"encoding/json"
	"fmt"
)

// CatalogProducer is the value of ZoneCatalog of a zone that lists members for others (RFC 9432).
const CatalogProducer = "producer"

// MaxGroup is the longest name of a group in octets: one character-string.
const MaxGroup = 255

// Member is the value of ZoneMember: the catalog that lists a zone, with which group, and under which
// label, which the state machine makes.
type Member struct {
	Catalog Name
	Group   string
	ID      string
}

type memberJSON struct {
	Catalog string `json:"catalog"`
	Group   string `json:"group,omitempty"`
	ID      string `json:"id,omitempty"`
}

// Encode is the inverse of DecodeMember.
func (m Member) Encode() []byte {
	b, _ := json.Marshal(memberJSON{m.Catalog.String(), m.Group, m.ID}) // cannot fail
	return b
}

// DecodeMember reads the value of ZoneMember.
func DecodeMember(value []byte) (m Member, err error) {
	var j memberJSON
	if err := json.Unmarshal(value, &j); err != nil {
		return m, fmt.Errorf("a membership that cannot be read: %w", err)
	}
	if m.Catalog, err = ParseName(j.Catalog); err != nil {
		return m, err
	}
	m.Catalog, m.Group, m.ID = m.Catalog.Lower(), j.Group, j.ID
	switch {
	case len(m.Group) > MaxGroup:
		return m, fmt.Errorf("a group has at most %d octets", MaxGroup)
	case len(m.ID) > MaxLabel:
		return m, fmt.Errorf("a label has at most %d octets", MaxLabel)
	}
	return m, nil
}

// Below is the name with these labels below n; empty if it would be too long.
func (n Name) Below(labels ...string) Name {
	var b []byte
	for _, l := range labels {
		b = append(append(b, byte(len(l))), l...)
	}
	out := Name(b) + n
	if !out.Valid() {
		return ""
	}
	return out
}
