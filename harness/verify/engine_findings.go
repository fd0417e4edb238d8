package verify

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2/maps"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
	"checkpoint12/harness/verify/engine"
	"checkpoint12/model/sample"
)

// overrule makes a failure that the report by all goldens does not share a note: the
// reference decides.
func (f *Finding) overrule(all *harness.Report) {
	row := all.Row(harness.Place{Step: f.Step, Stage: f.Stage})
	if f.Failed && row != nil && row.Status == harness.Pass {
		*f = Finding{
			Checkpoint: f.Checkpoint, Case: f.Case, Engine: f.Engine, Step: f.Step, Stage: f.Stage,
			Elements: f.Elements, Share: f.Share, Note: "outside tolerance of this golden, but not of those that decide",
		}
	}
}

// replayed returns the findings of a dump's stages on their own inputs.
func (s *Suite) replayed(c *Case, r *harness.Report) []Finding {
	var found []Finding
	at := map[harness.Place]bool{} // that fail
	finding := func(p harness.Place) Finding {
		st, _ := s.schedule.Stage(p.Stage)
		f := Finding{Checkpoint: st.Checkpoint, Case: c.Name, Engine: Self, Step: p.Step, Stage: p.Stage}
		f.What = "own computation"
		return f
	}
	for i := range r.Replayed {
		row := &r.Replayed[i]
		if row.Verdict == harness.ReplayUnknown {
			continue
		}
		f := finding(row.Place)
		f.Elements = row.Elements
		if share := row.Share(); !math.IsNaN(share) {
			f.Share = harness.Float(share)
		}
		if row.Verdict == harness.ReplayIntroduced {
			at[row.Place] = true
			f = f.replayed(*row)
			if r.IsOtherPoint(row.Place) {
				f.What = report.Wrongly(true)
			}
			same := row.Row
			same.Origin = harness.OriginIntroduced
			f.Cause, f.Closer = causeOf(r, &same), s.closer(c, nil)
			f = f.acceptAt(r, row.Place)
		}
		found = append(found, f)
	}
	for _, v := range r.Violations {
		if !at[v.Place] {
			at[v.Place] = true
			found = append(found, finding(v.Place).failing("%s: %s", v.Rule, v.Detail).acceptAt(r, v.Place))
		}
	}
	for _, p := range r.Unusable {
		if row := r.Row(p); !at[p] && (row == nil || !row.Status.Diverges()) {
			found = append(found, finding(p).failing("its shape is none of the stage's").acceptAt(r, p))
		}
	}
	return found
}

// asLoaded returns the finding on the weights as loaded, if the dump has them or all of it is
// of a narrower type than was asked for.
func asLoaded(c *Case, r *harness.Report) []Finding {
	if r.Weights == nil && r.Narrow == nil {
		return nil
	}
	f := Finding{
		Checkpoint: CheckWeights, Case: c.Name, Engine: Self, Stage: harness.WeightsStage,
		What: "as loaded, but for rounding and quantisation",
	}
	if n := r.Narrow; n != nil {
		f = f.failing("every value of the dump is of %s, and %s was asked for", n.Type, n.Asked)
		f.Cause = "the engine computes in " + n.Type
		if n.DType != "" {
			f.Cause += ": judge it with --dtype " + n.DType
		}
		return []Finding{f}
	}
	if w := r.WrongWeight(); w != nil {
		f = f.failing("%s: %s", w.Stage, w.Difference)
		f.Cause = "the weights are not loaded as the model's file has them"
	}
	return []Finding{f}
}

