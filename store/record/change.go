package record

import (
	"encoding/binary"
	"fmt"
)

// OpKind says what an Op does.
type OpKind uint8

// The ops of a change. Every one names its zone, or leaves Zone empty to mean the
// zone of the cluster whose apex is the closest to Owner from above.
const (
	// OpAdd adds the records Data to the RRset Owner/Type and gives the whole
	// RRset the TTL, unless OpKeepTTL is set and the RRset exists. RRSIGs join
	// the RRset they cover. A SOA replaces the SOA.
	OpAdd OpKind = iota + 1
	// OpRemove takes the records Data out of the RRset Owner/Type.
	OpRemove
	// OpRemoveRRset takes the RRset Owner/Type away, its RRSIGs too.
	OpRemoveRRset
	// OpRemoveName takes all RRsets of Owner away (at an apex all but SOA and NS).
	OpRemoveName
	// OpReplaceRRset makes Data the records of the RRset Owner/Type.
	OpReplaceRRset
	// OpZoneCreate makes an empty zone with apex Owner. Data holds the rdata of
	// its SOA, then that of each of its NS records; TTL is theirs.
	OpZoneCreate
	// OpZoneEnsure is OpZoneCreate if no zone holds Owner or a name above it; else it does nothing.
	// Zone is the apex to create.
	OpZoneEnsure
	// OpZoneDelete deletes the zone with apex Owner and keeps its serial as a tombstone.
	OpZoneDelete
	// OpLoadBegin opens the load Load of a zone with apex Owner. Nothing of a load
	// is visible before OpLoadCommit.
	OpLoadBegin
	// OpLoadAdd adds an RRset, or part of one, to the load Load.
	OpLoadAdd
	// OpLoadCommit puts what was loaded in the place of the zone, wholly.
	// OpIfAbsent on the OpLoadBegin still counts here. TTL, if not 0, is how many
	// records were sent; the commit is refused if another number arrived.
	OpLoadCommit
	// OpLoadAbort forgets a load.
	OpLoadAbort
	// OpSetting gives the setting numbered Type the one value in Data, or, without
	// Data, takes it away. It belongs to no zone and names no owner.
	OpSetting
	// OpZoneSetting gives the zone with apex Owner the one value in Data for the setting
	// numbered Type, or, without Data, takes it away. It moves no serial.
	OpZoneSetting

	opKinds // one more than the last
)

var opNames = [opKinds]string{
	"", "ADD", "REMOVE", "REMOVE-RRSET", "REMOVE-NAME", "REPLACE",
	"ZONE-CREATE", "ZONE-ENSURE", "ZONE-DELETE", "LOAD-BEGIN", "LOAD-ADD", "LOAD-COMMIT", "LOAD-ABORT", "SETTING", "ZONE-SETTING",
}

func (k OpKind) String() string {
	if k > 0 && k < opKinds {
		return opNames[k]
	}
	return fmt.Sprintf("op %d", k)
}

// Flags of an Op.
const (
	// OpKeepTTL: the TTL counts only if the RRset does not exist yet.
	OpKeepTTL uint8 = 1 << iota
	// OpLenient: keep what the rules of data refuse (CNAME beside other data, too
	// many records); the one who sends it has warned.
	OpLenient
	// OpIfAbsent: on OpZoneCreate and OpLoadBegin, a zone that exists or ever did
	// (its tombstone is there) makes the change UNCHANGED. It is how a zone file is
	// imported once.
	OpIfAbsent
	// OpUpdate, on OpAdd, OpRemove and OpRemoveRRset: where the rules of DNS UPDATE
	// say so (RFC 2136 section 3.4.2) the op is passed over or takes the place of what is
	// there, instead of having the change refused: CNAME beside other data, a second
	// CNAME or DNAME, an SOA that is not later, the SOA and the last NS of a zone.
	OpUpdate
	// OpPulled: the op brings a secondary zone (ZoneSecondary) what its primary has. Such a
	// zone takes no other ops on its data, other zones take none of these. The serial is the
	// primary's own; a change brings a later one, a load any. What an OpRemove takes away must be there.
	OpPulled

	opFlags = OpKeepTTL | OpLenient | OpIfAbsent | OpUpdate | OpPulled
)

