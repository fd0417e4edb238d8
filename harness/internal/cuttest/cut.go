// Package cuttest runs GPT-2 in other steps than the prompt at once and then one token at a
// time, for tests.
package cuttest

import (
	"context"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/model"
)

// Run returns a run of the model that feeds rows of tokens in the steps of a cut. plant,
// if not nil, is a faults.Planter's.
func Run(
	t harnesstest.Tester, m *model.Model, tokens [][]int, cut harness.Cut,
	plant func(at harness.Place, c *faults.Context) []float32,
) *harness.Recorder {
	t.Helper()
	run := gpt2.Run{Tokens: tokens, Cut: cut, Threads: 1}
	if plant != nil {
		run.Tap = (&gpt2.Override{Value: (&faults.Planter{Model: m, Plant: plant, Cut: cut}).Value}).Tap
	}
	r, err := gpt2.Record(context.Background(), m, run)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
