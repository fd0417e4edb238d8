package verify

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
	"checkpoint12/model"
)

// maxGrafts is the number of stages that are put in, one after the other, before
// giving up: by then it is no longer a matter of single stages.
const maxGrafts = 6

// Graft is the proof that a stage is at fault: the golden's tensors were put into
// the model where they come out of it, through the tap, and the run looked at
// again.
type Graft struct {
	Case   string `json:"case"`
	Engine string `json:"engine"`

	// Stages are the grafted ones in the order in which they came to be suspected:
	// after each the run diverged first at the next. A pattern, h.*.mlp.act, is
	// the stage in all layers.
	Stages []string `json:"stages"`
	Places int      `json:"places"` // tensors put in, over all steps

	// Repaired is true if nothing diverges any more and the tokens are the
	// golden's. Next is where the run first diverges in spite of the grafts, ""
	// if it does not.
	Repaired bool   `json:"repaired"`
	Next     string `json:"next,omitempty"`

	// Before and After are the first token that is not the golden's, counted over
	// the new ones, -1 where all are.
	Before int `json:"before"`
	After  int `json:"after"`

	// LogitsBefore and LogitsAfter are max|Δlogits_last| to the golden, over all
	// steps in which both were fed the same; NaN where the golden has none.
	LogitsBefore harness.Float `json:"logits_before"`
	LogitsAfter  harness.Float `json:"logits_after"`
}

// Graft runs the case again with the golden's tensors in place of the model's at
// the first stage that diverges, at every step for which the golden has it, and
// goes on with the next stage that then diverges first, until nothing does. It
// is nil where nothing diverges to begin with.
func (s *Suite) Graft(ctx context.Context, c *Case, g *Golden) (*Graft, error) {
	if err := g.open(s.schedule); err != nil {
		return nil, err
	}
	out := &Graft{Case: c.Name, Engine: g.Engine}
	t, r, _, err := s.grafted(ctx, c, g, nil)
	if err != nil || r.FirstDivergence == nil {
		return nil, err
	}
	out.Before, out.LogitsBefore = firstOther(g, t), logitsOff(r)
	for r.FirstDivergence != nil && len(out.Stages) < maxGrafts {
		stages, ok := suspect(out.Stages, r.FirstDivergence.Stage)
		if !ok {
			break // it was put in already, where the golden has it
		}
		out.Stages = stages
		if t, r, out.Places, err = s.grafted(ctx, c, g, stages); err != nil {
			return nil, err
		}
	}
	out.After, out.LogitsAfter = firstOther(g, t), logitsOff(r)
	if p := r.FirstDivergence; p != nil {
		out.Next = p.String()
	}
	out.Repaired = out.Next == "" && out.After < 0
	return out, nil
}

// grafted reruns the case with the golden's tensors written over the model's at
// the stages, and compares the result with the golden. If the golden was fed
// tokens that it did not choose, the rerun is fed the same. placed is the number of
// tensors written.
func (s *Suite) grafted(ctx context.Context, c *Case, g *Golden, stages []string) (t *gpt2.Trace, r *harness.Report, placed int, err error) {
	in := gpt2.Override{Before: s.tap, Value: func(at harness.Place, _ harness.Tensor) (harness.Tensor, error) {
		if !slices.ContainsFunc(stages, func(p string) bool { return names.Match(p, at.Stage) }) || !g.has(at.Step, at.Stage) {
			return harness.Tensor{}, nil
		}
		return g.dump.Tensor(at.Step, at.Stage) // of another shape where another token was fed before
	}}
	run := gpt2.Run{
		Tokens: c.Tokens, New: g.manifest.New, Temperatures: s.temps, Match: (&Case{Goldens: []*Golden{g}}).wanted, Tap: in.Tap,
	}
	if forced, err := g.forced(); err != nil {
		return nil, nil, 0, err
	} else if forced {
		run.Feed = g.forcedTokens()
	}
	if t, err = gpt2.RecordTrace(ctx, s.Model, run); err != nil {
		return nil, nil, 0, fmt.Errorf("case %s: %w", c.Name, err)
	}
	if in.Err != nil {
		return nil, nil, 0, &diagnose.GoldenError{Path: g.Dir, Err: in.Err}
	}
	r, err = harness.Compare(s.schedule, g.dump, t, harness.CompareOptions{Prompt: len(c.Tokens[0])})
	if err != nil {
		return nil, nil, 0, &diagnose.GoldenError{Path: g.Dir, Err: err}
	}
	return t, r, in.Written, nil
}

// suspect adds a stage to the grafts: once it has been suspected in one layer
// and is in another, in all. It is false for a stage that is grafted already.
func suspect(stages []string, stage string) ([]string, bool) {
	kind := func(stage string) string {
		s, _ := model.ParseStage(stage)
		return s.Kind()
	}
	all := kind(stage)
	for i, have := range stages {
		switch {
		case names.Match(have, stage):
			return nil, false
		case kind(have) == all:
			stages = slices.Clone(stages)
			stages[i] = all
			return stages, true
		}
	}
	return append(slices.Clone(stages), stage), true
}

// firstOther returns the first new token that is not the golden's, -1 if all are.
func firstOther(g *Golden, t *gpt2.Trace) int {
	want, prompt := g.dump.Tokens(), len(g.manifest.Tokens[0])
	for i := prompt; i < want.Shape[1]; i++ {
		for b, row := range t.Rows {
			if i >= len(row) || int64(row[i]) != want.I64[b*want.Shape[1]+i] {
				return i - prompt
			}
		}
	}
	return -1
}

// logitsOff returns the largest error of logits_last.
func logitsOff(r *harness.Report) harness.Float {
	off := math.NaN()
	for i := range r.Stages {
		if row := &r.Stages[i]; row.Stage == "logits_last" && row.Status.Compared() && !(float64(row.MaxAbs) <= off) {
			off = float64(row.MaxAbs)
		}
	}
	return harness.Float(off)
}

// String returns the proof in a line.
func (g *Graft) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "with %s's %s put in (%s of case %s), ", g.Engine, strings.Join(g.Stages, ", "), words.Count(g.Places, "tensor"), g.Case)
	switch {
	case g.Repaired && g.Before >= 0:
		b.WriteString("the text is repaired")
	case g.Repaired:
		b.WriteString("every stage is within its bound (the text was right without it)")
	case g.After < 0 && g.Before >= 0:
		fmt.Fprintf(&b, "the text is repaired, but the run still diverges at %s", g.Next)
	default:
		fmt.Fprintf(&b, "the run still diverges at %s: that is not all", g.Next)
	}
	if before, after := float64(g.LogitsBefore), float64(g.LogitsAfter); !math.IsNaN(before) && !math.IsNaN(after) {
		fmt.Fprintf(&b, "; logits_last off by %.3g, before %.3g", after, before)
	}
	return b.String()
}

// prove grafts for the first failure: from its own engine's golden, in its case. It
// is nil where there is no golden to take a stage from.
func (s *Suite) prove(ctx context.Context, first *Finding) (*Graft, error) {
	if first == nil || first.Checkpoint == CheckpointCount || first.Outlier {
		return nil, nil
	}
	for _, c := range s.Cases {
		if c.Name != first.Case {
			continue
		}
		for _, g := range c.Goldens {
			if g.Engine == first.Engine {
				s.say("%s: case %s: graft of %s's stages", s.Name, c.Name, g.Engine)
				return s.Graft(ctx, c, g)
			}
		}
	}
	return nil, nil
}
