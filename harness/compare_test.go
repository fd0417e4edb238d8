package harness_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/internal/shapes"
)

// Short names for what most tests use.
type tensors = harnesstest.Steps

var vec, ids, source = harnesstest.Vec, harnesstest.Ids, harnesstest.Source

func TestCompare(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a", "h.9", "h.10", "next_id")
	golden := tensors{
		0: {"a": vec(1), "h.9": vec(1), "h.10": vec(1, 2), "next_id": ids(4)},
		1: {"a": vec(2), "h.9": vec(2)},
	}
	for _, c := range []struct {
		reason     string
		candidate  tensors
		requireAll bool
		verdict    string
		compared   int
		missing    []harness.Place
		first      *harness.Place
		statuses   map[string]harness.Status // that are not pass
	}{
		{"the golden itself", golden, true, "pass", 6, []harness.Place{}, nil, nil},
		{"a subset passes and is listed", tensors{0: {"a": vec(1)}, 1: {"a": vec(2), "h.9": vec(2)}}, false, "pass", 3,
			[]harness.Place{{0, "h.9"}, {0, "h.10"}, {0, "next_id"}}, nil,
			map[string]harness.Status{"step_00/h.9": harness.Missing, "step_00/h.10": harness.Missing, "step_00/next_id": harness.Missing}},
		{"a subset fails where all is required", tensors{0: {"a": vec(1)}, 1: {"a": vec(2), "h.9": vec(2)}}, true, "fail", 3,
			[]harness.Place{{0, "h.9"}, {0, "h.10"}, {0, "next_id"}}, nil,
			map[string]harness.Status{"step_00/h.9": harness.Missing, "step_00/h.10": harness.Missing, "step_00/next_id": harness.Missing}},
		{"h.9 comes before h.10", tensors{0: {"h.9": vec(0), "h.10": vec(0, 0)}}, false, "fail", 2,
			[]harness.Place{{0, "a"}, {0, "next_id"}, {1, "a"}, {1, "h.9"}}, &harness.Place{0, "h.9"},
			map[string]harness.Status{
				"step_00/a": harness.Missing, "step_00/h.9": harness.Fail, "step_00/h.10": harness.Fail,
				"step_00/next_id": harness.Missing, "step_01/a": harness.Missing, "step_01/h.9": harness.Missing}},
		{"a late stage of step 0 comes before an early one of step 1",
			tensors{0: {"a": vec(1), "h.9": vec(1), "h.10": vec(1, 2), "next_id": ids(5)}, 1: {"a": vec(0), "h.9": vec(2)}}, false, "fail", 6,
			[]harness.Place{}, &harness.Place{0, "next_id"}, map[string]harness.Status{"step_00/next_id": harness.Fail, "step_01/a": harness.Fail}},
		{"another shape is judged", tensors{0: {"a": vec(1), "h.9": vec(1), "h.10": vec(1), "next_id": ids(4, 4)}, 1: {"a": vec(2), "h.9": vec(2)}}, true, "fail", 6,
			[]harness.Place{}, &harness.Place{0, "h.10"}, map[string]harness.Status{"step_00/h.10": harness.WrongShape, "step_00/next_id": harness.WrongShape}},
		{"a NaN is a divergence", tensors{0: {"a": vec(harnesstest.Nan), "h.9": vec(1), "h.10": vec(1, 2), "next_id": ids(4)}, 1: {"a": vec(2), "h.9": vec(2)}}, true, "fail", 6,
			[]harness.Place{}, &harness.Place{0, "a"}, map[string]harness.Status{"step_00/a": harness.Nonfinite}},
	} {
		r, err := harness.Compare(s, source(s, "golden", nil, golden), source(s, "candidate", nil, c.candidate),
			harness.CompareOptions{RequireAll: c.requireAll})
		if err != nil {
			t.Errorf("%s: %v", c.reason, err)
			continue
		}
		notPass := map[string]harness.Status{}
		for place, status := range harnesstest.Statuses(r) {
			if status != harness.Pass {
				notPass[place] = status
			}
		}
		if c.statuses == nil {
			c.statuses = map[string]harness.Status{}
		}
		missing := []harness.Place{}
		for _, m := range r.Missing {
			missing = append(missing, m.Place)
		}
		type summary struct {
			Verdict  string
			Compared int
			Missing  []harness.Place
			First    *harness.Place
			NotPass  map[string]harness.Status
		}
		if diff := cmp.Diff(summary{c.verdict, c.compared, c.missing, c.first, c.statuses},
			summary{r.Verdict, r.Compared, missing, r.FirstDivergence, notPass}); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.reason, diff)
		}
		var places []harness.Place
		for i := range r.Stages {
			places = append(places, r.Stages[i].Place)
		}
		want := []harness.Place{{0, "a"}, {0, "h.9"}, {0, "h.10"}, {0, "next_id"}, {1, "a"}, {1, "h.9"}}
		if !slices.Equal(places, want) {
			t.Errorf("%s: rows %v, want %v", c.reason, places, want)
		}
	}
}

