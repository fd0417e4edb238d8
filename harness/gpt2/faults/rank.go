package faults

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/model"
)

const (
	mostRank     = 3  // of an error that is told
	rowsPerRank  = 3  // that there must be at least
	mostRankRows = 64 // that are looked at
)

// lowRank finds an error that is a few vectors over channels, each times one number per row, in the rows
// of all steps at which the stage is wrong.
func (g *rowGroup) lowRank(e *wrongRow) finding {
	if e.base.Nonfinite > 0 || !strings.HasPrefix(model.Axes(e.Stage), "B T ") {
		return finding{}
	}
	text, known := g.ranks[e.Stage]
	if !known {
		text = g.rankOf(e.Stage)
		if g.ranks == nil {
			g.ranks = map[string]string{}
		}
		g.ranks[e.Stage] = text
	}
	if text == "" {
		return finding{}
	}
	return finding{PatternRank, 0, text}
}

// rankOf describes the error of a stage if its rank is low; "" if it is not or too few rows tell.
func (g *rowGroup) rankOf(stage string) string {
	var errors [][]float64 // of rows
	slack := 0.0
	for _, row := range g.judged {
		if row.Stage != stage || row.Verdict != harness.ReplayIntroduced || len(errors) >= mostRankRows {
			continue
		}
		e, err := g.wrongRow(row)
		if err != nil || e.right == nil || e.base.Nonfinite > 0 || e.dims.B*e.dims.T == 0 {
			return ""
		}
		width := len(e.got) / (e.dims.B * e.dims.T)
		for lo := 0; lo < len(e.got) && len(errors) < mostRankRows; lo += width {
			off, wrong := make([]float64, width), false
			for c := range off {
				off[c] = float64(e.got[lo+c]) - float64(e.right[lo+c])
				wrong = wrong || e.isWrong(lo+c)
				if e.bound != nil {
					slack = max(slack, float64(e.bound[lo+c]))
				}
				slack = max(slack, unit*math.Abs(float64(e.right[lo+c])))
			}
			if wrong {
				errors = append(errors, off)
			}
		}
	}
	n := len(errors)
	r := rank(errors, slack)
	if r == 0 {
		return ""
	}
	vectors := "one vector over channels"
	if r > 1 {
		vectors = fmt.Sprintf("the sum of %d vectors over channels, each", r)
	}
	text := fmt.Sprintf("the error is of rank %d: in the %d wrong rows that were compared it is %s times one number per row", r, n, vectors)
	if isProduct(stage) {
		text += fmt.Sprintf(", as where the weights are off by a matrix of rank %d or as much is added", r)
	}
	return text
}

// rank returns the rank of rows up to a slack in each value, by taking off the row and column of the largest
// value that is left; 0 where it is not low, or does not stand out of the slack.
func rank(rows [][]float64, slack float64) int {
	const stands, grown = 64, 4 // times the slack: a part of the error, and what rounding of all steps comes to
	left := make([][]float64, len(rows))
	for i, row := range rows {
		left[i] = slices.Clone(row)
	}
	last := math.Inf(1)
	for r := 0; ; r++ {
		a, b, most := 0, 0, 0.0
		for i, row := range left {
			for j, v := range row {
				if math.Abs(v) > most {
					a, b, most = i, j, math.Abs(v)
				}
			}
		}
		if most <= grown*slack {
			if last < stands*slack {
				return 0
			}
			return r
		}
		if last = most; r == mostRank || (r+1)*rowsPerRank > len(rows) {
			return 0
		}
		pivot := slices.Clone(left[a])
		for _, row := range left {
			times := row[b] / pivot[b]
			for j := range row {
				row[j] -= times * pivot[j]
			}
		}
	}
}
