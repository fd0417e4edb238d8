package harness_test

import (
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
)

func TestRecorderCopies(t *testing.T) {
	s := harnesstest.MustSchedule(t, "b", "a", "next_id")
	r := harness.NewRecorder(harness.RecorderOptions{Schedule: s})
	shape, live := []int{1, 2}, []float32{1, 2}
	r.Step(0)
	r.Tap("a", shape, live)
	r.Tap("b", shape, live)
	r.Tap("next_id", []int{1}, []float32{50256})
	live[0], shape[1] = 9, 9
	r.Step(2)
	r.Tap("a", []int{1, 2}, live)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	for place, want := range map[harness.Place]harness.Tensor{{0, "a"}: vec(1, 2), {2, "a"}: vec(9, 2), {0, "next_id"}: ids(50256)} {
		if got, err := r.Tensor(place.Step, place.Stage); err != nil || !harnesstest.SameTensor(got, want) {
			t.Errorf("%v: %v, %v, want %v", place, got, err, want)
		}
	}
	if !slices.Equal(r.Steps(), []int{0, 2}) || !slices.Equal(r.Stages(0), []string{"b", "a", "next_id"}) {
		t.Errorf("steps %v, stages %v", r.Steps(), r.Stages(0))
	}
}

// A stage that is not wanted is asked about once and not copied.
func TestRecorderAsksBeforeCopying(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a", "b")
	var asked []harness.Place
	r := harness.NewRecorder(harness.RecorderOptions{Schedule: s, Match: func(step int, stage string) bool {
		asked = append(asked, harness.Place{step, stage})
		return stage == "b" && step == 1
	}})
	for step := range 2 {
		r.Step(step)
		r.Tap("a", []int{1}, []float32{1})
		r.Tap("b", []int{1}, []float32{1})
	}
	if want := []harness.Place{{0, "a"}, {0, "b"}, {1, "a"}, {1, "b"}}; !slices.Equal(asked, want) {
		t.Errorf("asked about %v", asked)
	}
	if !slices.Equal(r.Steps(), []int{1}) || !slices.Equal(r.Stages(1), []string{"b"}) {
		t.Errorf("kept %v, %v", r.Steps(), r.Stages(1))
	}
}

func TestRecorderKeepsErrors(t *testing.T) {
	one := []float32{1}
	for _, c := range []struct {
		reason string
		do     func(r *harness.Recorder)
		want   string
	}{
		{"a name that is no stage", func(r *harness.Recorder) { r.Step(0); r.Tap("h.0.mpl", []int{1}, one) }, `stage "h.0.mpl" is not in the schedule`},
		{"a stage twice in a step", func(r *harness.Recorder) { r.Step(0); r.Tap("a", []int{1}, one); r.Tap("a", []int{1}, one) }, "step 0: stage a tapped twice"},
		{"a tap before the first step", func(r *harness.Recorder) { r.Tap("a", []int{1}, one) }, "before the first step"},
		{"a step twice", func(r *harness.Recorder) { r.Step(0); r.Step(0) }, "begun twice"},
		{"a negative step", func(r *harness.Recorder) { r.Step(-1) }, "negative"},
		{"data that is not its shape", func(r *harness.Recorder) { r.Step(3); r.Tap("a", []int{2, 2}, one) }, "step 3: stage a: shape [2 2] does not match 1 elements"},
		{"a negative dimension", func(r *harness.Recorder) { r.Step(0); r.Tap("a", []int{-1, -1}, one) }, "does not match"},
		{"an id that is no integer", func(r *harness.Recorder) { r.Step(0); r.Tap("next_id", []int{1}, []float32{1.5}) }, "1.5 is not an id"},
		{"an id that is NaN", func(r *harness.Recorder) { r.Step(0); r.Tap("next_id", []int{1}, []float32{harnesstest.Nan}) }, "NaN is not an id"},
		{"rows of tokens of two lengths", func(r *harness.Recorder) { r.SetTokens([][]int{{1}, {1, 2}}) }, "row 1 has 2 ids"},
		{"no tokens", func(r *harness.Recorder) { r.SetTokens(nil) }, "no ids"},
	} {
		r := harness.NewRecorder(harness.RecorderOptions{Schedule: harnesstest.MustSchedule(t, "a", "next_id"), Name: "mine"})
		c.do(r)
		if err := r.Err(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "mine") {
			t.Errorf("%s: %v, want %q", c.reason, err, c.want)
		}
	}
	r := harness.NewRecorder(harness.RecorderOptions{Schedule: harnesstest.MustSchedule(t, "a")})
	for step := range 1000 {
		r.Step(step)
		r.Tap("nonsense", nil, one)
	}
	if n := strings.Count(r.Err().Error(), "\n"); n >= 20 {
		t.Errorf("%d lines of errors", n+1)
	}
}
