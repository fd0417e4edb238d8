package replay_test

import (
	"slices"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/replay"
)

func TestRunHandsOutInputs(t *testing.T) {
	m := meter{layers: 1}
	r := m.run(t, change(1, "h.0.scaled", func(x *harness.Tensor) { x.F32[0] += 1 }))
	delete(r.Kept[1], "h.0.kept")
	run, err := replay.NewRun(r.Of, r, m, replay.Options{Prompt: 3})
	if err != nil {
		t.Fatal(err)
	}
	if f, ok := run.Dims(2); !ok || f != (replay.StepDims{B: 2, T: 1, P: 4}) {
		t.Errorf("step 2 is fed %+v, %v", f, ok)
	}
	own, err := run.Input(1, "h.0.scaled")
	if err != nil {
		t.Fatal(err)
	}
	right, err := run.Right(1, "h.0.scaled")
	if err != nil {
		t.Fatal(err)
	}
	if own.F32[0] != right.F32[0]+1 {
		t.Errorf("own %v, right %v", own.F32, right.F32)
	}
	// What is missing follows from what the candidate has, wrong or not.
	kept, err := run.Input(2, "prev:h.0.kept")
	if err != nil {
		t.Fatal(err)
	}
	if want := own.F32[0]; kept.F32[3] != want || kept.Shape[1] != 4 {
		t.Errorf("kept %v of shape %v, want %v as the last of row 0", kept.F32, kept.Shape, want)
	}
	if _, err := run.Input(1, "h.9.out"); err == nil {
		t.Error("a stage that is none was found")
	}
}

// With gives a missing stage another value, and leaves the Run as it was.
func TestWith(t *testing.T) {
	m := meter{layers: 1}
	r := m.run(t, nil)
	for step := range r.Kept {
		delete(r.Kept[step], "h.0.scaled")
		delete(r.Kept[step], "h.0.kept")
	}
	run, err := replay.NewRun(r.Of, r, m, replay.Options{Prompt: 3})
	if err != nil {
		t.Fatal(err)
	}
	at := harness.Place{Step: 0, Stage: "h.0.scaled"}
	input := func(run *replay.Run, step int, stage string) replay.Value {
		v, err := run.Input(step, stage)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	before, later := input(run, 0, at.Stage), input(run, 1, "h.0.kept")
	x := before.Tensor
	x.F32 = slices.Clone(x.F32)
	x.F32[0]++
	given := run.With(map[harness.Place]replay.Value{at: {Tensor: x}})
	if got := input(given, 0, at.Stage); !slices.Equal(got.F32, x.F32) || !slices.Equal(got.Bound, before.Bound) {
		t.Errorf("%v within %v, want %v within %v", got.F32, got.Bound, x.F32, before.Bound)
	}
	if got := input(given, 1, "h.0.kept"); got.F32[0] != later.F32[0]+1 {
		t.Errorf("step 1 keeps %v, want 1 more than %v at first", got.F32, later.F32)
	}
	if got := input(run, 0, at.Stage); !slices.Equal(got.F32, before.F32) {
		t.Errorf("without what was given: %v, want %v", got.F32, before.F32)
	}
	row, err := given.JudgeAt(harness.Place{Step: 0, Stage: "h.0.out"})
	if err != nil || row.Verdict != harness.ReplayIntroduced || !slices.Equal(row.Span, []string{"h.0.scaled", "h.0.kept", "h.0.out"}) {
		t.Errorf("%+v, %v: want h.0.out wrong with a span of three", row, err)
	}
}
