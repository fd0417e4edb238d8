package pictures

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/replay"
	"checkpoint12/harness/report"
	"checkpoint12/harness/report/page"
)

// near returns the card of a place: its tensor from near, and what it read.
func (b *builder) near(at harness.Place, inputs bool) (*page.Card, error) {
	cell, ok := b.cell(at)
	if !ok {
		return nil, nil
	}
	card := &page.Card{Cell: cell}
	for _, e := range b.report.Explanations {
		if e.Step == at.Step && e.Stage == at.Stage {
			card.Causes = append(card.Causes, report.Explained(e))
		}
	}
	j := b.worstOf(at)
	card.Facts = b.facts(at, j)
	if j == nil {
		return card, nil
	}
	shape, ok := j.Candidate.Shape(at.Step, at.Stage)
	if !ok {
		return card, nil
	}
	card.Shape = dims(shape)
	if row, ok := j.Candidate.(*harness.BatchRow); ok {
		card.Of = fmt.Sprintf("row %d of the batch without its padding", row.Padding().Row)
	}
	st, _ := b.schedule.Stage(at.Stage)
	got, err := j.Candidate.Tensor(at.Step, at.Stage)
	if err != nil {
		return nil, err
	}
	if card.Golden, err = goldenPicture(j, st, at, got); err != nil {
		return nil, err
	}
	if own := b.replayed[at]; own != nil && own.Verdict != harness.ReplayUnknown {
		card.Replay = replayPicture(j, st, at, got)
	}
	if card.Engines, err = b.distances(j, at); err != nil {
		return nil, err
	}
	if inputs {
		if card.Inputs, err = b.inputs(j, at); err != nil {
			return nil, err
		}
	}
	return card, nil
}

// worstOf returns the run, or the row of the batch, in which a place is worst; nil if no run
// is at hand.
func (b *builder) worstOf(at harness.Place) (worst *diagnose.Judged) {
	most := math.Inf(-1)
	for i := range b.judged {
		j := &b.judged[i]
		if _, ok := j.Candidate.Shape(at.Step, at.Stage); !ok {
			continue
		}
		share := -1.0
		if row := j.Report.Row(at); row != nil {
			share = max(share, row.Share()) // NaN is less than nothing
		}
		for k := range j.Report.Replayed {
			if p := &j.Report.Replayed[k]; p.Place == at && p.Verdict == harness.ReplayIntroduced {
				share += p.Share()
			}
		}
		if math.IsNaN(share) {
			share = -1
		}
		if share > most {
			worst, most = j, share
		}
	}
	return worst
}

// goldenPicture draws the error against the golden that decides; nil where there is none.
func goldenPicture(j *diagnose.Judged, st harness.Stage, at harness.Place, got harness.Tensor) (*page.Picture, error) {
	if len(j.Engines) == 0 {
		return nil, nil
	}
	row := j.Report.Row(at)
	if row == nil || !row.Status.Compared() || row.Status == harness.WrongShape {
		return nil, nil
	}
	g := j.Engines[0]
	want, err := stand(g.Source, st, at)
	if err != nil || !slices.Equal(want.Shape, got.Shape) {
		return nil, err
	}
	bound := row.Tolerance.At(row.Scale)
	e := errorOf{axesOf(j, st, at, got.Shape), got, want, func(int) float64 { return bound }}
	return e.picture("the golden of " + engineName(g)), nil
}

// stand returns the golden's tensor, or the zero one where only another stage stands in.
func stand(golden harness.Source, st harness.Stage, at harness.Place) (harness.Tensor, error) {
	if _, ok := golden.Shape(at.Step, st.Name); !ok {
		return harness.Tensor{}, nil
	}
	return golden.Tensor(at.Step, st.Name)
}

// engineName returns what a golden is called.
func engineName(g diagnose.EngineResult) string {
	if m := g.Source.Manifest(); g.Engine == "" && m != nil {
		return cmp.Or(m.Engine.Name, g.Source.Name())
	}
	return cmp.Or(g.Engine, g.Source.Name())
}

// replayPicture draws the error of the stage's own computation; nil where it cannot be had.
func replayPicture(j *diagnose.Judged, st harness.Stage, at harness.Place, got harness.Tensor) *page.Picture {
	right, err := j.Right(at)
	if err != nil || !slices.Equal(right.Shape, got.Shape) || right.IDs() != got.IDs() {
		return nil
	}
	e := errorOf{axesOf(j, st, at, got.Shape), got, right.Tensor, bounds(right)}
	return e.picture("what is correct for its inputs")
}

// bounds returns the bound of each element of a replayed value.
func bounds(right replay.Value) func(i int) float64 {
	most := 0.0
	for _, v := range right.F32 {
		if v := math.Abs(float64(v)); !math.IsInf(v, 0) {
			most = max(most, v)
		}
	}
	allowed := right.Allowed.At(most)
	return func(i int) float64 {
		if right.Bound == nil {
			return allowed
		}
		return max(float64(right.Bound[i]), allowed)
	}
}

