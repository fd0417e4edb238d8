package harness_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
)

func TestCompareTensor(t *testing.T) {
	f32 := func(v ...float32) []float32 { return v }
	for _, c := range []struct {
		reason     string
		abs, rel   float64
		want, got  []float32
		status     harness.Status
		mismatched int
		maxAbs     float64
		worst      int
	}{
		{"equal", 0, 0, f32(1, 2), f32(1, 2), harness.Pass, 0, 0, 0},
		{"at the bound passes", 0.5, 0, f32(1, 2), f32(1, 2.5), harness.Pass, 0, 0.5, 1},
		{"beyond the bound fails", 0.5, 0, f32(1, 2), f32(1, 2.5000002), harness.Fail, 1, 2.5000002384185791 - 2, 1},
		{"the relative part is of the tensor's maximum, not of the element", 0, 0.1, f32(0, 10), f32(1, 10), harness.Pass, 0, 1, 0},
		{"the maximum is of the golden, not of the candidate", 0, 0.1, f32(0, 1), f32(0, 100), harness.Fail, 1, 99, 1},
		{"the maximum leaves infinities out", 0, 0.1, f32(harnesstest.Pinf, 1), f32(harnesstest.Pinf, 1.2), harness.Fail, 1, float64(float32(1.2)) - 1, 1},
		{"the first of equal worst places", 0, 0, f32(0, 0, 0), f32(0, 1, -1), harness.Fail, 2, 1, 1},
		{"a zero of the other sign is equal", 0, 0, f32(0), f32(float32(math.Copysign(0, -1))), harness.Pass, 0, 0, 0},
		{"the same infinity passes and differs by 0", 0, 0, f32(harnesstest.Ninf, 1), f32(harnesstest.Ninf, 1), harness.Pass, 0, 0, 0},
		{"infinities alone", 0, 0, f32(harnesstest.Ninf, harnesstest.Pinf), f32(harnesstest.Ninf, harnesstest.Pinf), harness.Pass, 0, 0, 0},
		{"the other infinity is not finite", 1, 0, f32(1, harnesstest.Ninf), f32(1, harnesstest.Pinf), harness.Nonfinite, 1, math.Inf(1), 1},
		{"an infinity the golden has not", 1, 0, f32(9, 1), f32(0, harnesstest.Pinf), harness.Nonfinite, 2, math.Inf(1), 1},
		{"a finite value for the golden's infinity is outside the bound", 1, 0, f32(1, harnesstest.Ninf), f32(1, -1e9), harness.Fail, 1, math.Inf(1), 1},
		{"a NaN", math.MaxFloat64, 0, f32(1, 2), f32(harnesstest.Nan, 2), harness.Nonfinite, 1, math.NaN(), 0},
		{"a NaN does not match a NaN", math.MaxFloat64, 0, f32(harnesstest.Nan), f32(harnesstest.Nan), harness.Nonfinite, 1, math.NaN(), 0},
		{"a NaN of the golden", math.MaxFloat64, 0, f32(harnesstest.Nan, 1), f32(1, 1), harness.Nonfinite, 1, math.NaN(), 0},
		{"a NaN for an infinity", math.MaxFloat64, 0, f32(harnesstest.Ninf), f32(harnesstest.Nan), harness.Nonfinite, 1, math.NaN(), 0},
		{"the first odd place is worst, however large the others", 1, 0, f32(0, 0, 0), f32(1e30, harnesstest.Pinf, harnesstest.Nan), harness.Nonfinite, 3, math.Inf(1), 1},
		{"differences beyond float32", 0, 0, f32(math.MaxFloat32), f32(-math.MaxFloat32), harness.Fail, 1, 2 * math.MaxFloat32, 0},
	} {
		st := harness.Stage{Name: "x", Tolerance: harness.Tolerance{Abs: c.abs, Rel: c.rel, Reason: "test"}}
		row, err := harness.CompareTensor(st, vec(c.want...), vec(c.got...), 0)
		if err != nil {
			t.Errorf("%s: %v", c.reason, err)
			continue
		}
		if row.Status != c.status || row.Mismatched != c.mismatched || row.Elements != len(c.want) {
			t.Errorf("%s: status %s, %d/%d mismatched; want %s, %d/%d", c.reason, row.Status, row.Mismatched, row.Elements, c.status, c.mismatched, len(c.want))
		}
		if d := float64(row.MaxAbs); d != c.maxAbs && !(math.IsNaN(d) && math.IsNaN(c.maxAbs)) {
			t.Errorf("%s: max_abs %v, want %v", c.reason, d, c.maxAbs)
		}
		if !slices.Equal(row.Worst.Index, []int{0, c.worst}) {
			t.Errorf("%s: worst at %v, want %d", c.reason, row.Worst.Index, c.worst)
		}
	}
}

