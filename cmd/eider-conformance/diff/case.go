package diff

// Case is one question, our reply and that of one other server.
type Case struct {
	Name   string // asked for, lower-case wire form
	Type   uint16
	TCP    bool
	DO     bool
	Size   int // octets a reply over UDP may have
	Peer   string
	Zones  []Zone // of the family
	Ours   *Reply
	Theirs *Reply
	All    []Record // what all servers have in the answer section, over TCP if any was truncated
	// The same over TCP, if any reply over UDP was truncated.
	OursWhole, TheirsWhole *Reply
}

// Rule explains a difference.
type Rule struct {
	Name  string
	Why   string // the text that decides it
	Match func(c *Case, parts []Part) bool
}

// Compare says in what the replies differ: nothing, something a rule explains, or these parts.
func (c *Case) Compare() (rule string, parts []Part) {
	ours, theirs := c.Ours, c.Theirs
	parts = Parts(ours, theirs)
	if c.meta() && len(ours.Sections[Answer]) > 0 { // how much of it is told depends on the transport
		if c.OursWhole != nil && ours.Flags&TC != 0 {
			ours, theirs = c.OursWhole, c.TheirsWhole
			parts = Parts(ours, theirs)
		}
	} else if c.OursWhole != nil && c.TheirsWhole != nil {
		// Truncation by itself is right if what was cut did not fit, and no truncation if
		// it did. What is in the answer is then compared over TCP.
		if c.truncation() {
			parts = Parts(c.OursWhole, c.TheirsWhole)
		}
		ours, theirs = c.OursWhole, c.TheirsWhole
	}
	if len(parts) == 0 {
		return "", nil
	}
	d := *c
	d.Ours, d.Theirs = ours, theirs
	for _, r := range Rules {
		if r.Match(&d, parts) {
			return r.Name, parts
		}
	}
	return "", parts
}

// Zone is what rules may know of a zone.
type Zone struct {
	Apex  string              // lower-case wire form
	Types map[string][]uint16 // by owner name, the same

	OptOut bool // signed with NSEC3, insecure cuts left out (RFC 5155 section 6)
}

// truncation tells whether we truncated rightly, or rightly did not.
func (c *Case) truncation() bool {
	if c.Ours.Flags&TC == 0 {
		return len(Parts(c.Ours, c.OursWhole)) == 0 && c.Ours.Size <= c.Size
	}
	return c.OursWhole.Size > c.Size
}
