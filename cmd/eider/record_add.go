package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/zonefile"
)

func recordAddCommand() *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "add one record to its RRset",
		ArgsUsage: "OWNER [TTL] [CLASS] TYPE RDATA...",
		Description: example("The command ends once the record is committed and the node asked answers with it.\nWithout a TTL the RRset keeps the one it has. A record that is there already is UNCHANGED, and no error.",
			"eider record add www.example.com A 192.0.2.1",
			"eider record add example.com 300 MX 5 mail.example.com",
			`eider record add example.com TXT "v=spf1 -all"`),
		Flags:  reachFlags(&cli.StringFlag{Name: "ttl", Usage: "`TTL` of the RRset, as 300 or 1h"}, timeoutFlag(defaultWait), jsonFlag()),
		Action: recordAdd,
	}
}

func recordAdd(c *cli.Context) error {
	if err := args(c, 3, -1, "OWNER, TYPE or RDATA"); err != nil {
		return err
	}
	words := quoteWords(c.Args().Slice())
	if ttl := c.String("ttl"); ttl != "" {
		words = append([]string{words[0], ttl}, words[1:]...)
	}
	text := strings.Join(words, " ")
	if _, err := zonefile.ParseRR(text, zonefile.LineOptions{DefaultTTL: admin.DefaultTTL}); err != nil {
		return misusedAt(c, "%w", err)
	}
	return oneLine(c, "ADD: "+text)
}

// quoteWords gives words with white space in them the quotes the shell took
// away. Rdata that has its own quotes or brackets stays as it is.
func quoteWords(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		if i > 1 && strings.ContainsAny(w, " \t") && !strings.ContainsAny(w, `"[`) && isText(words[:i]) {
			w = strconv.Quote(w)
		}
		out[i] = w
	}
	return out
}

// isText tells whether the type among the words before an rdata has
// character-strings for rdata.
func isText(before []string) bool {
	for _, w := range before[1:] {
		switch strings.ToUpper(w) {
		case "TXT", "SPF", "HINFO", "ISDN", "X25":
			return true
		}
	}
	return false
}

// answer is an answer line taken apart, as --json shows it.
type answer struct {
	Status string       `json:"status"` // OK, UNCHANGED, NOT-FOUND, REFUSED, ERROR, UNAVAILABLE
	Index  uint64       `json:"index,omitempty"`
	Zones  []zoneSerial `json:"zones,omitempty"`
	Reason string       `json:"reason,omitempty"`
}

type zoneSerial struct {
	Zone   string `json:"zone"`
	Serial uint32 `json:"serial"`
}

// good tells whether what was asked for is now so.
func (a answer) good() bool { return a.Status == "OK" || a.Status == "UNCHANGED" }

func parseAnswer(text string) answer {
	status, rest, _ := strings.Cut(text, " ")
	if name, isError := strings.CutSuffix(status, ":"); isError {
		return answer{Status: name, Reason: rest}
	}
	a := answer{Status: status}
	for word := range strings.FieldsSeq(rest) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "index":
			a.Index, _ = strconv.ParseUint(value, 10, 64) // zero if the node speaks another dialect
		case "zone":
			a.Zones = append(a.Zones, zoneSerial{Zone: value})
		case "serial":
			if n, err := strconv.ParseUint(value, 10, 32); err == nil && len(a.Zones) > 0 {
				a.Zones[len(a.Zones)-1].Serial = uint32(n)
			}
		}
	}
	if _, note, ok := strings.Cut(rest, "note="); ok {
		a.Reason = note
		if plain, err := strconv.Unquote(note); err == nil {
			a.Reason = plain
		}
	}
	return a
}

// oneLine sends one line to a node and shows its answer.
func oneLine(c *cli.Context, text string) error {
	return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		reply, err := askLine(ctx, node, text)
		if err != nil {
			return err
		}
		a := parseAnswer(reply)
		if a.Status == "NOT-FOUND" && a.Reason == "" {
			a.Reason = "there is no such record"
		}
		if c.Bool("json") {
			if err := writeJSON(c, a); err != nil {
				return err
			}
		} else if a.good() {
			line(c, "%s", reply)
		}
		switch {
		case a.good():
			return nil
		case c.Bool("json"):
			return quietError{}
		case a.Reason == "":
			return errors.New(reply)
		}
		return fmt.Errorf("%s: %s", strings.ToLower(a.Status), a.Reason)
	})(c)
}

// askLine sends one line and reads its answer.
func askLine(ctx context.Context, node *admin.Client, text string) (string, error) {
	conn, err := node.Lines(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := io.WriteString(conn, text+"\n"); err != nil {
		return "", fmt.Errorf("%w: %w", admin.ErrUnknown, err)
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "", fmt.Errorf("%w: no answer in time; look before repeating", admin.ErrUnknown)
	case err != nil:
		return "", fmt.Errorf("%w: the node closed the connection: %w", admin.ErrUnknown, err)
	}
	return strings.TrimSuffix(reply, "\n"), nil
}