// onLoaded is what a run on the weights as loaded, in a golden's place, says of checkpoint
// 12: the engine chose the tokens that it chooses.
func onLoaded(c *Case, g *Golden, run diagnose.EngineResult, candidate harness.Source) ([]Finding, error) {
	f := Finding{
		Checkpoint: CheckpointCount, Case: c.Name, Engine: g.Engine, Step: g.manifest.New - 1, Stage: "text",
		What: "the tokens that a run on the weights as loaded chooses",
	}
	for _, step := range candidate.Steps() {
		compared := func(stage string) bool {
			row := run.Report.Row(harness.Place{Step: step, Stage: stage})
			return row != nil && row.Status.Compared()
		}
		if !compared("next_token") && !compared("logits_last") {
			continue
		}
		ids, logits, err := chosen(candidate, step, 0)
		if err != nil {
			return nil, err
		}
		want, right, err := chosen(run.Source, step, 0)
		if err != nil {
			return nil, err
		}
		for b := 0; b < len(ids) && len(ids) == len(want); b++ {
			f.Elements++
			if ids[b] == want[b] || f.Failed {
				continue
			}
			why := ""
			if right.Shape != nil {
				why = diagnose.CertaintyOf(right, logits)
			}
			if strings.HasPrefix(why, diagnose.NearTie) {
				f.Note = fmt.Sprintf("step %d: %s", step, why)
			} else {
				f = f.failing("row %d: step %d chose %d, the run %d", b, step, ids[b], want[b])
				f.Kind = otherText
			}
		}
	}
	if f.Elements == 0 {
		return nil, nil
	}
	return []Finding{f}, nil
}

// sameChoices is what a golden says of checkpoint 12: that the engine chose its tokens.
// Nothing is found if the dump, cut as given, does not show each choice.
func (s *Suite) sameChoices(c *Case, g *Golden, candidate harness.Source, cut harness.Cut, r *harness.Report) ([]Finding, error) {
	f := Finding{
		Checkpoint: CheckpointCount, Case: c.Name, Engine: g.Engine, Step: g.manifest.New - 1, Stage: "text",
		What: "the same tokens",
	}
	other := func(b, at, chose int, why string) []Finding {
		f = f.failing("row %d: step %d chose %d, %s chose %d%s", b, at-g.prompt(), chose, g.Engine, g.tokens[b][at], why)
		f.Kind, f.Closer = otherText, s.closer(c, g)
		return []Finding{f}
	}
	if g.fedOther {
		return nil, nil
	}
	for at := g.prompt(); at < len(g.tokens[0]); at++ {
		own := at - g.prompt()
		step, back := own, 0
		if cut != nil {
			step, back = stepOf(cut, at)
		}
		ids, logits, err := chosen(candidate, step, back)
		if err != nil || len(ids) != len(g.tokens) {
			return nil, err
		}
		for b, id := range ids {
			if int(id) == g.tokens[b][at] {
				f.Elements++
				continue
			}
			want, err := diagnose.Logits(g.dump, own, 0)
			if err != nil {
				return nil, err
			}
			why := diagnose.CertaintyOf(want, logits)
			accepted := r.Accepted(harness.Place{Step: step, Stage: "next_token"})
			switch {
			case accepted != "":
				f.Accepted = accepted
				f.Note = fmt.Sprintf("step %d: accepted: %s", own, accepted)
			case !strings.HasPrefix(why, diagnose.NearTie):
				return other(b, at, int(id), ""), nil
			default:
				f.Note = fmt.Sprintf("step %d: %s", own, why)
			}
		}
	}
	for b, row := range candidate.Tokens() {
		if b == len(g.tokens) {
			break
		}
		row = row[:min(len(row), len(g.tokens[b]))]
		if at := firstOther(row, g.tokens[b][:len(row)]); at >= g.prompt() && f.Note == "" {
			return other(b, at, row[at], " (as tokens.npy has it)"), nil
		}
	}
	return []Finding{f}, nil
}

// stepOf returns the step of a cut in which the token at a position is chosen, and how many
// positions it feeds after the one before: in a step that ends there none.
func stepOf(cut harness.Cut, position int) (step, back int) {
	if step = cut.EndingAt(position); step < 0 {
		step = slices.IndexFunc(cut, func(s harness.Span) bool { return s.P < position && position < s.End() })
	}
	if span, ok := cut.At(step); ok {
		back = span.End() - position
	}
	return step, back
}

