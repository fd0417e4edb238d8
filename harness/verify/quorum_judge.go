package verify

import (
	"fmt"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
)

// judgeGoldens compares the goldens of a case with each other, and marks the
// failures that one of them is to blame for.
func (s *Suite) judgeGoldens(c *Case, o *outcome) error {
	if len(c.Goldens) < 2 {
		return nil
	}
	var engines []diagnose.EngineResult
	for i, g := range c.Goldens {
		engines = append(engines, diagnose.EngineResult{Engine: g.Engine, Source: g.dump, Report: o.reports[i]})
	}
	var err error
	if o.quorum, err = diagnose.NewQuorum(s.schedule, engines, c.spread); err != nil {
		return fmt.Errorf("case %s: compare its goldens: %w", c.Name, err)
	}
	c.spread = o.quorum.Spread // the goldens stay what they are
	for i := range o.findings {
		f := &o.findings[i]
		if out := o.quorum.Outlier(f.Engine, harness.Place{Step: f.Step, Stage: f.Stage}); f.Failed && out != nil {
			f.Outlier, f.Note, f.causes, f.Cause = true, out.String(), goldenCauses, ""
		}
	}
	return nil
}
