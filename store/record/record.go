// Package record is the ground of Eider: what is stored, replicated and answered.
//
// It owns names and their order, types, RRsets, and the changes made to them, and
// one encoding of each. An encoding is canonical: what decodes encodes to the same
// octets, so that two nodes can never keep two forms of one thing.
//
// It must never know a file, a socket, a clock or another package of Eider.
package record

// Zone is what the store keeps of a zone beside its records.
type Zone struct {
	Apex   Name   // in the case it was written
	ID     uint32 // of this content of the zone; a replaced or re-created zone has another
	Serial uint32 // that of its SOA
}

// ZoneRef points a query at a zone: its ID, how many octets of the key asked for
// are the key of the apex, and what need not be looked for in it.
type ZoneRef struct {
	ID     uint32
	KeyLen int
	Depths Depths
	Down   bool // it is here, and may not be answered from
}

// TypeSet is one RRset of a name.
type TypeSet struct {
	Type Type
	Set  Set
}