// RequestID names a change for good: a change proposed again under the same id
// is applied once (cluster/DESIGN.md). The zero id is never remembered.
type RequestID [16]byte

// A request that anybody may send again, octet for octet, has an id made by SenderID: of what
// it says, a mark, and of who sent it, 0 if that does not count. One from 0 is the same
// as any there was, and one from a sender the same as one from 0 there was, but two
// senders that say the same are two (RequestID.Others).
const (
	senderAt    = 12
	senderMark  = 0x53
	senderFirst = 1<<32 - 1 // stands for the first of all senders
)

// SenderID is the id of a request with that hash from sender, which is neither 0 nor the largest
// number, or from whomever: 0.
func SenderID(hash [senderAt - 1]byte, sender uint32) (id RequestID) {
	copy(id[:], hash[:])
	id[senderAt-1] = senderMark
	binary.BigEndian.PutUint32(id[senderAt:], sender)
	return id
}

// Others gives the id under which an answer is looked for too, and the one under which
// the first is to be remembered too, the zero id for none. One in 256 ids that are random
// passes for one with a sender, which costs it a place.
func (id RequestID) Others() (same, first RequestID) {
	if id[senderAt-1] != senderMark {
		return same, first
	}
	other := id
	if binary.BigEndian.Uint32(id[senderAt:]) == 0 {
		binary.BigEndian.PutUint32(other[senderAt:], senderFirst)
		return other, first
	}
	clear(other[senderAt:])
	same = other
	binary.BigEndian.PutUint32(other[senderAt:], senderFirst)
	return same, other
}

// LoadID names a load: the RequestID of the change that began it.
type LoadID = RequestID

// Op is one step of a Change.
type Op struct {
	Kind  OpKind
	Flags uint8
	Zone  Name // empty: the closest zone above Owner
	Owner Name
	Type  Type
	TTL   uint32   // seconds
	Data  [][]byte // canonical rdata
	Load  LoadID   // of the OpLoad kinds
}

// PreKind says what a Precondition asks for.
type PreKind uint8

// The preconditions: the five of RFC 2136 section 2.4, and what Eider's own
// interfaces ask for.
const (
	PreRRsetExists   PreKind = iota + 1 // Owner/Type exists, whatever its data
	PreRRsetEquals                      // Owner/Type holds exactly Data
	PreRRsetAbsent                      // Owner/Type does not exist
	PreNameExists                       // Owner owns some data
	PreNameAbsent                       // Owner owns no data
	PreZoneExists                       // Owner is the apex of a zone
	PreZoneAbsent                       // Owner is not the apex of a zone
	PreSerialIs                         // the zone with apex Owner has serial Serial
	PreSettingIs                        // the setting numbered Type has the one value in Data, or, without Data, none
	PreZoneSettingIs                    // the same, of the setting of the zone with apex Owner
	preKinds
)

// Setting numbers a value all nodes share that belongs to no zone. An Op or
// Precondition about one carries it in Type. The numbers are kept for good.
type Setting = Type

// The settings.
const (
	// SettingCluster is the id of the cluster whose entries made the state. The first
	// entry sets it, and no op may.
	SettingCluster Setting = 0
	// SettingCookies are the secrets of DNS Cookies (cluster/secrets has their form).
	SettingCookies Setting = 1
	// SettingAccess counts the changes of keys and rules, so that they come one
	// after the other and a reader sees that there was one (nameserver/access).
	SettingAccess Setting = 2
	// SettingTokens counts the changes of tokens, as SettingAccess does of keys (cluster/tokens).
	SettingTokens Setting = 3
	// SettingLevel is the feature level every node of the cluster can apply, two octets; cluster raises it.
	SettingLevel Setting = 4
	// SettingKeys is the first of MaxAccess settings that hold a TSIG key each,
	// SettingRules the first of as many that hold a rule of who may do what each.
	SettingKeys  Setting = 0x1000
	SettingRules Setting = 0x2000
	// SettingMembers is the first of MaxMemberParts settings that together hold the
	// table of the cluster's members (cluster has its form).
	SettingMembers Setting = 0x3000
	// SettingToken is the first of MaxTokens settings that hold a token each.
	SettingToken Setting = 0x4000
)