func TestCompareTensorMeasures(t *testing.T) {
	st := harness.Stage{Name: "x", Tolerance: harness.Tolerance{Abs: 1, Reason: "test"}}
	row, err := harness.CompareTensor(st, vec(3, harnesstest.Ninf, 4, 0), vec(4, harnesstest.Ninf, 3, harnesstest.Pinf), 0.25)
	if err != nil {
		t.Fatal(err)
	}
	// Finite in both: (3, 4) against (4, 3).
	if got := float64(row.RMS); math.Abs(got-1) > 1e-15 {
		t.Errorf("rms %v, want 1", got)
	}
	if got := float64(row.Cosine); math.Abs(got-24.0/25) > 1e-15 {
		t.Errorf("cosine %v, want 0.96", got)
	}
	if row.Scale != 4 || row.Tolerance.At(row.Scale) != 1.25 || row.Tolerance.Abs != 1.25 {
		t.Errorf("scale %v, tolerance %+v, want 4 and an abs of 1.25", row.Scale, row.Tolerance)
	}
	if !math.IsInf(float64(row.MaxRel), 1) {
		t.Errorf("max_rel %v, want +Inf", row.MaxRel)
	}
	for _, c := range []struct {
		reason      string
		want, got   []float32
		rms, cosine float64
	}{
		{"both zero point the same way", []float32{0, 0}, []float32{0, 0}, 0, 1},
		{"one zero points nowhere", []float32{0, 0}, []float32{1, 1}, 1, 0},
		{"equal is 1 to the last bit", []float32{0.1, 0.7, 1e-3}, []float32{0.1, 0.7, 1e-3}, 0, 1},
		{"no place finite in both", []float32{harnesstest.Ninf}, []float32{1}, math.NaN(), math.NaN()},
	} {
		row, err := harness.CompareTensor(st, vec(c.want...), vec(c.got...), 0)
		if err != nil {
			t.Fatal(err)
		}
		if r := float64(row.RMS); r != c.rms && !(math.IsNaN(r) && math.IsNaN(c.rms)) {
			t.Errorf("%s: rms %v, want %v", c.reason, r, c.rms)
		}
		if r := float64(row.Cosine); r != c.cosine && !(math.IsNaN(r) && math.IsNaN(c.cosine)) {
			t.Errorf("%s: cosine %v, want %v", c.reason, r, c.cosine)
		}
	}
}

func TestCompareTensorIDs(t *testing.T) {
	st := harness.Stage{Name: "x", IDs: true}
	row, err := harness.CompareTensor(st, ids(1, 1<<53), ids(1, 1<<53+1), 0)
	if err != nil {
		t.Fatal(err)
	}
	if row.Status != harness.Fail || row.Mismatched != 1 || row.MaxAbs != 1 || !slices.Equal(row.Worst.Index, []int{1}) {
		t.Errorf("two ids that are one float64: %+v", row)
	}
	if row, err = harness.CompareTensor(st, ids(5, 6), ids(5, 6), 0); err != nil || row.Status != harness.Pass {
		t.Errorf("equal ids: %+v, %v", row, err)
	}
}

func TestCompareTensorRefuses(t *testing.T) {
	values := harness.Stage{Name: "x", Tolerance: harness.Tolerance{Abs: 1, Reason: "test"}}
	for _, c := range []struct {
		reason    string
		st        harness.Stage
		want, got harness.Tensor
		text      string
	}{
		{"an empty golden", values, harness.Tensor{Shape: []int{0}, F32: []float32{}}, harness.Tensor{Shape: []int{0}, F32: []float32{}}, "nothing to compare with"},
		{"a golden that is not its shape", values, harness.Tensor{Shape: []int{3}, F32: []float32{1}}, vec(1), "golden: shape [3] needs 3"},
		{"a candidate that is not its shape", values, vec(1), harness.Tensor{Shape: []int{3}, F32: []float32{1}}, "candidate: shape [3] needs 3"},
		{"no golden", values, harness.Tensor{}, vec(1), "golden: no tensor"},
		{"ids for values", values, harness.Tensor{Shape: []int{1}, F32: []float32{1}}, ids(1), "candidate is int64"},
		{"values for ids", harness.Stage{Name: "x", IDs: true}, ids(1), harness.Tensor{Shape: []int{1}, F32: []float32{1}}, "candidate is float32"},
		{"a golden of values for ids", harness.Stage{Name: "x", IDs: true}, vec(1), ids(1), "golden is float32"},
	} {
		if _, err := harness.CompareTensor(c.st, c.want, c.got, 0); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: error %v, want %q", c.reason, err, c.text)
		}
	}
	row, err := harness.CompareTensor(values, vec(1, 2), harness.Tensor{Shape: []int{2, 1}, F32: []float32{1, 2}}, 0)
	if err != nil || row.Status != harness.WrongShape || row.Worst != nil || row.Elements != 0 || !math.IsNaN(float64(row.MaxAbs)) {
		t.Errorf("another shape: %+v, %v", row, err)
	}
}

