package zonefile

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/eider-dns/eider/store/record"
)

// maxListDepth is how deep lists may stand in one another: ["a.", "b.", [1, 2, 3, 4, 5]].
const maxListDepth = 2

// jsonList reads the JSON list text starts with, as the tokens of rdata of type t,
// and tells how many octets it took. Strings are names or texts, numbers are
// numbers; an inner list counts as its elements. The ancestor writes the name
// before the preference.
func jsonList(text []byte, t record.Type, at token) (tokens []token, n int, bad *Error) {
	refuse := func(format string, args ...any) ([]token, int, *Error) {
		what := fmt.Sprintf(format, args...)
		return nil, 0, at.errorf(`expected a JSON list of strings and numbers, such as ["mail.example.org.", 5]: %s`, what)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	for depth := 0; ; {
		item, err := d.Token()
		if err != nil {
			return refuse("%v at its octet %d; a text that starts with [ is written in quotes", err, d.InputOffset())
		}
		element := token{raw: true, line: at.line, column: at.column + int(d.InputOffset())}
		switch v := item.(type) {
		case json.Delim:
			switch {
			case v == '{' || v == '}':
				return refuse("got an object")
			case v == '[' && depth == maxListDepth:
				return refuse("got lists more than %d deep", maxListDepth)
			case v == '[':
				depth++
				continue
			}
			if depth--; depth > 0 {
				continue
			}
			return listOrder(tokens, t), int(d.InputOffset()), nil
		case string:
			element.text = []byte(v)
		case json.Number:
			element.text = []byte(v)
		default:
			return refuse("got %v", item)
		}
		element.column -= len(element.text)
		tokens = append(tokens, element)
	}
}

// listOrder puts a preference that stands behind the name before it, for the
// types that are a preference and a name.
func listOrder(tokens []token, t record.Type) []token {
	switch t {
	case record.TypeMX, record.TypeKX, 18, 21, 107: // AFSDB, RT, LP
		if len(tokens) == 2 {
			if _, ok := number(tokens[0].text, 65535); !ok {
				tokens[0], tokens[1] = tokens[1], tokens[0]
			}
		}
	}
	return tokens
}
