package harness

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"checkpoint12/harness/internal/shapes"
)

func TestCompare(t *testing.T) {
	s := mustSchedule(t, "a", "h.9", "h.10", "next_id")
	golden := steps{
		0: {"a": vec(1), "h.9": vec(1), "h.10": vec(1, 2), "next_id": ids(4)},
		1: {"a": vec(2), "h.9": vec(2)},
	}
	for _, c := range []struct {
		reason     string
		candidate  steps
		requireAll bool
		verdict    string
		compared   int
		missing    []Place
		first      *Place
		statuses   map[string]Status // that are not pass
	}{
		{"the golden itself", golden, true, "pass", 6, []Place{}, nil, nil},
		{"a subset passes and is listed", steps{0: {"a": vec(1)}, 1: {"a": vec(2), "h.9": vec(2)}}, false, "pass", 3,
			[]Place{{0, "h.9"}, {0, "h.10"}, {0, "next_id"}}, nil,
			map[string]Status{"step_00/h.9": Missing, "step_00/h.10": Missing, "step_00/next_id": Missing}},
		{"a subset fails where all is required", steps{0: {"a": vec(1)}, 1: {"a": vec(2), "h.9": vec(2)}}, true, "fail", 3,
			[]Place{{0, "h.9"}, {0, "h.10"}, {0, "next_id"}}, nil,
			map[string]Status{"step_00/h.9": Missing, "step_00/h.10": Missing, "step_00/next_id": Missing}},
		{"h.9 comes before h.10", steps{0: {"h.9": vec(0), "h.10": vec(0, 0)}}, false, "fail", 2,
			[]Place{{0, "a"}, {0, "next_id"}, {1, "a"}, {1, "h.9"}}, &Place{0, "h.9"},
			map[string]Status{"step_00/a": Missing, "step_00/h.9": Fail, "step_00/h.10": Fail, "step_00/next_id": Missing, "step_01/a": Missing, "step_01/h.9": Missing}},
		{"a late stage of step 0 comes before an early one of step 1",
			steps{0: {"a": vec(1), "h.9": vec(1), "h.10": vec(1, 2), "next_id": ids(5)}, 1: {"a": vec(0), "h.9": vec(2)}}, false, "fail", 6,
			[]Place{}, &Place{0, "next_id"}, map[string]Status{"step_00/next_id": Fail, "step_01/a": Fail}},
		{"another shape is judged", steps{0: {"a": vec(1), "h.9": vec(1), "h.10": vec(1), "next_id": ids(4, 4)}, 1: {"a": vec(2), "h.9": vec(2)}}, true, "fail", 6,
			[]Place{}, &Place{0, "h.10"}, map[string]Status{"step_00/h.10": Shape, "step_00/next_id": Shape}},
		{"a NaN is a divergence", steps{0: {"a": vec(nan), "h.9": vec(1), "h.10": vec(1, 2), "next_id": ids(4)}, 1: {"a": vec(2), "h.9": vec(2)}}, true, "fail", 6,
			[]Place{}, &Place{0, "a"}, map[string]Status{"step_00/a": Nonfinite}},
	} {
		r, err := Compare(s, source(s, "golden", nil, golden), source(s, "candidate", nil, c.candidate), CompareOptions{RequireAll: c.requireAll})
		if err != nil {
			t.Errorf("%s: %v", c.reason, err)
			continue
		}
		notPass := map[string]Status{}
		for place, status := range statuses(r) {
			if status != Pass {
				notPass[place] = status
			}
		}
		if c.statuses == nil {
			c.statuses = map[string]Status{}
		}
		type summary struct {
			Verdict  string
			Compared int
			Missing  []Place
			First    *Place
			NotPass  map[string]Status
		}
		if diff := cmp.Diff(summary{c.verdict, c.compared, c.missing, c.first, c.statuses},
			summary{r.Verdict, r.Compared, r.Missing, r.FirstDivergence, notPass}); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.reason, diff)
		}
		var places []Place
		for i := range r.Stages {
			places = append(places, r.Stages[i].Place())
		}
		want := []Place{{0, "a"}, {0, "h.9"}, {0, "h.10"}, {0, "next_id"}, {1, "a"}, {1, "h.9"}}
		if !slices.Equal(places, want) {
			t.Errorf("%s: rows %v, want %v", c.reason, places, want)
		}
	}
}

