package faults_test

import (
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// engine is a run of the Go model in which other values are planted.
type engine struct {
	judge  *model.Model // nil is synthetic-tiny
	runs   *model.Model // nil is judge
	tokens [][]int
	steps  int
	plant  planting
	keep   func(stage string) bool                         // what is dumped; nil is all but what is as wide as the vocabulary
	reform func(step int, stage string, t *harness.Tensor) // what the dump has in place of it
	temps  []float64                                       // of its probabilities
}

// planting is the Plant of a Planter.
type planting = func(at harness.Place, c *faults.Context) []float32

// dump is a source whose tensors may have been reformed.
type dump struct {
	*harness.Recorder
	reform func(step int, stage string, t *harness.Tensor)
}

func (d dump) Tensor(step int, stage string) (harness.Tensor, error) {
	t, err := d.Recorder.Tensor(step, stage)
	if err == nil && d.reform != nil {
		d.reform(step, stage, &t)
	}
	return t, err
}

func (d dump) Shape(step int, stage string) ([]int, bool) {
	t, err := d.Tensor(step, stage)
	return t.Shape, err == nil
}

// explain runs the engine, replays its dump, and explains what is wrong with it.
func (e engine) explain(t *testing.T) (introduced []harness.Place, all []harness.Explanation) {
	t.Helper()
	if e.judge == nil {
		e.judge = gpt2test.Tiny(t)
	}
	m := e.judge
	if e.runs == nil {
		e.runs = m
	}
	if e.tokens == nil {
		e.tokens = [][]int{{464, 2068, 7586}, {15496, 11, 995}}
	}
	if e.steps == 0 {
		e.steps = 2
	}
	if e.keep == nil {
		e.keep = func(stage string) bool { return strings.HasPrefix(stage, "h.") || strings.HasSuffix(stage, "e") }
	}
	feed := make([][]int, len(e.tokens))
	for b := range feed {
		for k := range e.steps - 1 {
			feed[b] = append(feed[b], (1000+17*b+k)%m.Config().Vocab)
		}
	}
	o := gpt2.Run{
		Tokens: e.tokens, New: e.steps, Feed: feed, Temperatures: append([]float64{}, e.temps...),
		Match: func(_ int, stage string) bool { return e.keep(stage) },
	}
	if e.plant != nil {
		o.Tap = (&gpt2.Override{Value: (&faults.Planter{Model: m, Plant: e.plant}).Value}).Tap
	}
	rec, err := gpt2.Record(t.Context(), e.runs, o)
	if err != nil {
		t.Fatal(err)
	}
	candidate := dump{rec, e.reform}
	s := gpt2.Schedule(m.Config().Layers, nil)
	run, err := replay.NewRun(s, candidate, gpt2.NewReplayer(m, nil, gpt2.Float32), replay.Options{Prompt: len(e.tokens[0])})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := run.Judge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.Verdict == harness.ReplayIntroduced {
			introduced = append(introduced, row.Place)
		}
	}
	causes, err := faults.Explain(t.Context(), m, candidate, run, rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range causes {
		all = append(all, x.Explanation)
	}
	return introduced, all
}

// at plants in one stage of one step.
func at(step int, stage string, output func(c *faults.Context) []float32) planting {
	return func(at harness.Place, c *faults.Context) []float32 {
		if at != (harness.Place{Step: step, Stage: stage}) {
			return nil
		}
		return output(c)
	}
}

// plant puts a fault of the catalogue in stages of every step.
func plant(t *testing.T, id string, stages ...string) planting {
	t.Helper()
	f, err := faults.ByID(id)
	if err != nil {
		t.Fatal(err)
	}
	return func(at harness.Place, c *faults.Context) []float32 {
		if !slices.Contains(stages, at.Stage) {
			return nil
		}
		return f.Output(c)
	}
}