func TestExtraOnlyWidens(t *testing.T) {
	st := harness.Stage{Name: "x", Tolerance: harness.Tolerance{Abs: 1, Reason: "test"}}
	for _, extra := range []float64{0, -5, math.NaN(), math.Inf(1), math.Inf(-1)} {
		if row, err := harness.CompareTensor(st, vec(0), vec(1.5), extra); err != nil || row.Status != harness.Fail {
			t.Errorf("extra %v: %s, %v", extra, row.Status, err)
		}
	}
	if row, err := harness.CompareTensor(st, vec(0), vec(1.5), 0.5); err != nil || row.Status != harness.Pass {
		t.Errorf("extra 0.5: %s, %v", row.Status, err)
	}
}

func TestDoubt(t *testing.T) {
	st := harness.Stage{Name: "x", Tolerance: harness.Tolerance{Abs: 1e-5, Rel: 4e-6, Reason: "test"}}
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		reason    string
		want, got []float32
		doubt     string
	}{
		{"zeros for values below the tolerance", []float32{1e-6, -2e-6, 3e-6}, []float32{0, 0, 0}, "every value is 0, where the golden's differ"},
		{"one number for values that are nearly one", []float32{1, 1.000001}, []float32{1, 1}, "every value is 1, where"},
		{"a constant golden", []float32{0, 0, 0}, []float32{0, 0, 0}, ""},
		{"an outlier that both have", []float32{3e38, 1, 2, 3}, []float32{3e38, -500, 7, 1e9}, "one value, 3e+38, is so large"},
		{"an outlier of GPT-2's", []float32{3000, 1, -2, 0.5}, []float32{3000, 1, -2, 0.5}, ""},
		{"a failure", []float32{1, 2}, []float32{0, 0}, ""},
		{"one value", []float32{2}, []float32{2}, ""},
		{"one value below the tolerance", []float32{2e-6}, []float32{2e-6}, "the golden's values differ by no more than 0"},
		{"a tolerance as wide as the golden", []float32{1, 1.000001}, []float32{1.000001, 1}, "the golden's values differ by no more than 9.54e-07"},
		{"infinities alone", []float32{inf, inf}, []float32{inf, inf}, "every value is +Inf in both"},
		{"an infinity among values", []float32{-inf, 1, 2}, []float32{-inf, 1, 2}, ""},
	} {
		row, err := harness.CompareTensor(st, vec(c.want...), vec(c.got...), 0)
		if err != nil || !strings.Contains(row.Doubt, c.doubt) || (row.Doubt == "") != (c.doubt == "") {
			t.Errorf("%s: doubt %q, want %q; %v", c.reason, row.Doubt, c.doubt, err)
		}
	}
	s := harness.MustSchedule(st)
	of := func(name string, x []float32) harness.Source {
		return source(s, name, nil, tensors{0: {"x": vec(x...)}})
	}
	r, err := harness.Compare(s, of("golden", []float32{1e-6, 2e-6}), of("candidate", []float32{0, 0}), harness.CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "candidate: in doubt though within tolerance: 1 tensor, first step_00/x: every value is 0") {
		t.Errorf("notes %q", notes)
	}
}

