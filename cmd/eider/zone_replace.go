package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/store/zonediff"
	"github.com/eider-dns/eider/zonefile"
)

func zoneReplaceCommand() *cli.Command {
	return &cli.Command{
		Name:      "replace",
		Usage:     "make a zone what a zone file says, by the difference alone",
		ArgsUsage: "ZONE FILE",
		Description: example("The difference to what the cluster holds is one change with one serial, so that secondaries get it by IXFR;\none larger than a change may be has the zone loaded whole, and secondaries transfer it whole.\nIf the zone changes meanwhile nothing is done. The file's serial counts if it is later than the zone's.",
			"eider zone replace example.com example.com.zone",
			"eider zone replace --dry-run example.com example.com.zone"),
		Flags: reachFlags(
			&cli.BoolFlag{DisableDefaultText: true, Name: "dry-run", Usage: "show the difference and change nothing"},
			lenientFlag(), jsonFlag()),
		Action: zoneReplace,
	}
}

// replaceResult is what --json shows.
type replaceResult struct {
	Zone    string   `json:"zone"`
	Status  string   `json:"status"` // OK, UNCHANGED, DRY-RUN
	Index   uint64   `json:"index,omitempty"`
	Serial  uint32   `json:"serial"`
	Removed int      `json:"removed"`
	Added   int      `json:"added"`
	Whole   bool     `json:"whole,omitempty"` // loaded, since the difference was too large
	Diff    []string `json:"diff,omitempty"`  // with --dry-run
}

func zoneReplace(c *cli.Context) error {
	if err := args(c, 2, 2, "ZONE FILE"); err != nil {
		return err
	}
	apex, err := record.ParseName(c.Args().First())
	if err != nil {
		return misusedAt(c, "ZONE: %w", err)
	}
	next, err := readContent(c, apex, c.Args().Get(1))
	if err != nil {
		return failedAt(c, err)
	}
	return withNode(func(ctx context.Context, c *cli.Context, node *admin.Client) error {
		return replaceZone(ctx, c, node, next)
	})(c)
}

// readContent reads a zone file that holds the one zone apex.
func readContent(c *cli.Context, apex record.Name, path string) (*zonediff.Content, error) {
	out := zonediff.New(apex, zonediff.Bounds{})
	o := zonefile.Options{Origin: apex, DefaultTTL: admin.DefaultTTL, Lenient: c.Bool("lenient"), Warn: warner(c)}
	sum, err := zonefile.ReadFile(path, o, func(r zonefile.RR) error {
		if err := out.Add(r.Owner, r.Type, r.TTL, r.Data); err != nil {
			return fmt.Errorf("%s:%d: %w", r.File, r.Line, err)
		}
		return nil
	})
	if err == nil && (len(sum.Apexes) != 1 || !sum.Apexes[0].Equal(apex)) {
		return nil, fmt.Errorf("%s: it does not hold the zone %s alone", path, apex)
	}
	if err == nil {
		err = out.Check()
	}
	return out, err
}

// heldContent is what the node asked holds of a zone now.
func heldContent(ctx context.Context, node *admin.Client, apex record.Name) (*zonediff.Content, error) {
	r, w := io.Pipe()
	go func() {
		buffered := bufio.NewWriterSize(w, 64<<10)
		_, err := node.Dump(ctx, apex, buffered)
		w.CloseWithError(errors.Join(err, buffered.Flush()))
	}()
	defer r.Close()
	held := zonediff.New(apex, zonediff.Bounds{})
	_, err := zonefile.Read(r, zonefile.Options{Name: "the node's zone", Form: zonefile.RFC1035, Origin: apex}, func(rr zonefile.RR) error {
		return held.Add(rr.Owner, rr.Type, rr.TTL, rr.Data)
	})
	if err == nil {
		err = held.Check()
	}
	return held, err
}

