package verify

import (
	"checkpoint12/harness/report"
	"fmt"
	"math"

	"checkpoint12/harness/diagnose"
)

// writeQuorums writes which golden is wrong, if one is, and where the tolerances
// leave correct engines little room; verbose, how far each engine is from the
// reference.
func (r *Report) writeQuorums(b *report.Writer, o TextOptions) {
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
	fmt.Fprintf(b, "\ndistance of each engine from %s, of the tolerance\n", diagnose.Yardstick)
	columns := []string{"checkpoint"}
	for _, e := range engines {
		columns = append(columns, ">"+e, "at")
	}
	t := report.NewTable(columns...)
	for n := range CheckpointCount {
		if n == 0 {
			continue
		}
		cells := []string{fmt.Sprintf("%2d %s", n, Info(n).Title)}
		for _, e := range engines {
			w, ok := worst[spreadKey{n, e}]
			if !ok {
				cells = append(cells, "-", "")
				continue
			}
			cells = append(cells, fmt.Sprintf("%.2g%%", 100*float64(w.Share)), w.Place.String())
		}
		t.Row(cells...)
	}
	b.Table(t)
}

type spreadKey struct {
	checkpoint int
	engine     string
}

// spreads returns the worst of each engine at each checkpoint, over all cases, and
// the engines in the order of the cases.
func (r *Report) spreads() (engines []string, worst map[spreadKey]diagnose.Spread) {
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
