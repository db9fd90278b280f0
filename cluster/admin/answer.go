package admin

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/eider-dns/eider/store/record"
)

const (
	// maxAnswer is the longest answer line in octets before its text is cut: what
	// a person reads, however long the line was that caused it.
	maxAnswer = 2048
	// maxQuote is how much of an input is shown again in an error.
	maxQuote = 60
)

// answerResult is the answer line, without its end, to a change that was
// decided: the same on every node.
func answerResult(res record.Result) string {
	if res.Status == record.Refused {
		reason := res.Reason
		if reason == "" {
			reason = "the change breaks a rule"
		}
		return "REFUSED: " + clean(reason)
	}
	var b strings.Builder
	b.WriteString(res.Status.String())
	b.WriteString(" index=")
	b.WriteString(strconv.FormatUint(res.Index, 10))
	for _, z := range res.Zones {
		b.WriteString(" zone=")
		b.WriteString(z.Zone.String())
		b.WriteString(" serial=")
		b.WriteString(strconv.FormatUint(uint64(z.Serial), 10))
	}
	if res.Reason != "" {
		b.WriteString(" note=")
		b.WriteString(strconv.Quote(res.Reason))
	}
	return clean(b.String())
}

// answerError is the answer line to a change nobody decided. Its words tell what
// was surely not done from what may have been (house style, the kinds of errors).
func answerError(err error) string {
	switch why := err.Error(); outcomeOf(err) {
	case notDone: // the cluster may have begun with the same words
		return "UNAVAILABLE: not done, may be repeated: " + clean(strings.TrimPrefix(why, "not done: "))
	case unknown:
		return "UNAVAILABLE: outcome unknown, look before repeating: " + clean(strings.TrimPrefix(why, "outcome unknown: "))
	default:
		return "ERROR: " + clean(err.Error())
	}
}

// clean makes s fit one answer line: control characters and whatever does not
// print as \DDD, and no longer than maxAnswer. What comes from a network may
// neither end the line nor steer a terminal.
func clean(s string) string {
	cut := len(s) > maxAnswer
	if cut {
		s = s[:maxAnswer]
	}
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= ' ' && s[i] < 0x7f
	}
	if !plain {
		s = escape(s)
	}
	if cut {
		s += "..."
	}
	return s
}

func escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n <= 1 || !unicode.IsPrint(r) {
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, "\\%03d", c)
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// shorten is s cut to what an error message shows of an input.
func shorten(s string) string {
	if len(s) <= maxQuote {
		return s
	}
	return strings.ToValidUTF8(s[:maxQuote], "") + "..."
}
