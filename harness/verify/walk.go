package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness"
)

// first is the failure that comes first in execution order, over all cases and
// engines: what comes after it may be no more than its consequence. Before all
// come the weights. After the stages come the figures, which see no more than the
// end of a run, then checkpoint 12, and last what a golden is to blame for. It is
// nil if nothing failed.
func (s *Suite) first(found []Finding) *Finding {
	var best *Finding
	var bestAt []int
	for i := range found {
		f := &found[i]
		if !f.Failed {
			continue
		}
		n, ok := s.schedule.Index(f.Stage)
		at := []int{1, f.Step, n}
		switch {
		case f.Outlier:
			at[0] = 4
		case f.Checkpoint == Weights:
			at = []int{0, 0, 0}
		case f.Checkpoint == CheckpointCount || !ok:
			at = []int{3, 0, 0}
		case f.Engine == Figures:
			at[0] = 2
		}
		if best == nil || slices.Compare(at, bestAt) < 0 {
			best, bestAt = f, at
		}
	}
	return best
}

// Walk goes through checkpoints 1 to 11 in order, as one does when checkpoint 12
// fails, and ends with the first of them that fails, in execution order, and
// what to fix: a LayerNorm that reads what a residual left out is no culprit.
func (s *Suite) Walk(ctx context.Context) (string, error) {
	var b strings.Builder
	var all []Finding
	unchecked := false
	for n := Weights; n < CheckpointCount; n++ {
		found, err := s.Check(ctx, n)
		if err != nil {
			return "", err
		}
		c := s.summarize(n, found)
		if n > 0 || c.Verdict == harness.VerdictFail {
			fmt.Fprintf(&b, "%s: %s", Describe(n), c.Verdict)
			if f := s.first(found); f != nil {
				fmt.Fprintf(&b, ", first at %s", f.Name())
			}
			b.WriteByte('\n')
		}
		all = append(all, found...)
		unchecked = unchecked || n > 0 && c.Verdict == NotChecked
	}
	if f := s.first(all); f != nil {
		fmt.Fprintf(&b, "\nfirst of all %s\n", f.Report())
		proof, err := s.prove(ctx, f)
		if err != nil {
			return "", err
		}
		if proof != nil {
			fmt.Fprintf(&b, "proof: %s\n", proof)
		}
		fmt.Fprintf(&b, "fix: %s", f.fix(s.Name))
	} else if unchecked {
		fmt.Fprintf(&b, "\n%s: %s", unknown, s.MakeGoldens())
	} else {
		b.WriteString("\n" + between)
	}
	return b.String(), nil
}
