// Package lookup decides what a question is answered with.
//
// It owns the algorithm of RFC 1034 section 4.3.2 with all that came after it:
// wildcards (RFC 4592), DNAME (RFC 6672), negative answers (RFC 2308, RFC 8020),
// ANY (RFC 8482), and the proofs a pre-signed zone needs (RFC 4035 section 3.1,
// RFC 5155 section 7.2). Resolve is a pure function of a Reader and a Question:
// one outcome, decided once, and the RRsets of the three sections. It neither
// allocates nor locks nor reads a clock.
//
// It must never know a socket, a message, a size limit, bbolt or miekg/dns. How
// much of an answer fits, and how it is compressed, is package nameserver's.
package lookup

import "github.com/eider-dns/eider/store/record"

// Reader is what Resolve reads: the zones as they were at one applied index. The
// slices it returns must stay as they are for as long as the Answer is in use.
// Keys are those of record.AppendWireKey.
type Reader interface {
	// Zone is the deepest zone at or above the name of key, and what need not be
	// looked for in it; record.AnyDepths is always right.
	Zone(key []byte) (record.ZoneRef, bool)
	// Get is one RRset, nil if there is none. It finds NSEC sets too.
	Get(zone uint32, key []byte, t record.Type) record.Set
	// Node appends all RRsets of a name to dst, those of NSEC and NSEC3 left out.
	// The name, one at or below the apex, exists if it or a descendant owns data.
	Node(zone uint32, key []byte, dst []record.TypeSet) (sets []record.TypeSet, exists bool)
	// Before is the set of type t, NSEC or NSEC3, of the last owner at or before
	// key, wrapping to the last one of the zone if none is before; nil if the zone
	// has none. The owner's key is appended to buf.
	Before(zone uint32, key []byte, t record.Type, buf []byte) (owner []byte, set record.Set)
}

// Question is what is asked, in class IN.
type Question struct {
	Name   []byte      // valid uncompressed wire form, in any case; kept until the Answer is done with
	Key    []byte      // of Name (record.AppendWireKey), if it is known already; kept as long
	Type   record.Type // no meta-type but ANY: transfers and the like are not decided here
	DNSSEC bool        // DO: signatures and proofs are wanted (RFC 3225)
	All    bool        // ANY and RRSIG get all there is, not one RRset (RFC 8482 section 4.1); for transports that cannot be spoofed
}

// Outcome names what became of a question. Every question has exactly one.
type Outcome uint8

// The outcomes.
const (
	Refused     Outcome = iota // the name is in no zone here
	Success                    // the answer section holds what was asked for
	Chain                      // aliases were followed until they left the zones, looped or became too many; they are the answer
	NoData                     // the name exists, the type does not (RFC 2308 section 2.2)
	NXDomain                   // the name does not exist, nor anything below it (RFC 8020)
	Referral                   // the name is at or below a zone cut
	Unavailable                // the zone is here, and may not be answered from (record.ZoneRef.Down)
	YXDomain                   // a DNAME would make a name too long (RFC 6672 section 2.2)
)

var outcomeNames = [...]string{"REFUSED", "SUCCESS", "CHAIN", "NODATA", "NXDOMAIN", "REFERRAL", "UNAVAILABLE", "YXDOMAIN"}

func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "OUTCOME?"
}

// Entry is one RRset of a section.
type Entry struct {
	Owner    []byte // uncompressed wire form; lower case, unless it is part of Question.Name
	Tail     int    // Owner is Question.Name[Tail:]; -1: it is not
	Type     record.Type
	TTL      uint32     // seconds; of the records and of their signatures
	Set      record.Set // nil: the one record is Target
	Target   []byte     // rdata of a CNAME made from a DNAME
	Sigs     bool       // the RRSIGs of Set belong to it
	OnlySigs bool       // the RRSIGs alone are it (QTYPE RRSIG)
	Required bool       // glue without which a referral leads nowhere (RFC 9471 section 2.1)
}

const (
	// MaxChain is how many aliases, CNAME or DNAME, are followed. Resolvers give up at about the same number.
	MaxChain = 16
	// MaxGlue is how many address RRsets a referral carries; more do not fit a
	// message anyone would accept over UDP.
	MaxGlue = 64
	// MaxIterations is the highest NSEC3 iteration count proofs are made for
	// (RFC 9276 section 3.2 lets validators treat more as insecure). A zone with
	// more is answered without proofs, so that a zone cannot buy CPU.
	MaxIterations = 50

	// maxNames is how many names can be made for one answer: one for each DNAME
	// followed, one NSEC owner for each wildcard on the way, four for the end.
	maxNames = 2*MaxChain + 8
)

// Answer is the outcome of a question, and the memory Resolve works in. It is
// used by one goroutine at a time and reused from question to question; what
// is in it is valid until the next Resolve, or until the Reader is closed.
type Answer struct {
	Outcome       Outcome
	Authoritative bool // AA: the first owner in the answer is ours (RFC 1034 section 4.3.1)

	// Synthesis tells of an answer that was made for this name as for any beside it,
	// from a wildcard or a DNAME: the name that stands for all of them is
	// Question.Name[Synthesis:]. -1: it was not.
	Synthesis int

	Answer     []Entry
	Authority  []Entry
	Additional []Entry

	name  name   // being looked for: the question's, then each alias's target
	other name   // of a name server, for glue
	zone  uint32 // that holds name
	apex  int    // labels of its apex

	asked     uint32 // the zone that holds the question's own name
	askedApex int    // labels of its apex

	depths record.Depths // of zone

	chain   denial           // how zone proves absence
	sets    []record.TypeSet // of the node at hand
	wild    [record.MaxKey + 2]byte
	owner   [record.MaxKey]byte
	hashKey [record.MaxKey + hashLabel + 3]byte
	hashBuf [record.MaxName + maxSalt + 2]byte
	names   [maxNames * record.MaxName]byte
	used    int // octets of names in use
}

// Zone is the id of the zone that decided the outcome, if any did.
func (a *Answer) Zone() uint32 { return a.zone }

// Asked is the zone the question itself fell into, whatever aliases led to, and the number of
// labels of its apex; labels is -1 if there is none.
func (a *Answer) Asked() (zone uint32, labels int) { return a.asked, a.askedApex }

// synthesized notes that an answer to the question itself comes from below the
// ancestor with so many labels.
func (a *Answer) synthesized(labels int) {
	if a.name.asked {
		a.Synthesis = a.name.start(labels)
	}
}

func (a *Answer) reset() {
	a.Outcome, a.Authoritative, a.Synthesis = Refused, false, -1
	a.Answer, a.Authority, a.Additional = a.Answer[:0], a.Authority[:0], a.Additional[:0]
	a.chain.known = false
	a.used, a.askedApex = 0, -1
}

// room is memory for a name of n octets that lasts as long as the answer, nil if there is none left.
func (a *Answer) room(n int) []byte {
	if n > record.MaxName || a.used+n > len(a.names) {
		return nil
	}
	b := a.names[a.used : a.used : a.used+n]
	a.used += n
	return b
}

// entry is an Entry for set with owner the ancestor of a.name that has so many labels.
func (a *Answer) entry(labels int, t record.Type, set record.Set, sigs bool) Entry {
	e := Entry{Owner: a.name.suffix(labels), Tail: -1, Type: t, TTL: set.TTL(), Set: set, Sigs: sigs}
	if a.name.asked {
		e.Tail = a.name.start(labels)
	}
	return e
}
