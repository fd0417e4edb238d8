package gpt2

import (
	"fmt"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/model"
)

// checkFit refuses a dump of which no tensor has the size that the model gives
// it: it was made with another model, and replaying it, every stage computed
// from the tokens for want of an input, would take long and say nothing. One
// tensor that fits is enough: the others are for the replay to judge.
func CheckFit(m *model.Model, candidate harness.Source) error {
	seen, example := 0, ""
	for _, step := range candidate.Steps() {
		for _, stage := range candidate.Stages(step) {
			if strings.HasSuffix(stage, ".scores") || strings.HasSuffix(stage, ".probs") || stage == "next_token" {
				continue // of no size that only this model has
			}
			got, ok := candidate.Shape(step, stage)
			want, err := model.Shape(m.Config(), stage, model.Dims{B: 1, T: 1})
			if !ok || err != nil || len(got) == 0 {
				continue
			}
			last := want[len(want)-1]
			if got[len(got)-1] == last {
				return nil
			}
			if seen++; example == "" {
				example = fmt.Sprintf("%s is %v, of %s %d wide", stage, got, m.Name(), last)
			}
		}
	}
	if seen < 2 {
		return nil
	}
	return fmt.Errorf("%s: none of %d tensors has a size of %s, such as %s: give --model the model it was made with", candidate.Name(), seen, m.Name(), example)
}
