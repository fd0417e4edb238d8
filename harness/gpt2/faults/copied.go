package faults

import (
	"fmt"
	"slices"

	"checkpoint12/model"
)

// copied: the output is another tensor of the candidate's, of the same step or,
// for its own kind of stage, of an earlier one.
func (g *rowGroup) copied(e *wrongRow) (string, float64, string) {
	if len(e.got) > maxSearched || e.base.Nonfinite > 0 {
		return "", 0, ""
	}
	if first := e.got[0]; !slices.ContainsFunc(e.got, func(v float32) bool { return v != first }) {
		return "", 0, "" // any constant is equal to some other
	}
	order := model.StageNames(g.model.Config(), nil)
	for _, at := range g.equal(e.got) {
		switch {
		case at == e.Place || at.Step > e.Step || isMoved(e.Stage, at.Stage):
		case at.Step < e.Step && kind(at.Stage) == kind(e.Stage):
			return PatternCopy, 1, fmt.Sprintf("the output is %s of step %d: a buffer that was not written again", at.Stage, at.Step)
		case at.Step < e.Step:
		case slices.Index(order, at.Stage) > slices.Index(order, e.Stage):
			return PatternCopy, 1, fmt.Sprintf("the output is that of %s, which comes later: the buffer was written over before it was kept; copy it in the hook", at.Stage)
		default:
			return PatternCopy, 1, fmt.Sprintf("the output is that of %s: the wrong buffer was read or written", at.Stage)
		}
	}
	return "", 0, ""
}

// isMoved reports whether one of two stages can rightly be equal to the other.
func isMoved(a, b string) bool {
	for _, pair := range [][2]string{{"logits", "logits_last"}, {"attn.k", "attn.cache_k"}, {"attn.v", "attn.cache_v"}} {
		if kind(a) == pair[0] && kind(b) == pair[1] || kind(b) == pair[0] && kind(a) == pair[1] {
			return true
		}
	}
	return false
}