func TestComparingNothingIsNoPass(t *testing.T) {
	s := mustSchedule(t, "a", "b")
	one := steps{0: {"a": vec(1)}}
	tokens := [][]int{{1, 2, 3}}
	for _, c := range []struct {
		reason            string
		golden, candidate Source
	}{
		{"two empty sources", source(s, "g", nil, nil), source(s, "c", nil, nil)},
		{"an empty candidate", source(s, "g", nil, one), source(s, "c", nil, nil)},
		{"an empty golden", source(s, "g", nil, nil), source(s, "c", nil, one)},
		{"no stage in common", source(s, "g", nil, one), source(s, "c", nil, steps{0: {"b": vec(1)}})},
		{"no step in common", source(s, "g", nil, one), source(s, "c", nil, steps{1: {"a": vec(1)}})},
		{"other prompt tokens", source(s, "g", tokens, one), source(s, "c", [][]int{{1, 9, 3}}, one)},
		{"another batch", source(s, "g", tokens, one), source(s, "c", [][]int{{1, 2, 3}, {1, 2, 3}}, one)},
		{"a shorter prompt", source(s, "g", tokens, one), source(s, "c", [][]int{{1}}, one)},
	} {
		r, err := Compare(s, c.golden, c.candidate, CompareOptions{Prompt: 2})
		if !errors.Is(err, ErrNothingCompared) || r != nil {
			t.Errorf("%s: %v, %v", c.reason, r, err)
			continue
		}
		if strings.Contains(err.Error(), "\n") || len(err.Error()) < len("nothing compared: x") {
			t.Errorf("%s: error %q is no clear line", c.reason, err)
		}
	}
	_, err := Compare(s, source(s, "g", nil, one), source(s, "c", nil, one), CompareOptions{
		Match: func(int, string) bool { return false }})
	if !errors.Is(err, ErrNothingCompared) {
		t.Errorf("nothing matched: %v", err)
	}
}

