package record

import (
	"encoding/json"
	"fmt"
)

// CatalogProducer is the value of ZoneCatalog of a zone that lists members for others (RFC 9432).
const CatalogProducer = "producer"

// CatalogConsumer is the value of ZoneCatalog of a secondary zone whose members are made zones here.
const CatalogConsumer = "consumer"

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

// MaxOriginID is the longest ID of an Origin in octets: a label, each octet of it escaped.
const MaxOriginID = 4 * MaxLabel

// Origin is the value of ZoneOrigin: the catalog made elsewhere that lists a zone, under which label,
// in presentation format, and in which group.
type Origin struct {
	Catalog Name
	ID      string
	Group   string
}

// Encode is the inverse of DecodeOrigin.
func (o Origin) Encode() []byte {
	b, _ := json.Marshal(memberJSON{o.Catalog.String(), o.Group, o.ID}) // cannot fail
	return b
}

// DecodeOrigin reads the value of ZoneOrigin.
func DecodeOrigin(value []byte) (o Origin, err error) {
	var j memberJSON
	if err := json.Unmarshal(value, &j); err != nil {
		return o, fmt.Errorf("an origin that cannot be read: %w", err)
	}
	if o.Catalog, err = ParseName(j.Catalog); err != nil {
		return o, err
	}
	o.Catalog, o.ID, o.Group = o.Catalog.Lower(), j.ID, j.Group
	switch {
	case o.ID == "" || len(o.ID) > MaxOriginID:
		return o, fmt.Errorf("the label in a catalog has from 1 to %d octets", MaxOriginID)
	case len(o.Group) > MaxGroup:
		return o, fmt.Errorf("a group has at most %d octets", MaxGroup)
	}
	return o, nil
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
