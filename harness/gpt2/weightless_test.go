package gpt2_test

import (
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// A run is replayed without weights, in the dimensions that its shapes show, and
// found right wherever no weights are needed.
func TestReplayWithoutWeights(t *testing.T) {
	micro := modeltest.Micro
	micro.Layers = 2
	m := modeltest.New(t, micro, 1)
	rec, err := gpt2.Record(t.Context(), m, gpt2.Run{Tokens: [][]int{{5, 7, 11}, {6, 8, 2}}, New: 3})
	if err != nil {
		t.Fatal(err)
	}
	s := gpt2.Schedule(micro.Layers, nil)
	cfg := gpt2.ConfigOf(s, rec)
	want := micro
	if cfg.Vocab != want.Vocab || cfg.Embd != want.Embd || cfg.Layers != want.Layers || cfg.Heads != want.Heads || cfg.Inner != want.Inner {
		t.Errorf("config %+v, want the dimensions of %+v", cfg, want)
	}
	replayed := func(cfg model.Config) (clean int) {
		rows, err := replay.Judge(t.Context(), s, rec, gpt2.NewReplayer(model.Weightless(cfg), nil), replay.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			switch {
			case row.Verdict == harness.ReplayClean:
				clean++
			case row.Verdict != harness.ReplayUnknown:
				t.Errorf("%s: %s, %s", row.Place, row.Verdict, row.Why)
			}
		}
		return clean
	}
	const outside, attention, others = 6, 8, 3 // embed, logits_last, next_token, three of probs_t; act and two sums
	if n := replayed(cfg); n != 3*(outside+2*(attention+others)) {
		t.Errorf("%d places are right, want those of every stage without weights", n)
	}
	cfg.Heads = 0
	if n := replayed(cfg); n != 3*(outside+2*others) {
		t.Errorf("%d places are right where the heads are not known, want all but attention's", n)
	}
}
