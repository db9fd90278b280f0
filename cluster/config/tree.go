package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDepth is how deep the file may nest; its own form needs five.
const maxDepth = 16

// object is a JSON object that remembers the order of its keys. encoding/json
// keeps the last of two equal keys in silence, and the first is what was meant.
type object struct {
	keys   []string
	values map[string]any // string, json.Number, bool, nil, []any, *object
}

// parseTree reads one JSON value. Doubled keys go to dup with their path; an
// error is about syntax and says where.
func parseTree(data []byte, dup func(path string)) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := parseValue(dec, "", 0, dup)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something behind the closing brace")
		}
	}
	if err != nil {
		offset := dec.InputOffset()
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			offset = syntax.Offset
		}
		line, column := position(data, offset)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the file ends too early")
		}
		return nil, fmt.Errorf("line %d, column %d: not JSON: %w", line, column, err)
	}
	return v, nil
}

func parseValue(dec *json.Decoder, path string, depth int, dup func(string)) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	switch delim {
	case '[':
		list := []any{}
		for dec.More() {
			v, err := parseValue(dec, fmt.Sprintf("%s[%d]", path, len(list)), depth+1, dup)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.Token()
		return list, err
	case '{':
		o := &object{values: map[string]any{}}
		for dec.More() {
			token, err := dec.Token()
			if err != nil {
				return nil, err
			}
			key, ok := token.(string)
			if !ok {
				return nil, fmt.Errorf("a key must be a string, this is %v", token)
			}
			v, err := parseValue(dec, join(path, key), depth+1, dup)
			if err != nil {
				return nil, err
			}
			if _, there := o.values[key]; there {
				dup(join(path, key))
				continue
			}
			o.keys = append(o.keys, key)
			o.values[key] = v
		}
		_, err := dec.Token()
		return o, err
	}
	return nil, fmt.Errorf("unexpected %q", delim.String())
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func position(data []byte, offset int64) (line, column int) {
	head := string(data[:min(max(offset, 0), int64(len(data)))])
	line = 1 + strings.Count(head, "\n")
	return line, len(head) - strings.LastIndexByte(head, '\n')
}

// show writes a value for a message, shortened.
func show(v any) string {
	var b []byte
	switch v := v.(type) {
	case *object:
		return "an object"
	case []any:
		return "a list"
	default:
		b, _ = json.Marshal(v)
	}
	const most = 80
	if len(b) > most {
		return string(b[:most]) + "..."
	}
	return string(b)
}