// distances returns how far the engines of the goldens are from the reference at a place.
func (b *builder) distances(j *diagnose.Judged, at harness.Place) (all []page.Distance, err error) {
	engines := append(slices.Clone(j.Engines), b.o.Siblings...)
	i := slices.IndexFunc(engines, func(e diagnose.EngineResult) bool { return engineName(e) == diagnose.Reference })
	if i < 0 {
		return nil, nil
	}
	reference := engines[i]
	if _, ok := reference.Source.Shape(at.Step, at.Stage); !ok {
		return nil, nil
	}
	add := func(name string, src harness.Source) error {
		if _, ok := src.Shape(at.Step, at.Stage); !ok {
			return nil
		}
		row, err := harness.CompareAt(j.Schedule, reference.Source, src, at)
		if err == nil && row.Status.Compared() && row.Status != harness.WrongShape {
			all = append(all, page.Distance{Name: name, Share: page.Num(row.Share()), Error: page.Num(row.MaxAbs)})
		}
		return err
	}
	if err := add(page.Candidate, j.Candidate); err != nil {
		return nil, err
	}
	seen := []string{diagnose.Reference}
	for _, e := range engines {
		if name := engineName(e); !slices.Contains(seen, name) {
			seen = append(seen, name)
			if err := add(name, e.Source); err != nil && !errors.Is(err, harness.ErrNothingCompared) {
				return nil, err
			}
		}
	}
	return all, nil
}

// inputs returns what the stage of a place was computed from.
func (b *builder) inputs(j *diagnose.Judged, at harness.Place) (all []page.Input, err error) {
	own := b.replayed[at]
	var places []harness.Place
	if own != nil {
		places = own.Inputs
	}
	for _, in := range places {
		cell, ok := b.cell(in)
		if !ok {
			continue
		}
		input := page.Input{Cell: cell}
		row := j.Report.Row(in)
		st, _ := b.schedule.Stage(in.Stage)
		if _, there := j.Candidate.Shape(in.Step, in.Stage); there && len(j.Engines) > 0 && row != nil && row.Status.Compared() && row.Status != harness.WrongShape {
			got, err := j.Candidate.Tensor(in.Step, in.Stage)
			if err != nil {
				return nil, err
			}
			want, err := stand(j.Engines[0].Source, st, in)
			if err != nil {
				return nil, err
			}
			if slices.Equal(want.Shape, got.Shape) {
				bound := row.Tolerance.At(row.Scale)
				e := errorOf{axesOf(j, st, in, got.Shape), got, want, func(int) float64 { return bound }}
				input.Panel = e.panels(maxDots / 4)
			}
		}
		all = append(all, input)
	}
	return all, nil
}

// facts returns what the rows of a place say in words, by the run or the row of a batch that is
// shown, whose coordinates all of them have.
func (b *builder) facts(at harness.Place, j *diagnose.Judged) (all []page.Fact) {
	add := func(name, format string, args ...any) {
		all = append(all, page.Fact{Name: name, Value: fmt.Sprintf(format, args...)})
	}
	row, own := b.rows[at], b.replayed[at]
	where := func(shape, index []int) string { return fmt.Sprint(index) }
	if j != nil {
		st, _ := b.schedule.Stage(at.Stage)
		where = func(shape, index []int) string {
			if names := axesOf(j, st, at, shape).where(index); names != "" {
				return names
			}
			return fmt.Sprint(index)
		}
		if x, ok := j.Candidate.(*harness.BatchRow); ok {
			row, own = j.Report.Row(at), nil
			for i := range j.Report.Replayed {
				if p := &j.Report.Replayed[i]; p.Place == at {
					own = p
				}
			}
			add("coordinates", "%s", coordinates(x.Padding()))
		}
	}
	if row != nil && len(b.layers) > 0 {
		switch {
		case row.Status == harness.WrongShape:
			add("shape", "got %v, want %v", row.GotShape, row.Shape)
		case row.Worst != nil && row.Status.Compared():
			add("outside the tolerance", "%d of %d values", row.Mismatched, row.Elements)
			add("worst", "at %s: got %.9g, want %.9g", where(row.Shape, row.Worst.Index), float64(row.Worst.Got), float64(row.Worst.Want))
			add("tolerance", "%s", row.Allowed())
			if !math.IsNaN(float64(row.Cosine)) && !row.IDs {
				add("rms, cosine", "%.3g, %.9f", float64(row.RMS), float64(row.Cosine))
			}
			if row.Tolerance.Reason != "" {
				add("reason for it", "%s", row.Tolerance.Reason)
			}
		}
		if row.Position != nil {
			add("first position that is wrong", "%d", *row.Position)
		}
		if row.Detail != "" {
			add("its own check", "%s", row.Detail)
		}
		if row.Doubt != "" {
			add("in doubt", "%s", row.Doubt)
		}
	}
	if why := b.report.Accepted(at); why != "" {
		add("accepted", "%s", why)
	}
	if own != nil {
		switch {
		case own.Why != "":
			add("replay", "%s", own.Why)
		case own.Worst != nil:
			add("replay", "%d of %d values off by more than rounding; worst at %s: got %.9g, want %.9g",
				own.Mismatched, own.Elements, where(own.Shape, own.Worst.Index), float64(own.Worst.Got), float64(own.Worst.Want))
		}
		if len(own.Span) > 1 {
			add("judged together with", "%s", strings.Join(own.Span[:len(own.Span)-1], ", "))
		}
	}
	return all
}

// coordinates says what the positions of a row of a batch are.
func coordinates(p harness.Padding) string {
	text := fmt.Sprintf("of row %d alone", p.Row)
	if p.Padded && len(p.Columns) > 0 {
		text += fmt.Sprintf(": positions, queries and keys count its own tokens, without padding; position 0 is column %d of the dump", p.Columns[0])
	}
	return text
}

// dims returns a shape as 1 × 2 × 64.
func dims(shape []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", " × "), "[]")
}