// odd values, and tensors longer than a block, against a loop that does one
// thing at a time.
func TestCompareTensorIsItsDefinition(t *testing.T) {
	value := rapid.OneOf(
		rapid.Float32Range(-2, 2), rapid.Float32Range(-2, 2),
		rapid.SampledFrom([]float32{0, 1, -1, harnesstest.Pinf, harnesstest.Ninf, harnesstest.Nan, math.MaxFloat32, 1e-45}),
	)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "n")
		want := rapid.SliceOfN(value, n, n).Draw(t, "want")
		got := slices.Clone(want)
		for range rapid.IntRange(0, 5).Draw(t, "changes") {
			got[rapid.IntRange(0, n-1).Draw(t, "at")] = value.Draw(t, "value")
		}
		// Whole blocks of equal numbers between them change no maximum.
		pad := rapid.SampledFrom([]int{0, 4093, 8192}).Draw(t, "pad")
		want, got = append(make([]float32, pad), want...), append(make([]float32, pad), got...)
		st := harness.Stage{Name: "x", Tolerance: harness.Tolerance{
			Abs: rapid.Float64Range(0, 1).Draw(t, "abs"), Rel: rapid.Float64Range(0, 0.5).Draw(t, "rel"), Reason: "test"}}
		row, err := harness.CompareTensor(st, vec(want...), vec(got...), 0)
		if err != nil {
			t.Fatal(err)
		}

		finite := func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
		scale := 0.0
		for _, w := range want {
			if finite(float64(w)) {
				scale = math.Max(scale, math.Abs(float64(w)))
			}
		}
		bound := st.Tolerance.Abs + st.Tolerance.Rel*scale
		mismatched, worst, worstViolation, alien := 0, 0, -1.0, false
		for i := range want {
			w, g := float64(want[i]), float64(got[i])
			violation := math.Abs(g - w)
			if w == g {
				violation = 0
			}
			if math.IsNaN(violation) {
				violation = math.Inf(1)
			}
			if !(violation <= bound) {
				mismatched++
			}
			if violation > worstViolation {
				worst, worstViolation = i, violation
			}
			alien = alien || math.IsNaN(w) || math.IsNaN(g) || math.IsInf(g, 0) && g != w
		}
		status := harness.Pass
		if alien {
			status = harness.Nonfinite
		} else if mismatched > 0 {
			status = harness.Fail
		}
		if row.Status != status || row.Mismatched != mismatched || row.Worst.Index[1] != worst || row.Tolerance.At(row.Scale) != bound {
			t.Fatalf("status %s, mismatched %d, worst %d, bound %v; want %s, %d, %d, %v",
				row.Status, row.Mismatched, row.Worst.Index[1], row.Tolerance.At(row.Scale), status, mismatched, worst, bound)
		}
	})
}

func TestBetween(t *testing.T) {
	nan := float32(math.NaN())
	d := harness.Between([]float32{1, 2.5, nan, 4, 5.25}, []float32{1, 2, nan, nan, 5}, []float32{0, 1, 1, 1, 0.125})
	if d.SqDiff != 0.25+0.0625 || d.Nonfinite != 1 || d.Wrong != 2 || d.Judged != 4 || d.N != 5 || d.At != 3 {
		t.Errorf("got %+v", d)
	}
	if d := harness.Between([]float32{2}, []float32{1}, nil); !math.IsInf(d.Share, 1) || d.Wrong != 1 {
		t.Errorf("without a bound: got %+v, want an infinite share", d)
	}
	if d := harness.Between([]float32{4, 8}, []float32{5, 9}, []float32{4, 2}); d.Share != 0.5 || d.At != 1 || d.Wrong != 0 {
		t.Errorf("within their bounds: got %+v, want the second at half of its bound", d)
	}
}

// Blocks in which all is finite are measured as elements one by one are, which an element that
// nothing can be said of makes of its block.
func TestBetweenOneByOne(t *testing.T) {
	inf := float32(math.Inf(1))
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var want, got, bound []float32
		for range rng.IntN(20) {
			w := float32(rng.IntN(9) - 4)
			want, got, bound = append(want, w), append(got, w+float32(rng.IntN(3))/4), append(bound, float32(rng.IntN(3))/4)
			if rng.IntN(4) == 0 { // as at a masked place
				want, got, bound = append(want, -inf), append(got, -inf), append(bound, 0)
			}
		}
		fast := harness.Between(want, got, bound)
		var slow [3][]float32
		for i, w := range want {
			for k, v := range []float32{w, got[i], bound[i]} {
				slow[k] = append(slow[k], v)
			}
			if w != -inf {
				for k, v := range []float32{0, 0, float32(math.NaN())} {
					slow[k] = append(slow[k], v)
				}
			}
		}
		one := harness.Between(slow[0], slow[1], slow[2])
		one.N = fast.N
		if fast.At >= 0 && one.At >= 0 {
			one.At = fast.At // elsewhere among more elements
		}
		if fast != one {
			t.Fatalf("%v, %v, %v: %+v, one by one %+v", want, got, bound, fast, one)
		}
	}
}