// MaxMemberParts is how many settings the table of members may take: 100 nodes with the
// longest ids and the disks that were removed need five.
const MaxMemberParts = 8

// MaxAccess is the most TSIG keys, and the most rules, of a cluster.
const MaxAccess = 1000

// MaxTokens is the most tokens of a cluster: one for each program that asks nodes, and each is
// compared with what is shown.
const MaxTokens = 256

// MaxSetting is the longest value of a setting in octets. Settings are read
// whole and travel in every snapshot: keys and switches, not data.
const MaxSetting = 4096

// Precondition must hold in the state a change is applied to, before any op.
type Precondition struct {
	Kind   PreKind
	Zone   Name
	Owner  Name
	Type   Type
	Serial uint32
	Data   [][]byte
}

// Change is a list of ops that is applied wholly or not at all, in order, if all
// preconditions hold.
type Change struct {
	ID  RequestID
	By  string // who asked for it, as Author makes it; kept with the diffs
	Pre []Precondition
	Ops []Op
}

// Limits of a change.
const (
	// MaxChange is the largest encoded Change in octets; it leaves an Entry under
	// MaxEntry for one change of any permitted size.
	MaxChange = 256 << 10
	// MaxEntry is the size in octets a log entry is filled up to; only a single
	// larger change goes beyond (raft.md: large entries delay heartbeats).
	MaxEntry = 64 << 10
	// MaxOps is the most ops, and the most preconditions, in one change.
	MaxOps = 65535
)

// Status is the outcome of a change.
type Status uint8

// The outcomes. They are the same on every node.
const (
	OK        Status = iota + 1 // applied
	Unchanged                   // what was asked for was so already
	NotFound                    // nothing of what was to be removed was there
	Refused                     // a rule or a precondition was against it; nothing was done
	statuses
)

var statusNames = [statuses]string{"", "OK", "UNCHANGED", "NOT-FOUND", "REFUSED"}

func (s Status) String() string {
	if s > 0 && s < statuses {
		return statusNames[s]
	}
	return fmt.Sprintf("status %d", s)
}

// Cause says which kind of rule refused a change, for those who answer in rcodes.
type Cause uint8

// Why a change was refused. The causes of RFC 2136 section 3 come as they are named there.
const (
	CauseNone     Cause = iota
	CauseRule           // a rule of data: CNAME, apex, caps
	CauseNoZone         // no zone holds the name (NOTAUTH)
	CauseNotZone        // the name is outside the zone named (NOTZONE)
	CauseYXDomain       // PreNameAbsent failed
	CauseYXRRset        // PreRRsetAbsent failed
	CauseNXDomain       // PreNameExists failed
	CauseNXRRset        // PreRRsetExists or PreRRsetEquals failed
	CauseSerial         // PreSerialIs failed
	CauseExists         // the zone or load exists already
	CauseFormat         // the change itself makes no sense
	CauseSetting        // PreSettingIs or PreZoneSettingIs failed
	causes
)

// ZoneSerial is a zone a change touched and the serial it has from then on.
type ZoneSerial struct {
	Zone   Name
	Serial uint32
}

// Result is the answer to a change. It is replicated state for as long as the
// request id is remembered.
type Result struct {
	Status Status
	Cause  Cause
	Index  uint64 // of the log entry it was decided in
	Zones  []ZoneSerial
	Reason string // why, if refused; what was odd, if not
}

// MaxReason is the longest Reason in octets; a longer one is cut.
const MaxReason = 400

// MaxResultZones is the most zones a Result lists; the rest are left out.
const MaxResultZones = 16

// Entry is one log entry: changes that came together, each on its own.
type Entry struct {
	Cluster [16]byte // the cluster it was made for
	Time    int64    // the leader's clock when it was proposed, Unix nanoseconds
	Level   uint16   // feature level needed to apply it
	Changes [][]byte // each an encoded Change
}
