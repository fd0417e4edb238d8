package replay_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/replay"
)

// change returns a change of one stage of a meter's run.
func change(step int, stage string, f func(x *harness.Tensor)) func(harness.Place, *harness.Tensor) {
	return func(at harness.Place, x *harness.Tensor) {
		if at == (harness.Place{Step: step, Stage: stage}) {
			f(x)
		}
	}
}

// judge replays a run of a meter.
func judge(t *testing.T, r *harnesstest.Memory, m replay.Replayer, golden harness.Source) []harness.Replayed {
	t.Helper()
	rows, err := replay.Judge(t.Context(), r.Of, r, m, replay.Options{Prompt: 3, Golden: golden})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// verdicts lists what is introduced and what is unknown, each with its span.
func verdicts(rows []harness.Replayed) (introduced, unknown []string) {
	for _, r := range rows {
		s := r.Place.String()
		if len(r.Span) > 1 {
			s += fmt.Sprint(" ", r.Span)
		}
		switch r.Verdict {
		case harness.ReplayIntroduced:
			introduced = append(introduced, s+" "+string(r.Status))
		case harness.ReplayUnknown:
			unknown = append(unknown, s)
		}
	}
	return introduced, unknown
}

func TestReplay(t *testing.T) {
	m := meter{layers: 2}
	add := func(stage string, steps ...int) func(harness.Place, *harness.Tensor) {
		return func(at harness.Place, x *harness.Tensor) {
			if at.Stage == stage && slices.Contains(steps, at.Step) {
				x.F32[len(x.F32)-1] *= 1.01
			}
		}
	}
	for _, c := range []struct {
		name, reason string
		fault        func(harness.Place, *harness.Tensor)
		drop         []string // patterns of stages the candidate lacks, or step_XX/stage
		change       func(*harnesstest.Memory)
		introduced   []string
		unknown      []string
	}{
		{name: "none", reason: "a right run alarms nobody"},
		{name: "one", reason: "what reads the wrong stage is right for what came in",
			fault: add("h.0.scaled", 0), introduced: []string{"step_00/h.0.scaled fail"}},
		{name: "several", reason: "a later fault is not hidden by an earlier one",
			fault: func(at harness.Place, x *harness.Tensor) {
				add("h.0.scaled", 0)(at, x)
				add("h.1.out", 0, 2)(at, x)
			},
			introduced: []string{"step_00/h.0.scaled fail", "step_00/h.1.out fail", "step_02/h.1.out fail"}},
		{name: "kept", reason: "a wrong cache is wrong where it was written, not in the steps that go on with it",
			fault: add("h.1.kept", 1), introduced: []string{"step_01/h.1.kept fail"}},
		{name: "ids", reason: "ids are the same or not",
			fault: change(2, "next_id", func(x *harness.Tensor) { x.I64[1]++ }), introduced: []string{"step_02/next_id fail"}},
		{name: "id that is right too", reason: "rounding decides between the two",
			fault: change(3, "next_id", func(x *harness.Tensor) { x.I64[1] += 10 })},
		{name: "rounding", reason: "within the bound is no fault",
			fault: func(at harness.Place, x *harness.Tensor) {
				if strings.HasSuffix(at.Stage, "out") {
					for i := range x.F32 {
						x.F32[i] *= 1 + 0.8*meterUnit
					}
				}
			}},
		{name: "span", reason: "what is missing is computed, and judged as one with what reads it",
			fault: add("h.1.scaled", 1), drop: []string{"*scaled", "*kept"},
			introduced: []string{
				"step_01/h.1.out [h.1.scaled h.1.kept h.1.out] fail",
				"step_02/h.1.out [h.1.scaled h.1.kept h.1.out] fail", // kept since step 1, where nobody saw it
				"step_03/h.1.out [h.1.scaled h.1.kept h.1.out] fail"}},
		{name: "span without fault", reason: "the bound of what was computed goes along", drop: []string{"*scaled", "*kept", "h.0.out"}},
		{name: "undecidable", reason: "nothing is left to compute it from",
			drop: []string{"embed"}, change: func(r *harnesstest.Memory) { r.Fed = nil },
			unknown: []string{"step_00/h.0.scaled", "step_01/h.0.scaled", "step_02/h.0.scaled", "step_03/h.0.scaled"}},
		{name: "wrong length", reason: "a cache that is too long is its own fault, and nobody else's",
			fault: change(1, "h.0.kept", func(x *harness.Tensor) {
				*x = harness.Tensor{Shape: []int{2, 5}, F32: append(slices.Clone(x.F32), 0, 0)}
			}), introduced: []string{"step_01/h.0.kept shape"}},
		{name: "shape that nobody can read", reason: "the stages after it are judged by what it should be",
			change: func(r *harnesstest.Memory) {
				r.Kept[1]["h.1.kept"] = harness.Tensor{Shape: []int{1, 1, 1}, F32: []float32{7}}
			}, introduced: []string{"step_01/h.1.kept shape"}},
		{name: "NaN", reason: "is introduced where it appears, and inherited after that",
			fault: change(0, "h.0.scaled", func(x *harness.Tensor) { x.F32[0] = harnesstest.Nan }), introduced: []string{"step_00/h.0.scaled nonfinite"}},
		{name: "lost NaN", reason: "a number where NaN came in is another computation",
			fault: func(at harness.Place, x *harness.Tensor) {
				change(0, "h.0.scaled", func(x *harness.Tensor) { x.F32[0] = harnesstest.Nan })(at, x)
				change(0, "h.0.out", func(x *harness.Tensor) { x.F32[0] = 1 })(at, x)
			}, introduced: []string{"step_00/h.0.scaled nonfinite", "step_00/h.0.out nonfinite"}},
		{name: "infinity", reason: "is no rounding",
			fault: change(2, "h.1.scaled", func(x *harness.Tensor) { x.F32[1] = harnesstest.Pinf }), introduced: []string{"step_02/h.1.scaled nonfinite"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := m.run(t, c.fault)
			for step, stages := range r.Kept {
				for stage := range stages {
					if slices.ContainsFunc(c.drop, func(p string) bool { return names.Match(p, stage) }) {
						delete(r.Kept[step], stage)
					}
				}
			}
			if c.change != nil {
				c.change(r)
			}
			rows := judge(t, r, m, nil)
			introduced, unknown := verdicts(rows)
			if diff := cmp.Diff(c.introduced, introduced); diff != "" {
				t.Errorf("%s: introduced (-want +got):\n%s", c.reason, diff)
			}
			if diff := cmp.Diff(c.unknown, unknown); diff != "" {
				t.Errorf("%s: unknown (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestReplayMeasures(t *testing.T) {
	m := meter{layers: 1}
	r := m.run(t, change(0, "h.0.scaled", func(x *harness.Tensor) {
		x.F32[4] += 0.5 // correct is 3*(5+0.5) = 16.5
		x.F32[0] += 0.01
	}))
	rows := judge(t, r, m, nil)
	row := rows[1]
	bound := float64(float32(meterUnit * 16.5))
	if row.Place != (harness.Place{Step: 0, Stage: "h.0.scaled"}) || row.Mismatched != 2 || row.Elements != 6 ||
		row.MaxAbs != 0.5 || row.Tolerance.Abs != bound || row.Share() != 0.5/bound {
		t.Errorf("%+v", row)
	}
	if diff := cmp.Diff(&harness.Worst{Index: []int{1, 1}, Got: 17, Want: 16.5}, row.Worst); diff != "" {
		t.Error(diff)
	}
	if clean := rows[0]; clean.Verdict != harness.ReplayClean || clean.Status != harness.Pass ||
		clean.Share() != 0 || clean.Elements != 6 || clean.Worst == nil {
		t.Errorf("%+v", clean)
	}
}

// A span so long that its bound covers everything says nothing.
func TestReplayDoesNotPassWhatRoundingCovers(t *testing.T) {
	m := meter{layers: 3}
	r := m.run(t, func(at harness.Place, x *harness.Tensor) {
		if at.Stage == "h.2.out" {
			x.F32[0] *= 1.001
		}
	})
	for _, stages := range r.Kept {
		for stage := range stages {
			if stage != "h.2.out" {
				delete(stages, stage)
			}
		}
	}
	rows := judge(t, r, vague{m}, nil)
	for _, row := range rows {
		if row.Verdict != harness.ReplayUnknown || !strings.Contains(row.Why, "rounding alone") {
			t.Errorf("%s: %s, %q", row.Place, row.Verdict, row.Why)
		}
	}
}

// vague is a meter with bounds of a twentieth.
type vague struct{ meter }

func (m vague) Replay(step int, stage string, in replay.Inputs) (replay.Value, error) {
	v, err := m.meter.Replay(step, stage, in)
	if stage == "h.2.out" {
		for i := range v.Bound {
			v.Bound[i] = float32(math.Abs(float64(v.F32[i]))) / 20
		}
	}
	return v, err
}

// What the candidate was fed is known from its tokens, from its own choices, or
// else from the golden.
func TestReplayFindsTokens(t *testing.T) {
	m := meter{layers: 1}
	full := m.run(t, nil).Tokens()
	golden := &harnesstest.Memory{Of: m.schedule(t), Title: "golden"}
	golden.Fed = full
	for _, c := range []struct {
		reason string
		change func(*harnesstest.Memory)
		golden harness.Source
		want   []string // unknown
	}{
		{"its own tokens", func(*harnesstest.Memory) {}, nil, nil},
		{"the prompt alone, and its choices", func(r *harnesstest.Memory) { r.Fed = firstColumns(full, 3) }, nil, nil},
		{"the prompt alone, and the golden's", func(r *harnesstest.Memory) {
			r.Fed = firstColumns(full, 3)
			for step := range 4 {
				delete(r.Kept[step], "next_id")
			}
		}, golden, nil},
		{"the golden's and its choices", func(r *harnesstest.Memory) { r.Fed = nil }, golden, nil},
		{"the prompt alone, and one choice lost", func(r *harnesstest.Memory) {
			r.Fed = firstColumns(full, 3)
			delete(r.Kept[1], "next_id")
		}, nil, []string{"step_02/embed", "step_03/embed"}},
		{"nothing", func(r *harnesstest.Memory) { r.Fed = nil }, nil, []string{"step_00/embed", "step_01/embed", "step_02/embed", "step_03/embed"}},
	} {
		r := m.run(t, nil)
		c.change(r)
		rows := judge(t, r, m, c.golden)
		introduced, unknown := verdicts(rows)
		if introduced != nil || !slices.Equal(unknown, c.want) {
			t.Errorf("%s: introduced %v, unknown %v, want %v", c.reason, introduced, unknown, c.want)
		}
	}
}

func TestReplayStopsForWhatCannotBeRead(t *testing.T) {
	m := meter{layers: 1}
	r := m.run(t, nil)
	_, err := replay.Judge(t.Context(), r.Of, unreadable{r}, m, replay.Options{Prompt: 3})
	if err == nil || !strings.Contains(err.Error(), "disk on fire") || !strings.Contains(err.Error(), "h.0.kept") {
		t.Errorf("got %v, want the error of h.0.kept", err)
	}
	r.Fed = firstColumns(r.Fed, 2)
	_, err = replay.Judge(t.Context(), r.Of, r, m, replay.Options{Prompt: 3})
	if err == nil || !strings.Contains(err.Error(), "tokens.npy ends within the prompt, after 2 of 3 ids") {
		t.Errorf("got %v, want the error of tokens that are too few", err)
	}
}

// unreadable has a tensor that cannot be read.
type unreadable struct{ harness.Source }

func (u unreadable) Tensor(step int, stage string) (harness.Tensor, error) {
	if stage == "h.0.kept" && step == 1 {
		return harness.Tensor{}, errors.New("disk on fire")
	}
	return u.Source.Tensor(step, stage)
}

// A tensor of a wrong shape is judged by it, and none of it is read where it is large.
func TestReplayReadsNoWrongShape(t *testing.T) {
	m := meter{layers: 1}
	r := m.run(t, nil)
	rows, err := replay.Judge(t.Context(), r.Of, large{r, t}, m, replay.Options{Prompt: 3})
	if err != nil {
		t.Fatal(err)
	}
	introduced, unknown := verdicts(rows)
	if want := []string{"step_01/h.0.kept shape"}; !slices.Equal(introduced, want) || unknown != nil {
		t.Errorf("introduced %v, unknown %v, want %v", introduced, unknown, want)
	}
}

// large has a tensor in a shape that is much too large.
type large struct {
	harness.Source
	t *testing.T
}

func (l large) Shape(step int, stage string) ([]int, bool) {
	if step == 1 && stage == "h.0.kept" {
		return []int{2, 1 << 40}, true
	}
	return l.Source.Shape(step, stage)
}

func (l large) Tensor(step int, stage string) (harness.Tensor, error) {
	if step == 1 && stage == "h.0.kept" {
		l.t.Error("the large tensor is read")
	}
	return l.Source.Tensor(step, stage)
}

func TestAddReplay(t *testing.T) {
	m := meter{layers: 2}
	golden := m.run(t, nil)
	r := m.run(t, change(1, "h.0.scaled", func(x *harness.Tensor) { x.F32[0] += 1 }))
	report, err := harness.Compare(golden.Of, golden, r, harness.CompareOptions{Prompt: 3})
	if err != nil {
		t.Fatal(err)
	}
	rows := judge(t, r, m, nil)
	rows[1].Verdict = harness.ReplayUnknown // step_00/h.0.scaled, as if it could not be judged
	report.AddReplay(rows, m.Reads)
	if diff := cmp.Diff([]harness.Introduced{{Step: 1, Stage: "h.0.scaled", Span: []string{"h.0.scaled"}}}, report.Introduced); diff != "" {
		t.Error(diff)
	}
	for place, want := range map[harness.Place]string{
		{Step: 1, Stage: "h.0.scaled"}: harness.OriginIntroduced, {Step: 1, Stage: "h.0.kept"}: harness.OriginInherited, {Step: 1, Stage: "h.1.out"}: harness.OriginInherited,
		{Step: 1, Stage: "embed"}: "", {Step: 0, Stage: "h.0.out"}: "", {Step: 0, Stage: "h.0.scaled"}: harness.OriginUnknown,
	} {
		if got := report.Row(place).Origin; got != want {
			t.Errorf("origin of %s is %q, want %q", place, got, want)
		}
	}
	for _, p := range report.Replayed {
		a := float64(p.Amplification)
		switch p.Place {
		case harness.Place{Step: 1, Stage: "h.0.scaled"}, harness.Place{Step: 0, Stage: "h.0.out"}:
			if !math.IsNaN(a) {
				t.Errorf("%s amplifies by %v what came in without error", p.Place, a)
			}
		case harness.Place{Step: 1, Stage: "h.1.scaled"}:
			if math.Abs(a-1) > 1e-3 {
				t.Errorf("%s amplifies by %v, a product with 3 by 1", p.Place, a)
			}
		}
	}
}

// firstColumns is the first n ids of each row.
func firstColumns(rows [][]int, n int) (first [][]int) {
	for _, row := range rows {
		first = append(first, row[:n])
	}
	return first
}
