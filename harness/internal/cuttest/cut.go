// Package cuttest runs GPT-2 in other steps than the prompt at once and then one token at a
// time, for tests.
package cuttest

import (
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/model"
)

// Run returns a run of the model that feeds rows of tokens in the steps of a cut. A
// step that does not go on where the one before ended computes what comes before it
// again. plant, if not nil, is a faults.Planter's.
func Run(
	t harnesstest.Tester, m *model.Model, tokens [][]int, cut harness.Cut,
	plant func(at harness.Place, c *faults.Context) []float32,
) *harness.Recorder {
	t.Helper()
	r := harness.NewRecorder(harness.RecorderOptions{Schedule: gpt2.Schedule(m.Config().Layers, nil), Name: "cut"})
	var session *model.Session
	begin := func(tap func() model.Tap) {
		var err error
		planter := &faults.Planter{Model: m, Plant: plant, Pos: func() int { return session.Pos() }}
		override := &gpt2.Override{Value: planter.Value}
		session, err = m.NewSession(model.SessionOptions{
			Batch: len(tokens), Length: len(tokens[0]), Temperatures: gpt2.Temperatures, Threads: 1,
			Tap: func(stage string, shape []int, data []float32) {
				if plant != nil {
					override.Tap(stage, shape, data)
				}
				if record := tap(); record != nil {
					record(stage, shape, data)
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	feed := func(from, to int) {
		var ids []int
		for _, row := range tokens {
			ids = append(ids, row[from:to]...)
		}
		if _, err := session.Step(ids); err != nil {
			t.Fatal(err)
		}
	}
	var record model.Tap
	for k, span := range cut {
		if session == nil || session.Pos() != span.P {
			begin(func() model.Tap { return record })
			if record = nil; span.P > 0 {
				feed(0, span.P)
			}
		}
		r.Step(k)
		record = r.Tap
		feed(span.P, span.End())
	}
	rows := make([][]int, len(tokens))
	for b := range rows {
		rows[b] = slices.Clone(tokens[b])
	}
	r.SetTokens(rows)
	return r
}