func replaceZone(ctx context.Context, c *cli.Context, node *admin.Client, next *zonediff.Content) error {
	apex := next.Apex()
	held, err := heldContent(ctx, node, apex)
	if err != nil {
		return err
	}
	var flags uint8
	if c.Bool("lenient") {
		flags = record.OpLenient
	}
	digested, err := makesDigest(ctx, node, apex)
	if err != nil {
		return err
	}
	from, to := held.RRsets(), next.RRsets()
	if digested { // it follows the rest by itself
		from, to = withoutDigest(apex, from), withoutDigest(apex, to)
	}
	d := zonediff.Compare(apex, from, to, flags, false)
	out := replaceResult{Zone: apex.String(), Status: "OK", Serial: held.Serial()}
	out.Removed, out.Added = d.Count()
	switch {
	case c.Bool("dry-run"):
		out.Status = "DRY-RUN"
		return showDiff(c, d, out)
	case d.Empty():
		out.Status = "UNCHANGED"
		return showReplaced(c, out)
	}
	pre := []record.Precondition{{Kind: record.PreSerialIs, Owner: apex, Serial: held.Serial()}}
	res, whole, err := commitDiff(ctx, node, d, next, flags, pre)
	if err != nil {
		return err
	}
	if res.Status == record.Refused {
		if res.Cause == record.CauseSerial {
			return fmt.Errorf("refused: %s: it was changed meanwhile; nothing was done, so look at the difference again", res.Reason)
		}
		return fmt.Errorf("refused: %s", res.Reason)
	}
	out.Status, out.Index, out.Whole = res.Status.String(), res.Index, whole
	for _, z := range res.Zones {
		out.Serial = z.Serial
	}
	return showReplaced(c, out)
}

// makesDigest tells whether the zone's ZONEMD is made by the cluster.
func makesDigest(ctx context.Context, node *admin.Client, apex record.Name) (bool, error) {
	z, err := node.Zone(ctx, apex)
	return slices.ContainsFunc(z.Settings, func(s admin.ZoneSettingInfo) bool { return s.Key == "zonemd" && s.Set }), err
}

func withoutDigest(apex record.Name, sets iter.Seq[record.RRset]) iter.Seq[record.RRset] {
	return func(yield func(record.RRset) bool) {
		for set := range sets {
			if (set.Type != record.TypeZONEMD || !set.Owner.Equal(apex)) && !yield(set) {
				return
			}
		}
	}
}

// commitDiff commits a difference as one change, or loads the content whole if it is too large.
func commitDiff(ctx context.Context, node *admin.Client, d *zonediff.Diff, next *zonediff.Content, flags uint8, pre []record.Precondition) (res record.Result, whole bool, err error) {
	change, ok := d.Change(pre)
	if !ok {
		res, err = zonediff.Load{Flags: flags, Pre: pre}.Run(ctx, node, next)
		return res, true, err
	}
	results, err := node.Propose(ctx, []record.Change{change})
	if err != nil {
		return record.Result{}, false, err
	}
	return results[0], false, nil
}

func showReplaced(c *cli.Context, out replaceResult) error {
	switch {
	case c.Bool("json"):
		return writeJSON(c, out)
	case out.Status == "UNCHANGED":
		line(c, "UNCHANGED zone=%s serial=%d", out.Zone, out.Serial)
	default:
		how := ""
		if out.Whole {
			how = " loaded whole"
		}
		line(c, "%s index=%d zone=%s serial=%d removed=%d added=%d%s", out.Status, out.Index, out.Zone, out.Serial, out.Removed, out.Added, how)
	}
	return nil
}

// showDiff writes a difference as lines that begin with - and +.
func showDiff(c *cli.Context, d *zonediff.Diff, out replaceResult) error {
	var b []byte
	for _, part := range []struct {
		sign string
		sets []record.RRset
	}{{"- ", d.Removed}, {"+ ", d.Added}} {
		for i := range part.sets {
			b = zonefile.AppendRRset(b[:0], part.sets[i])
			for text := range strings.Lines(string(b)) {
				out.Diff = append(out.Diff, part.sign+strings.TrimSuffix(text, "\n"))
			}
		}
	}
	if c.Bool("json") {
		return writeJSON(c, out)
	}
	for _, text := range out.Diff {
		line(c, "%s", text)
	}
	return nil
}