func TestComparingNothingIsNoPass(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a", "b")
	one := tensors{0: {"a": vec(1)}}
	tokens := [][]int{{1, 2, 3}}
	for _, c := range []struct {
		reason            string
		golden, candidate harness.Source
	}{
		{"two empty sources", source(s, "g", nil, nil), source(s, "c", nil, nil)},
		{"an empty candidate", source(s, "g", nil, one), source(s, "c", nil, nil)},
		{"an empty golden", source(s, "g", nil, nil), source(s, "c", nil, one)},
		{"no stage in common", source(s, "g", nil, one), source(s, "c", nil, tensors{0: {"b": vec(1)}})},
		{"no step in common", source(s, "g", nil, one), source(s, "c", nil, tensors{1: {"a": vec(1)}})},
		{"other prompt tokens", source(s, "g", tokens, one), source(s, "c", [][]int{{1, 9, 3}}, one)},
		{"another batch", source(s, "g", tokens, one), source(s, "c", [][]int{{1, 2, 3}, {1, 2, 3}}, one)},
		{"a shorter prompt", source(s, "g", tokens, one), source(s, "c", [][]int{{1}}, one)},
	} {
		r, err := harness.Compare(s, c.golden, c.candidate, harness.CompareOptions{Prompt: 2})
		if !errors.Is(err, harness.ErrNothingCompared) || r != nil {
			t.Errorf("%s: %v, %v", c.reason, r, err)
			continue
		}
		if strings.Contains(err.Error(), "\n") || len(err.Error()) < len("nothing compared: x") {
			t.Errorf("%s: error %q is no clear line", c.reason, err)
		}
	}
	_, err := harness.Compare(s, source(s, "g", nil, one), source(s, "c", nil, one), harness.CompareOptions{
		Match: func(int, string) bool { return false }})
	if !errors.Is(err, harness.ErrNothingCompared) {
		t.Errorf("nothing matched: %v", err)
	}
}

