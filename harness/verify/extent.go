package verify

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/words"
)

// extent finds out how much of a case a dump, cut as given, has.
func (s *Suite) extent(o *outcome, c *Case, g *Golden, candidate harness.Source, cut harness.Cut) error {
	o.has = map[int]bool{}
	for _, step := range candidate.Steps() {
		for _, stage := range candidate.Stages(step) {
			if st, ok := s.schedule.Stage(stage); ok {
				o.has[st.Checkpoint] = true
			}
		}
	}
	end := len(g.tokens[0])
	o.past = readsCache(candidate, cut, end-1)
	o.choices = c.parts == nil
	for at := g.prompt(); at < end && o.choices; at++ {
		step, back := at-g.prompt(), 0
		if cut != nil {
			step, back = stepOf(cut, at)
		}
		ids, _, err := chosen(candidate, step, back)
		if err != nil {
			return err
		}
		o.choices = len(ids) >= len(g.tokens)
	}
	steps, last := append([]int{-1}, candidate.Steps()...), 0
	for i := range o.report.Stages {
		last = max(last, o.report.Stages[i].Step)
	}
	if have := slices.Max(steps); have < last && cut == nil && c.parts == nil {
		o.early = fmt.Sprintf("ends after step %d of %d", have, c.New)
	}
	return nil
}

// readsCache reports whether a run has a cache where it had a past, or all positions
// without ever having one.
func readsCache(run harness.Source, cut harness.Cut, positions int) bool {
	single := slices.ContainsFunc(cut, func(s harness.Span) bool { return s.End() >= positions }) &&
		!slices.ContainsFunc(cut, func(s harness.Span) bool { return s.P > 0 })
	return slices.ContainsFunc(run.Steps(), func(step int) bool {
		span, _ := cut.At(step)
		return (single || span.P > 0 || cut == nil && step > 0) && slices.ContainsFunc(run.Stages(step), func(stage string) bool {
			return strings.HasSuffix(stage, ".attn.cache_k") || strings.HasSuffix(stage, ".attn.cache_v")
		})
	})
}

// tooShort returns why the engine's dumps are too short for a checkpoint, or "".
func (s *Suite) tooShort(n int) string {
	judged, past, choices := false, false, false
	for _, c := range s.Cases {
		if o := c.outcome; o != nil && o.report != nil {
			past = past || o.past
			judged = judged || c.New > 1 && c.parts == nil
			choices = choices || c.New > 1 && o.choices
		}
	}
	switch {
	case s.o.Engine == nil:
	case n == checkCache && !past:
		return "no dump has a cache at a step with a past"
	case n == CheckpointCount && judged && !choices:
		return "no dump shows all tokens that were to be chosen"
	}
	return ""
}

// early returns in words in how many cases the engine's dumps end early.
func (s *Suite) early() (all []string) {
	count := map[string]int{}
	for _, c := range s.Cases {
		if c.outcome == nil || c.outcome.early == "" {
			continue
		}
		if count[c.outcome.early]++; count[c.outcome.early] == 1 {
			all = append(all, c.outcome.early)
		}
	}
	for i, e := range all {
		all[i] = e + " in " + words.Count(count[e], "case")
	}
	return all
}
