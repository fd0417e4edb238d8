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
)

// maxGrafts bounds the stages of a graft: if more diverge, it is no matter of single stages.
const maxGrafts = 6

// A Graft is the proof that a stage is at fault: a run in which the golden's tensors are
// written over that stage's output, and which then agrees with the golden.
type Graft struct {
	Case   string `json:"case"`
	Engine string `json:"engine"`

	// Stages are those written over, in the order in which the run first diverged at
	// them. A pattern, h.*.mlp.act, is the stage in all layers.
	Stages []string `json:"stages"`
	Places int      `json:"places"` // tensors put in, over all steps

	Repaired bool   `json:"repaired"`       // nothing diverges any more, and the tokens are the golden's
	Next     string `json:"next,omitempty"` // where the run first diverges all the same

	// Before and After are the index of the first new token that is not the golden's, or -1.
	Before int `json:"before"`
	After  int `json:"after"`

	// LogitsBefore and LogitsAfter are max|Δlogits_last| to the golden, over all steps
	// fed the same; NaN if the golden has none.
	LogitsBefore harness.Float `json:"logits_before"`
	LogitsAfter  harness.Float `json:"logits_after"`
}

// graft reruns the case with the golden's tensors at the first stage that diverges, at
// every step that the golden has, then also at the stage that diverges first in that
// run, until none does. It returns nil if nothing diverges to begin with.
func (s *Suite) graft(ctx context.Context, c *Case, g *Golden) (*Graft, error) {
	s.say("%s: case %s: again, with %s's values written over the stages that diverge", s.Name, c.Name, g.Engine)
	out := &Graft{Case: c.Name, Engine: g.Engine}
	for {
		first, err := s.rerun(ctx, c, g, out)
		if err != nil || first == nil && len(out.Stages) == 0 {
			return nil, err
		}
		if len(out.Stages) == 0 {
			out.Before, out.LogitsBefore = out.After, out.LogitsAfter
		}
		if first == nil {
			out.Repaired = out.After < 0
			return out, nil
		}
		if len(out.Stages) == maxGrafts || !out.suspect(first.Stage) {
			out.Next = first.String()
			return out, nil
		}
	}
}

// rerun makes the run of a graft, fed what the golden was fed where that was not its own
// choices, and returns where it first diverges from the golden, or nil.
func (s *Suite) rerun(ctx context.Context, c *Case, g *Golden, out *Graft) (*harness.Place, error) {
	in := gpt2.Override{Before: s.o.Tap, Value: func(at harness.Place, _ harness.Tensor) (harness.Tensor, error) {
		over := slices.ContainsFunc(out.Stages, func(p string) bool { return names.Match(p, at.Stage) })
		if !over || !g.has(at.Step, at.Stage) {
			return harness.Tensor{}, nil
		}
		return g.dump.Tensor(at.Step, at.Stage) // of another shape where another token was fed before
	}}
	run := gpt2.Run{Tokens: c.Tokens, New: g.manifest.New, Temperatures: s.temps, Match: g.wants, Tap: in.Tap}
	if g.fedOther {
		run.Feed = g.feed()
	}
	t, err := gpt2.RecordTrace(ctx, s.Model, run)
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	if in.Err != nil {
		return nil, &diagnose.GoldenError{Path: g.Dir, Err: in.Err}
	}
	r, err := s.compare(g, t)
	if err != nil {
		return nil, err
	}
	out.Places, out.After, out.LogitsAfter = in.Written, -1, harness.Float(math.NaN())
	for b, want := range g.tokens {
		if i := firstOther(t.Tokens()[b], want) - g.prompt(); i >= 0 && (out.After < 0 || i < out.After) {
			out.After = i
		}
	}
	for i := range r.Stages {
		row := &r.Stages[i]
		if row.Stage == "logits_last" && row.Status.Compared() && !(row.MaxAbs <= out.LogitsAfter) {
			out.LogitsAfter = row.MaxAbs
		}
	}
	return r.FirstDivergence, nil
}

// suspect adds a stage to the grafts; suspected in a second layer, it is added in all.
// It reports whether the stage was not among them already.
func (g *Graft) suspect(stage string) bool {
	for i, have := range g.Stages {
		switch family := names.Family(stage); {
		case names.Match(have, stage):
			return false
		case names.Family(have) == family:
			g.Stages[i] = family
			return true
		}
	}
	g.Stages = append(g.Stages, stage)
	return true
}

// String returns the proof in a line.
func (g *Graft) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "with %s's values written over %s (%s of case %s), ",
		g.Engine, strings.Join(g.Stages, ", "), words.Count(g.Places, "tensor"), g.Case)
	switch {
	case g.Repaired && g.Before >= 0:
		b.WriteString("the text is correct")
	case g.Repaired:
		b.WriteString("every stage is within tolerance (the text was correct without it)")
	case g.After < 0 && g.Before >= 0:
		fmt.Fprintf(&b, "the text is correct, but the run still diverges at %s", g.Next)
	default:
		fmt.Fprintf(&b, "the run still diverges at %s: that is not all", g.Next)
	}
	if before, after := float64(g.LogitsBefore), float64(g.LogitsAfter); !math.IsNaN(before) && !math.IsNaN(after) {
		fmt.Fprintf(&b, "; logits_last off by %.3g, before %.3g", after, before)
	}
	return b.String()
}

// prove grafts from the golden of the first failure, or returns nil without one, or of an
// engine, whose run it cannot make.
func (s *Suite) prove(ctx context.Context, first *Finding) (*Graft, error) {
	if first == nil || s.o.Engine != nil || first.Checkpoint == CheckpointCount || first.Outlier {
		return nil, nil
	}
	for _, c := range s.Cases {
		for _, g := range c.Goldens {
			if c.Name == first.Case && g.Engine == first.Engine {
				return s.graft(ctx, c, g)
			}
		}
	}
	return nil, nil
}
