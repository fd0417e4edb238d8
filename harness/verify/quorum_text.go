package verify

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/report"
)

// writeQuorums writes which golden is wrong, if one is, and where the tolerances
// leave correct engines little room; verbose, how far each engine is from the
// reference at worst, over all cases.
func (r *Report) writeQuorums(b *report.Writer, o TextOptions) {
	columns := []string{"checkpoint"}
	var engines []string
	worst := map[string]diagnose.Spread{} // by checkpoint and engine
	key := func(checkpoint int, engine string) string { return fmt.Sprint(checkpoint, engine) }
	for _, q := range r.Quorums {
		for _, line := range q.Lines() {
			fmt.Fprintf(b, "\n%s: %s\n", q.Case, line)
		}
		for _, w := range q.Spread {
			if !slices.Contains(engines, w.Engine) {
				engines, columns = append(engines, w.Engine), append(columns, ">"+w.Engine, "at")
			}
			k := key(w.Checkpoint, w.Engine)
			if have, ok := worst[k]; !ok || w.Share > have.Share || math.IsNaN(float64(w.Share)) {
				worst[k] = w
			}
		}
	}
	if !o.Verbose || len(engines) == 0 {
		return
	}
	fmt.Fprintf(b, "\ndistance of each engine from %s, of the tolerance\n", diagnose.Yardstick)
	t := report.NewTable(columns...)
	for n := 1; n < CheckpointCount; n++ {
		cells := []string{fmt.Sprintf("%2d %s", n, Info(n).Title)}
		for _, e := range engines {
			if w, ok := worst[key(n, e)]; ok {
				cells = append(cells, fmt.Sprintf("%.2g%%", 100*float64(w.Share)), w.Place.String())
			} else {
				cells = append(cells, "-", "")
			}
		}
		t.Row(cells...)
	}
	b.Table(t)
}