func TestCompareAsksExtraAndCheck(t *testing.T) {
	check := func(ok bool) func(harness.Source, int) (string, bool) {
		return func(harness.Source, int) (string, bool) { return "rows sum to 2", ok }
	}
	for _, c := range []struct {
		reason string
		extra  float64
		check  func(harness.Source, int) (string, bool)
		status harness.Status
		detail string
	}{
		{"neither", 0, nil, harness.Fail, ""},
		{"an extra that covers the difference", 1, nil, harness.Pass, ""},
		{"an extra that does not", 0.1, nil, harness.Fail, ""},
		{"a check that passes", 1, check(true), harness.Pass, "rows sum to 2"},
		{"a check that fails what the comparison passes", 1, check(false), harness.Fail, "rows sum to 2"},
		{"a check does not pass what the comparison fails", 0, check(true), harness.Fail, "rows sum to 2"},
	} {
		s, err := harness.NewSchedule([]harness.Stage{{Name: "a", Tolerance: harness.Tolerance{Abs: 1e-6, Reason: "test"}, Check: c.check,
			Extra: func(g, cand harness.Source, step int) float64 {
				if g.Name() != "g" || cand.Name() != "c" || step != 3 {
					t.Errorf("asked about %s, %s, step %d", g.Name(), cand.Name(), step)
				}
				return c.extra
			}}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := harness.Compare(s, source(s, "g", nil, tensors{3: {"a": vec(1)}}), source(s, "c", nil, tensors{3: {"a": vec(1.5)}}), harness.CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if row := r.Stages[0]; row.Status != c.status || row.Detail != c.detail || row.Tolerance.Abs != 1e-6+c.extra {
			t.Errorf("%s: %s, %q, abs %v", c.reason, row.Status, row.Detail, row.Tolerance.Abs)
		}
		if (r.Verdict == harness.VerdictPass) != (c.status == harness.Pass) {
			t.Errorf("%s: verdict %s", c.reason, r.Verdict)
		}
	}
}

func TestCompareNotes(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a", "b")
	golden := source(s, "g", [][]int{{1, 2}}, tensors{0: {"a": vec(1)}})
	candidate := source(s, "c", [][]int{{1, 2}}, tensors{0: {"a": vec(1), "b": vec(1)}, 1: {"a": vec(1)}})
	m := harnesstest.TestManifest(1)
	m.Tokens, m.Model.WeightsSHA256 = nil, strings.Repeat("a", 64)
	of := m
	of.Model.Config = []byte(`{"n_head": 1, "vocab_size": 5, "n_layer": 2}`)
	golden.Man = &of
	m.Model.WeightsSHA256, m.Model.Config = strings.Repeat("b", 64), []byte(`{"n_layer": 3, "n_head": 1}`)
	candidate.Man = &m
	r, err := harness.Compare(s, golden, candidate, harness.CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (harness.Unseen{Unmatched: 2}); r.Unseen != want {
		t.Errorf("unseen %+v, want %+v", r.Unseen, want)
	}
	notes := strings.Join(r.Notes, "\n")
	for _, want := range []string{
		"made from weights bbbbbbbbbbbb",
		"c: made with another config: n_layer 3 (golden 2), vocab_size null (golden 5)",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes do not say %q:\n%s", want, notes)
		}
	}
}

func TestCompareRefusesARecorderWithErrors(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a")
	bad := harness.NewRecorder(harness.RecorderOptions{Schedule: s, Name: "bad"})
	bad.Step(0)
	bad.Tap("a", []int{1, 1}, []float32{1})
	bad.Tap("nonsense", []int{1}, []float32{1})
	good := source(s, "good", nil, tensors{0: {"a": vec(1)}})
	for _, pair := range [][2]harness.Source{{bad, good}, {good, bad}} {
		if _, err := harness.Compare(s, pair[0], pair[1], harness.CompareOptions{}); err == nil || !strings.Contains(err.Error(), "nonsense") {
			t.Errorf("error %v", err)
		}
	}
}

// drawSteps draws tensors of a schedule's stages at some steps.
func drawSteps(t *rapid.T, names []string) tensors {
	have := tensors{}
	for step := range rapid.IntRange(1, 3).Draw(t, "steps") {
		have[step] = map[string]harness.Tensor{}
		for _, name := range names {
			shape := rapid.SliceOfN(rapid.IntRange(1, 4), 1, 3).Draw(t, "shape")
			n, _ := shapes.Size(shape)
			have[step][name] = harness.Tensor{Shape: shape, F32: rapid.SliceOfN(rapid.Float32Range(-10, 10), n, n).Draw(t, "values")}
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
		s := harnesstest.MustSchedule(t, order...)
		have := drawSteps(t, names)
		golden := source(s, "golden", nil, have)
		r, err := harness.Compare(s, golden, source(s, "candidate", nil, have), harness.CompareOptions{RequireAll: true})
		if err != nil || !r.Passed() || r.FirstDivergence != nil || r.Compared != len(have)*len(names) {
			t.Fatalf("a source against itself: %+v, %v", r, err)
		}

		// Plant faults in some tensors.
		candidate, faults := tensors{}, map[harness.Place]int{}
		for step := range len(have) {
			candidate[step] = map[string]harness.Tensor{}
			for _, name := range names {
				x := have[step][name]
				if rapid.IntRange(0, 4).Draw(t, "fault") == 0 {
					at := rapid.IntRange(0, len(x.F32)-1).Draw(t, "at")
					x.F32 = slices.Clone(x.F32)
					x.F32[at] += rapid.SampledFrom([]float32{2e-5, -1, 1e30, harnesstest.Nan, harnesstest.Pinf}).Draw(t, "by")
					faults[harness.Place{step, name}] = at
				}
				candidate[step][name] = x
			}
		}
		r, err = harness.Compare(s, golden, source(s, "candidate", nil, candidate), harness.CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var first *harness.Place
		for i := range r.Stages {
			row := &r.Stages[i]
			at, planted := faults[row.Place]
			if planted != row.Status.Diverges() {
				t.Fatalf("%v: %s, planted %v", row.Place, row.Status, planted)
			}
			if planted && (row.Mismatched != 1 || !slices.Equal(row.Worst.Index, shapes.Index(at, row.Shape))) {
				t.Fatalf("%v: %d mismatched, worst at %v, planted at %v", row.Place, row.Mismatched, row.Worst.Index, shapes.Index(at, row.Shape))
			}
			p := row.Place
			if i > 0 {
				before := r.Stages[i-1].Place
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
		row  harness.Row
		want float64
	}{
		{harness.Row{Status: harness.Pass, MaxAbs: 0.5, Tolerance: harness.Tolerance{Abs: 1, Rel: 0.5}, Scale: 2}, 0.25},
		{harness.Row{Status: harness.Pass, MaxAbs: 0}, 0},
		{harness.Row{Status: harness.Fail, MaxAbs: 1}, math.Inf(1)},
		{harness.Row{Status: harness.WrongShape}, math.Inf(1)},
		{harness.Row{Status: harness.Nonfinite, MaxAbs: harness.Float(math.NaN())}, math.Inf(1)},
		{harness.Row{Status: harness.Missing}, math.NaN()},
		{harness.Row{Status: harness.Skipped}, math.NaN()},
	} {
		if got := c.row.Share(); got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("%s: share %v, want %v", fmt.Sprint(c.row.Status), got, c.want)
		}
	}
}

// sparse is a source of one stage of zeros, too large to be held, that only part of
// can be read.
type sparse struct {
	*harnesstest.Memory
	t     *testing.T
	shape []int
	at    int // of a 1
}

func (s sparse) Steps() []int                            { return []int{0} }
func (s sparse) Stages(int) []string                     { return []string{"a"} }
func (s sparse) Shape(int, string) ([]int, bool)         { return s.shape, true }
func (s sparse) Open(int, string) (harness.Parts, error) { return s, nil }
func (s sparse) Close() error                            { return nil }
func (s sparse) Tensor(int, string) (harness.Tensor, error) {
	s.t.Error("read whole")
	return harness.Tensor{}, nil
}

func (s sparse) Part(i, n int, mem *harness.Tensor) (harness.Tensor, error) {
	if n > 1<<16 {
		s.t.Fatalf("%d elements are read at once", n)
	}
	mem.F32 = make([]float32, n)
	if i <= s.at && s.at < i+n {
		mem.F32[s.at-i] = 1
	}
	return *mem, nil
}

func TestCompareReadsTensorsInParts(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a")
	run := func(shape []int, at int) sparse {
		return sparse{source(s, "sparse", nil, nil), t, shape, at}
	}
	shape := []int{1000, 5001}
	for _, c := range []struct {
		reason string
		got    sparse
		status harness.Status
		worst  []int
	}{
		{"the same", run(shape, 7), harness.Pass, []int{0, 0}},
		{"other at two places", run(shape, 5_000_999), harness.Fail, []int{0, 7}},
		{"another shape, of which nothing is read", run([]int{1 << 20, 1 << 20}, 0), harness.WrongShape, nil},
	} {
		r, err := harness.Compare(s, run(shape, 7), c.got, harness.CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		row := r.Stages[0]
		if row.Status != c.status || row.Worst != nil && !slices.Equal(row.Worst.Index, c.worst) || c.status == harness.Fail && row.Mismatched != 2 {
			t.Errorf("%s: %v, worst %+v", c.reason, &row, row.Worst)
		}
	}
}