func TestCompareAsksExtraAndCheck(t *testing.T) {
	check := func(ok bool) func(Source, int) (string, bool) {
		return func(Source, int) (string, bool) { return "rows sum to 2", ok }
	}
	for _, c := range []struct {
		reason string
		extra  float64
		check  func(Source, int) (string, bool)
		status Status
		detail string
	}{
		{"neither", 0, nil, Fail, ""},
		{"an extra that covers the difference", 1, nil, Pass, ""},
		{"an extra that does not", 0.1, nil, Fail, ""},
		{"a check that passes", 1, check(true), Pass, "rows sum to 2"},
		{"a check that fails what the comparison passes", 1, check(false), Fail, "rows sum to 2"},
		{"a check does not pass what the comparison fails", 0, check(true), Fail, "rows sum to 2"},
	} {
		s, err := NewSchedule([]Stage{{Name: "a", Tolerance: Tolerance{Abs: 1e-6, Reason: "test"}, Check: c.check,
			Extra: func(g, cand Source, step int) float64 {
				if g.Name() != "g" || cand.Name() != "c" || step != 3 {
					t.Errorf("asked about %s, %s, step %d", g.Name(), cand.Name(), step)
				}
				return c.extra
			}}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := Compare(s, source(s, "g", nil, steps{3: {"a": vec(1)}}), source(s, "c", nil, steps{3: {"a": vec(1.5)}}), CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if row := r.Stages[0]; row.Status != c.status || row.Detail != c.detail || row.Tolerance.Abs != 1e-6+c.extra {
			t.Errorf("%s: %s, %q, abs %v", c.reason, row.Status, row.Detail, row.Tolerance.Abs)
		}
		if (r.Verdict == VerdictPass) != (c.status == Pass) {
			t.Errorf("%s: verdict %s", c.reason, r.Verdict)
		}
	}
}

func TestCompareNotes(t *testing.T) {
	s := mustSchedule(t, "a", "b")
	golden := source(s, "g", [][]int{{1, 2}}, steps{0: {"a": vec(1)}})
	candidate := source(s, "c", [][]int{{1, 2}}, steps{0: {"a": vec(1), "b": vec(1)}, 1: {"a": vec(1)}})
	m := testManifest(1)
	m.Tokens, m.Model.WeightsSHA256 = nil, strings.Repeat("a", 64)
	of := m
	golden.Man = &of
	m.Model.WeightsSHA256, m.Model.Config = strings.Repeat("b", 64), []byte(`{"n_layer": 3}`)
	candidate.Man = &m
	r, err := Compare(s, golden, candidate, CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(r.Notes, "\n")
	for _, want := range []string{"2 of its tensors have no golden", "made from weights bbbbbbbbbbbb", "another config", "n_layer"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes do not say %q:\n%s", want, notes)
		}
	}
}

func TestCompareRefusesARecorderWithErrors(t *testing.T) {
	s := mustSchedule(t, "a")
	bad := NewRecorder(RecorderOptions{Schedule: s, Name: "bad"})
	bad.Step(0)
	bad.Tap("a", []int{1, 1}, []float32{1})
	bad.Tap("nonsense", []int{1}, []float32{1})
	good := source(s, "good", nil, steps{0: {"a": vec(1)}})
	for _, pair := range [][2]Source{{bad, good}, {good, bad}} {
		if _, err := Compare(s, pair[0], pair[1], CompareOptions{}); err == nil || !strings.Contains(err.Error(), "nonsense") {
			t.Errorf("error %v", err)
		}
	}
}

// drawSteps draws tensors of a schedule's stages at some steps.
func drawSteps(t *rapid.T, names []string) steps {
	have := steps{}
	for step := range rapid.IntRange(1, 3).Draw(t, "steps") {
		have[step] = map[string]Tensor{}
		for _, name := range names {
			shape := rapid.SliceOfN(rapid.IntRange(1, 4), 1, 3).Draw(t, "shape")
			n, _ := shapes.Size(shape)
			have[step][name] = Tensor{Shape: shape, F32: rapid.SliceOfN(rapid.Float32Range(-10, 10), n, n).Draw(t, "values")}
		}
	}
	return have
}

// A source agrees with itself; changing one element beyond the bound is found
// at exactly that place and index; the order in which the golden lists its
// stages does not matter, that of the schedule does.
func TestCompareProperties(t *testing.T) {
	names := []string{"h.2", "h.9", "h.10", "a", "z"}
	rapid.Check(t, func(t *rapid.T) {
		order := rapid.Permutation(names).Draw(t, "order")
		s := mustSchedule(t, order...)
		have := drawSteps(t, names)
		golden := source(s, "golden", nil, have)
		r, err := Compare(s, golden, source(s, "candidate", nil, have), CompareOptions{RequireAll: true})
		if err != nil || !r.Passed() || r.FirstDivergence != nil || r.Compared != len(have)*len(names) {
			t.Fatalf("a source against itself: %+v, %v", r, err)
		}

		// Plant faults in some tensors.
		candidate, faults := steps{}, map[Place]int{}
		for step := range len(have) {
			candidate[step] = map[string]Tensor{}
			for _, name := range names {
				x := have[step][name]
				if rapid.IntRange(0, 4).Draw(t, "fault") == 0 {
					at := rapid.IntRange(0, len(x.F32)-1).Draw(t, "at")
					x.F32 = slices.Clone(x.F32)
					x.F32[at] += rapid.SampledFrom([]float32{2e-5, -1, 1e30, nan, pinf}).Draw(t, "by")
					faults[Place{step, name}] = at
				}
				candidate[step][name] = x
			}
		}
		r, err = Compare(s, golden, source(s, "candidate", nil, candidate), CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var first *Place
		for i := range r.Stages {
			row := &r.Stages[i]
			at, planted := faults[row.Place()]
			if planted != row.Status.Diverges() {
				t.Fatalf("%v: %s, planted %v", row.Place(), row.Status, planted)
			}
			if planted && (row.Mismatched != 1 || !slices.Equal(row.Worst.Index, shapes.Index(at, row.Shape))) {
				t.Fatalf("%v: %d mismatched, worst at %v, planted at %v", row.Place(), row.Mismatched, row.Worst.Index, shapes.Index(at, row.Shape))
			}
			p := row.Place()
			if i > 0 {
				before := r.Stages[i-1].Place()
				a, _ := s.Index(before.Stage)
				b, _ := s.Index(p.Stage)
				if before.Step > p.Step || before.Step == p.Step && a >= b {
					t.Fatalf("%v before %v", before, p)
				}
			}
			if planted && first == nil {
				first = &p
			}
		}
		if diff := cmp.Diff(first, r.FirstDivergence); diff != "" {
			t.Fatalf("first divergence: -want +got:\n%s", diff)
		}
		if r.Passed() != (len(faults) == 0) {
			t.Fatalf("verdict %s with %d faults", r.Verdict, len(faults))
		}
	})
}

func TestShare(t *testing.T) {
	for _, c := range []struct {
		row  Row
		want float64
	}{
		{Row{Status: Pass, MaxAbs: 0.5, Bound: 2}, 0.25},
		{Row{Status: Pass, MaxAbs: 0, Bound: 0}, 0},
		{Row{Status: Fail, MaxAbs: 1, Bound: 0}, math.Inf(1)},
		{Row{Status: Shape}, math.Inf(1)},
		{Row{Status: Nonfinite, MaxAbs: Float(math.NaN()), Bound: 1}, math.Inf(1)},
		{Row{Status: Missing}, math.NaN()},
		{Row{Status: Skipped}, math.NaN()},
	} {
		if got := c.row.Share(); got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("%s: share %v, want %v", fmt.Sprint(c.row.Status), got, c.want)
		}
	}
}
