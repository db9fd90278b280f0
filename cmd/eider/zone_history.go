package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store/record"
)

// defaultHistory is how many changes `zone history` shows: a screen of them.
const defaultHistory = 20

func zoneHistoryCommand() *cli.Command {
	return &cli.Command{
		Name:      "history",
		Usage:     "list the last changes of a zone: when, who, index, serials, and with --diff what",
		ArgsUsage: "ZONE",
		Description: example("The newest comes first. How much is kept says `eider zone set ZONE journal=...`. It works without a quorum.\n"+
			"--json writes one object a line, with all records of the change.",
			"eider zone history example.com",
			"eider zone history --limit 0 --json example.com"),
		Flags: readFlags(&cli.UintFlag{Name: "limit", Value: defaultHistory, Usage: "show the last `N` changes; 0: all that are kept"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "diff", Usage: "show the records that went and came"}, jsonFlag()),
		Action: zoneHistory,
	}
}

func zoneHistory(c *cli.Context) error {
	apex, err := zoneArg(c)
	if err != nil {
		return err
	}
	limit := c.Uint("limit")
	if limit > record.MaxJournalCount {
		return misusedAt(c, "--limit: at most %d changes of a zone are kept", record.MaxJournalCount)
	}
	return reading(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		out := bufio.NewWriter(c.App.Writer)
		enc := json.NewEncoder(out)
		index, err := node.History(ctx, apex, uint32(limit), func(e admin.HistoryEntry) error {
			if c.Bool("json") {
				return enc.Encode(e)
			}
			fmt.Fprintln(out, historyLine(e))
			if c.Bool("diff") {
				for _, l := range e.Changes {
					fmt.Fprintf(out, "   %s\n", l)
				}
			}
			return nil
		})
		showIndex(c, out, index, err)
		if flushErr := out.Flush(); err == nil {
			err = flushErr
		}
		return err
	})(c)
}

func historyLine(e admin.HistoryEntry) string {
	by := e.By
	if by == "" {
		by = "-"
	}
	what := "created or loaded"
	if !e.Start {
		went := 0
		for _, l := range e.Changes {
			if l.Sign == "-" {
				went++
			}
		}
		what = fmt.Sprintf("-%d +%d", went, len(e.Changes)-went)
	}
	return fmt.Sprintf("%s index=%d serial=%d->%d by=%q %s", e.Time.Format(time.RFC3339), e.Index, e.From, e.To, by, what)
}

func zoneDiffCommand() *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "show what is different between two serials of a zone",
		ArgsUsage: "ZONE FROM [TO]",
		Description: example("Records that went begin with -, those that came with +. Without TO it is the present serial.\nStatus 1 if a serial is not among those kept.",
			"eider zone diff example.com 2026112100",
			"eider zone diff example.com 17 23"),
		Flags:  readFlags(jsonFlag()),
		Action: zoneDiff,
	}
}

func zoneDiff(c *cli.Context) error {
	if err := args(c, 2, 3, "ZONE FROM [TO]"); err != nil {
		return err
	}
	apex, err := record.ParseName(c.Args().First())
	if err != nil {
		return misusedAt(c, "ZONE: %w", err)
	}
	var serials []uint32
	for _, text := range c.Args().Tail() {
		n, err := parseSerial(c, text)
		if err != nil {
			return err
		}
		serials = append(serials, n)
	}
	var to *uint32
	if len(serials) > 1 {
		to = &serials[1]
	}
	return reading(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		out := bufio.NewWriter(c.App.Writer)
		enc := json.NewEncoder(out)
		index, err := node.Diff(ctx, apex, serials[0], to, func(l admin.DiffLine) error {
			if c.Bool("json") {
				return enc.Encode(l)
			}
			_, err := fmt.Fprintln(out, l)
			return err
		})
		showIndex(c, out, index, err)
		if flushErr := out.Flush(); err == nil {
			err = flushErr
		}
		return err
	})(c)
}

func parseSerial(c *cli.Context, text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, misusedAt(c, "%q is no serial; `eider zone history ZONE` lists them", text)
	}
	return uint32(n), nil
}

func zoneRollbackCommand() *cli.Command {
	return &cli.Command{
		Name:      "rollback",
		Usage:     "give a zone the content it had at a serial, under a new serial",
		ArgsUsage: "ZONE SERIAL",
		Description: example("It is a change like any other: at every node, in the history, to be rolled back itself. It is refused if the zone\nchanges meanwhile. `eider zone diff ZONE SERIAL` shows first what it would undo.",
			"eider zone rollback example.com 17"),
		Flags:  reachFlags(timeoutFlag(defaultWait), jsonFlag()),
		Action: zoneRollback,
	}
}

func zoneRollback(c *cli.Context) error {
	if err := args(c, 2, 2, "ZONE SERIAL"); err != nil {
		return err
	}
	apex, err := record.ParseName(c.Args().First())
	if err != nil {
		return misusedAt(c, "ZONE: %w", err)
	}
	serial, err := parseSerial(c, c.Args().Get(1))
	if err != nil {
		return err
	}
	return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		done, err := node.Rollback(ctx, apex, serial)
		if err != nil {
			return err
		}
		if c.Bool("json") {
			return writeJSON(c, done)
		}
		text := []string{fmt.Sprintf("%s index=%d", done.Status, done.Index)}
		for _, z := range done.Zones {
			text = append(text, fmt.Sprintf("zone=%s serial=%d", z.Zone, z.Serial))
		}
		line(c, "%s", strings.Join(text, " "))
		return nil
	})(c)
}
