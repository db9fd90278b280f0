package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// print writes the tables. us is CPU time for each answered query; "eider/it" is
// the median of eider's CPU time to that server's in the same round.
func (q *querySession) print(out io.Writer) {
	fmt.Fprintf(out, "\n  %d rounds of %v each; servers on core %s, load on core %s: %v\n\n", q.rounds, q.each, serverCore, loadCore, q.pinned)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "workload\tserver\tus/query\teider/it\t(min..max)\tqueries/s\tlost\tavg us\tpaced us/query\tp50 us\tp99 us\twrong\t")
	last := ""
	for i := range q.Results {
		r := &q.Results[i]
		name := r.Workload
		if name == last {
			name = ""
		}
		last = r.Workload
		ratio, spread := "", ""
		if r.Ratio > 0 && r.Server != "eider" {
			ratio, spread = fmt.Sprintf("%.2f", r.Ratio), fmt.Sprintf("%.2f..%.2f", r.RatioMin, r.RatioMax)
		}
		wrong := "-"
		if r.Checked > 0 {
			wrong = fmt.Sprintf("%d/%d", r.Wrong, r.Checked)
		}
		fmt.Fprintf(w, "%s\t%s\t%.2f\t%s\t%s\t%.0f\t%d\t%s\t%s\t%s\t%s\t%s\t\n", name, r.Server, r.CPU, ratio, spread, r.PerSecond, r.Lost+r.PacedLost, some(r.Average), some(r.PacedCPU), some(r.P50), some(r.P99), wrong)
	}
	_ = w.Flush()
	for i := range q.Results {
		if r := &q.Results[i]; r.FirstBad != "" {
			fmt.Fprintf(out, "  wrong: %s, %s: %s\n", r.Workload, r.Server, r.FirstBad)
		}
	}
	if len(q.Loads) > 0 {
		fmt.Fprintln(out)
		fmt.Fprintln(w, "data\tserver\tfirst answer s\tall in memory s\tidle ms/s\tMB\tof it anonymous\t")
		for _, l := range q.Loads {
			full := ""
			if l.FullSpeed > 0 {
				full = fmt.Sprintf("%.2f", l.FullSpeed)
			}
			fmt.Fprintf(w, "%s\t%s\t%.3f\t%s\t%.1f\t%d\t%d\t\n", l.Data, l.Server, l.FirstAnswer, full, l.Idle, l.Memory, l.Anonymous)
		}
		_ = w.Flush()
	}
	if q.Busy != nil {
		q.Busy.print(out)
	}
}

// some is a figure, if there is one.
func some(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", v)
}
