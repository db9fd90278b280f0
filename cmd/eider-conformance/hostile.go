package main

import (
	"errors"
	"fmt"
	"sync"

	"github.com/eider-dns/eider/cmd/eider-conformance/diff"
	"github.com/eider-dns/eider/cmd/eider-conformance/gen"
)

// hostile sends packets that are no common questions to all servers. That each
// answers something else is as it is; what must be is that we reply with the rcode
// most others reply with, or are silent as they are.
func (r *runner) hostile(s *set, families []*gen.Family) error {
	var packets []gen.Hostile
	var about [][]diff.Zone // by packet
	for _, f := range families {
		n := (r.o.questions*len(f.Zones) + r.o.zones - 1) / r.o.zones
		for i := range s.loaded {
			if !s.loaded[i][f.Number] {
				n = 0 // nobody is to be outvoted for a zone it does not have
			}
		}
		known := facts(f)
		for _, p := range f.Hostile(r.o.seed, n*r.o.hostile/1000) {
			packets, about = append(packets, p), append(about, known)
		}
	}
	servers := append(s.peers[:len(s.peers):len(s.peers)], s.eider)
	replies, errs := make([][][]byte, len(servers)), make([]error, len(servers))
	var wg sync.WaitGroup
	for i, srv := range servers {
		wg.Go(func() {
			raw := make([][]byte, len(packets))
			for k, p := range packets {
				raw[k] = p.Packet
			}
			replies[i], errs[i] = srv.Hush(raw)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	last := len(s.peers)
	for k, p := range packets {
		r.sum.Hostile++
		votes, ours := make(map[string]int), outcome(replies[last][k])
		var all string
		for i, srv := range s.peers {
			o := outcome(replies[i][k])
			votes[o]++
			all += fmt.Sprintf(" %s %s,", srv.Name, o)
		}
		most := ""
		for o, n := range votes {
			if 2*n > len(s.peers) {
				most = o
			}
		}
		var class string
		switch most {
		case ours:
			class = "hostile: as most others"
		case "":
			if class = "hostile: the others are not agreed, and one does as we do"; votes[ours] == 0 {
				class = "hostile: the others are not agreed, and none does as we do"
				r.say("hostile packet, %s: eider %s,%s %x", p.Kind, ours, all, p.Packet)
			}
		default:
			rule := diff.Explain(p.Packet, ours, most)
			if rule == "" {
				rule = s.asQuestion(p.Packet, about[k], replies, k, most)
			}
			if rule != "" {
				class = "hostile: " + rule
				break
			}
			r.sum.Unexplained++
			class = fmt.Sprintf("UNEXPLAINED hostile, %s: ours %s, most %s", p.Kind, ours, most)
			if r.sum.Classes[class] < r.o.failures {
				fmt.Fprintf(r.log, "seed %d, hostile packet, %s: eider %s,%s %x\n", r.o.seed, p.Kind, ours, all, p.Packet)
				for i := range replies {
					if reply, _ := parsed(replies[i][k]); reply != nil {
						fmt.Fprintf(r.log, "--- %s\n%s", r.sum.name(i), reply.Show())
					}
				}
			}
		}
		r.sum.Classes[class]++
	}
	return nil
}

// outcome is what a server did with a packet: its rcode, or silence.
func outcome(reply []byte) string {
	if reply == nil {
		return "silence"
	}
	p, err := diff.Parse(reply)
	if err != nil {
		return "unreadable"
	}
	return diff.RcodeName(p.Rcode)
}

// asQuestion names the rule that explains the difference to a packet which, odd as it
// is, asks a question that rules have something to say about.
func (s *set) asQuestion(packet []byte, zones []diff.Zone, replies [][][]byte, k int, most string) (rule string) {
	last := len(s.peers)
	c := diff.Case{Zones: zones}
	var why string
	if c.Name, c.Type, c.DO = diff.Question(packet); c.Name == "" {
		return ""
	}
	if c.Ours, why = parsed(replies[last][k]); why != "" {
		return ""
	}
	for i := range replies {
		if reply, _ := parsed(replies[i][k]); reply != nil {
			c.All = append(c.All, reply.Sections[diff.Answer]...)
		}
	}
	for i, p := range s.peers {
		c.Peer = p.Name
		if c.Theirs, why = parsed(replies[i][k]); why != "" || outcome(replies[i][k]) != most {
			continue
		}
		if c.Ours.Flags&c.Theirs.Flags&diff.TC != 0 {
			rule = "truncated, so of no account" // RFC 2181 section 9; plain questions are compared over TCP then
			continue
		}
		one, _ := c.Compare()
		if one == "" {
			return ""
		}
		rule = one
	}
	return rule
}
