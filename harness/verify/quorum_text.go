package verify

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"checkpoint12/harness/diagnose"
)

// writeQuorums writes which golden is wrong, if one is, and where the bounds
// leave right engines little room; verbose, how far each engine is from the
// yardstick.
func (r *VerifyReport) writeQuorums(b io.Writer, o TextOptions) {
	for _, q := range r.Quorums {
		for _, line := range q.Lines() {
			fmt.Fprintf(b, "\n%s: %s\n", q.Case, line)
		}
	}
	if !o.Verbose {
		return
	}
	engines, worst := r.spreads()
	if len(engines) == 0 {
		return
	}
	fmt.Fprintf(b, "\nengines around %s, of the bound\n", diagnose.Yardstick)
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for n := range CheckpointCount {
		if n == 0 {
			continue
		}
		fmt.Fprintf(tw, "  %2d %s", n, Describe(n).Title)
		for _, e := range engines {
			w, ok := worst[spreadKey{n, e}]
			if !ok {
				fmt.Fprintf(tw, "\t%s -\t", e)
				continue
			}
			fmt.Fprintf(tw, "\t%s %.2g%%\t%s", e, 100*float64(w.Share), w.Place)
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
}

type spreadKey struct {
	checkpoint int
	engine     string
}

// spreads is the worst of each engine at each checkpoint, over all cases, and
// the engines in the order of first sight.
func (r *VerifyReport) spreads() (engines []string, worst map[spreadKey]diagnose.Spread) {
	worst = map[spreadKey]diagnose.Spread{}
	seen := map[string]bool{}
	for _, q := range r.Quorums {
		for _, w := range q.Spread {
			if !seen[w.Engine] {
				seen[w.Engine] = true
				engines = append(engines, w.Engine)
			}
			k := spreadKey{w.Checkpoint, w.Engine}
			if have, ok := worst[k]; !ok || w.Share > have.Share || math.IsNaN(float64(w.Share)) {
				worst[k] = w
			}
		}
	}
	return engines, worst
}