// chosen returns what a run chose at a position of a step, counted back from its last, one
// id a row, and its logits there: nil if it does not show it.
func chosen(src harness.Source, step, back int) (ids []int64, logits harness.Tensor, err error) {
	if _, ok := src.Shape(step, "next_token"); ok && back == 0 {
		t, err := src.Tensor(step, "next_token")
		if err != nil {
			return nil, logits, err
		}
		logits, err = diagnose.Logits(src, step, 0)
		return t.I64, logits, err
	}
	logits, err = diagnose.Logits(src, step, back)
	for i := 0; i < len(logits.F32); i += logits.Shape[1] {
		ids = append(ids, int64(sample.Argmax(logits.F32[i:][:logits.Shape[1]])))
	}
	return ids, logits, err
}

// repeated returns the name of the case that checkpoint 12 runs three times.
func (s *Suite) repeated() string {
	if slices.ContainsFunc(s.Cases, func(c *Case) bool { return c.Name == "hello" }) {
		return "hello"
	}
	return s.Cases[0].Name
}

// runAgain asserts that two more runs choose the tokens of the first. Other bits are a
// note.
func (s *Suite) runAgain(ctx context.Context, c *Case, in engine.Case, first *dump.Dump, o *outcome) error {
	want, err := choices(first)
	if err != nil {
		return err
	}
	f := Finding{
		Checkpoint: CheckpointCount, Case: c.Name, Engine: Self, Step: c.New - 1, Stage: "runs",
		What: "three runs choose the same tokens", Elements: 3 * len(c.Tokens) * (len(want) - 1),
	}
	for run := 2; run <= 3; run++ {
		s.say("%s: case %s: run %d of 3", s.Name, c.Name, run)
		in.Out += "-again"
		if err := os.Mkdir(in.Out, 0o777); err != nil {
			return err
		}
		if err := s.o.Engine.Run(ctx, in); err != nil {
			return err
		}
		got, other, err := s.again(first, in.Out)
		if err != nil {
			return &engine.Failure{Reason: fmt.Sprintf("run %d: %v", run, err)}
		}
		if i := firstOther(got, want); i >= 0 && !f.Failed {
			f = f.failing("run %d gave %q, run 1 %q", run, got[min(i, len(got)-1)], want[i])
			f.Kind = notDeterministic
		}
		if len(other) > 0 {
			o.notes = append(o.notes, fmt.Sprintf("run %d gave other bits than run 1 in %s, first at %s",
				run, words.Count(len(other), "tensor"), other[0]))
		}
	}
	if f.Elements > 0 && o.choices || f.Failed {
		o.findings = append(o.findings, f)
	}
	return nil
}

// again returns the choices of another run's dump, and the places of the first run at
// which it has other bits.
func (s *Suite) again(first *dump.Dump, dir string) (shown []string, other []harness.Place, err error) {
	mapping, err := maps.Fitting(dir)
	if err != nil {
		return nil, nil, err
	}
	d, _, _, err := maps.Open(dir, s.schedule, mapping)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range s.schedule.Places(first, nil) {
		want, err := first.Tensor(p.Step, p.Stage)
		if err != nil {
			return nil, nil, err
		}
		var got harness.Tensor
		if _, ok := d.Shape(p.Step, p.Stage); ok {
			if got, err = d.Tensor(p.Step, p.Stage); err != nil {
				return nil, nil, err
			}
		}
		if !sameBits(got, want) {
			other = append(other, p)
		}
	}
	shown, err = choices(d)
	return shown, other, err
}

// choices returns a run's tokens and, at each step that shows it, what it chose, in words.
func choices(src harness.Source) ([]string, error) {
	shown := []string{fmt.Sprint("tokens ", src.Tokens())}
	for _, step := range src.Steps() {
		ids, _, err := chosen(src, step, 0)
		if err != nil {
			return nil, err
		}
		if ids != nil {
			shown = append(shown, fmt.Sprintf("step %d: %v", step, ids))
		}
	}
	return shown, nil
}

// sameBits reports whether two tensors hold the same bits. A NaN is the same as any other:
// the bits beside those that make it one say nothing, and no operation promises them.
func sameBits(a, b harness.Tensor) bool {
	return slices.Equal(a.Shape, b.Shape) && slices.Equal(a.I64, b.I64) &&
		slices.EqualFunc(a.F32, b.F32, func(x, y float32) bool {
			return math.Float32bits(x) == math.Float32bits(y) || x != x && y != y
		})
}
