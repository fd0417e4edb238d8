package pictures

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/report/page"
	"checkpoint12/model/tokenizer"
)

// tokens returns what was chosen at each step, with the certainty of the golden's choice.
func (b *builder) tokens() (all []page.Token, err error) {
	text, err := tokenizer.New()
	if err != nil {
		return nil, err
	}
	for i := range b.judged {
		j, parted := &b.judged[i], map[int]bool{}
		for _, step := range j.Candidate.Steps() {
			rows, err := tokensAt(j, step, text)
			if err != nil {
				return nil, err
			}
			if row, ok := j.Candidate.(*harness.BatchRow); ok {
				for k := range rows {
					rows[k].Row = row.Padding().Row
				}
			}
			for k := range rows {
				if t := &rows[k]; t.Got != "" && t.Want != "" && !t.Same && !parted[t.Row] {
					t.Parts, parted[t.Row] = true, true
				}
			}
			all = append(all, rows...)
		}
	}
	return all, nil
}

// tokensAt returns the tokens of a step, a Token for each row of the batch; none if neither
// side shows its choice.
func tokensAt(j *diagnose.Judged, step int, text *tokenizer.Tokenizer) (all []page.Token, err error) {
	got, err := chosen(j.Candidate, step)
	if err != nil {
		return nil, err
	}
	var want []int
	margins, note := page.Num(math.NaN()), ""
	slack := margins
	skipped := slices.ContainsFunc(j.Report.Stages, func(row harness.Row) bool { return row.Step == step && row.Status == harness.Skipped })
	if skipped {
		note = "not compared: it was fed other tokens than the golden"
	} else if len(j.Engines) > 0 {
		golden := j.Engines[0].Source
		if want, err = chosen(golden, step); err != nil {
			return nil, err
		}
		if len(want) > 0 {
			if note, err = diagnose.Certainty(golden, j.Candidate, step); err != nil {
				return nil, err
			}
			if margins, slack, err = margin(golden, j.Candidate, step); err != nil {
				return nil, err
			}
		}
	}
	if note == "" && len(want) == 0 {
		note = "no golden"
	}
	for row := range max(len(got), len(want)) {
		t := page.Token{Step: step, Row: row, Margin: margins, Slack: slack, Note: note}
		if row < len(got) && got[row] < 0 {
			t.Note = "no choice: logits_last is not finite"
		}
		t.Got, t.Want = word(got, row, text), word(want, row, text)
		t.Same = t.Got == t.Want
		all = append(all, t)
	}
	return all, nil
}

// chosen returns the tokens that a source chose at a step.
func chosen(src harness.Source, step int) (ids []int, err error) {
	if _, ok := src.Shape(step, "next_token"); ok {
		t, err := src.Tensor(step, "next_token")
		for _, id := range t.I64 {
			ids = append(ids, int(id))
		}
		return ids, err
	}
	logits, err := diagnose.Logits(src, step, 0)
	if err != nil || len(logits.Shape) != 2 {
		return nil, err
	}
	width := logits.Shape[1]
	for b := range logits.Shape[0] {
		row := logits.F32[b*width:][:width]
		best := 0
		for i, v := range row {
			if v > row[best] {
				best = i
			}
		}
		if slices.ContainsFunc(row, func(v float32) bool { return v != v }) {
			best = -1 // NaN chooses nothing
		}
		ids = append(ids, best)
	}
	return ids, nil
}

// word returns a token as quoted text and id.
func word(ids []int, row int, text *tokenizer.Tokenizer) string {
	if row >= len(ids) || ids[row] < 0 {
		return ""
	}
	s, err := text.Decode(ids[row : row+1])
	if err != nil {
		return strconv.Itoa(ids[row])
	}
	return fmt.Sprintf("%q %d", s, ids[row])
}

// margin returns the least margin of the golden's choices at a step, and twice the largest
// difference of the candidate's logits, which it must exceed to be certain.
func margin(golden, candidate harness.Source, step int) (least, slack page.Num, err error) {
	least, slack = page.Num(math.NaN()), page.Num(math.NaN())
	want, err := diagnose.Logits(golden, step, 0)
	if err != nil || len(want.Shape) != 2 {
		return least, slack, err
	}
	width := want.Shape[1]
	for b := range want.Shape[0] {
		row := slices.Clone(want.F32[b*width:][:width])
		if len(row) < 2 {
			return least, slack, nil
		}
		slices.Sort(row)
		if m := page.Num(row[width-1] - row[width-2]); !(m >= least) {
			least = m
		}
	}
	got, err := diagnose.Logits(candidate, step, 0)
	if err != nil || !slices.Equal(got.Shape, want.Shape) {
		return least, slack, err
	}
	slack = 0
	for i := range got.F32 {
		slack = max(slack, 2*page.Num(math.Abs(float64(got.F32[i])-float64(want.F32[i]))))
	}
	return least, slack, nil
}
