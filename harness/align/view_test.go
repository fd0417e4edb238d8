package align

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/internal/shapes"

	"pgregory.net/rapid"
)

func TestParseLayout(t *testing.T) {
	for _, tt := range []struct {
		text, atoms string // no atoms: refused
		reason      string
	}{
		{"B H T D", "B H T D", "letters"},
		{"B T (3 H D)", "B T 3 H D", "a group with a number"},
		{" B  T(H D) ", "B T H D", "spaces are free"},
		{"T1 Tk", "T1 Tk", "a letter is a word"},
		{"", "", "no axes"},
		{"B ()", "", "an empty group"},
		{"B (H (D))", "", "a group in a group"},
		{"B (H D", "", "not closed"},
		{"B H) D", "", "not opened"},
		{"B T B", "", "an axis twice"},
		{"b t", "", "letters are capitals"},
		{"B 0", "", "an axis of no length"},
		{"A B C D E F G H I J K L M N O P Q", "", "more than numpy has"},
	} {
		l, err := parseLayout(tt.text)
		if (err == nil) != (tt.atoms != "") {
			t.Errorf("%q (%s): %v", tt.text, tt.reason, err)
		}
		if got := strings.Join(l.axes(), " "); err == nil && got != tt.atoms {
			t.Errorf("%q (%s): atoms %q, want %q", tt.text, tt.reason, got, tt.atoms)
		}
	}
}

// headed is a schedule of q with its layouts, and of x, the stream.
func headed(t harnesstest.Tester) *harness.Schedule {
	t.Helper()
	bound := harness.Tolerance{Abs: 1e-5, Reason: "test"}
	s, err := harness.NewSchedule([]harness.Stage{
		{Name: "x", Tolerance: bound, Axes: "B T (H D)", Layouts: []string{"T B (H D)", "B T H D"}},
		{Name: "h.0.q", Tolerance: bound, Axes: "B H T D", Layouts: []string{"B T H D", "B T (H D)", "B H D T"}},
		{Name: "h.1.q", Tolerance: bound, Axes: "B H T D", Layouts: []string{"B T H D", "B T (H D)", "B H D T"}},
		{Name: "two", Tolerance: bound, Axes: "B H T D", Layouts: []string{"B T (H D)", "B (H D) T"}},
		{Name: "pos", Tolerance: bound, Axes: "T C", Layouts: []string{"B T C"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func random(seed uint64, shape ...int) harness.Tensor {
	rng := rand.New(rand.NewPCG(seed, 1))
	n, _ := shapes.Size(shape)
	x := harness.Tensor{Shape: shape, F32: make([]float32, n)}
	for i := range x.F32 {
		x.F32[i] = float32(rng.NormFloat64())
	}
	return x
}

// Whatever the sizes, a tensor put into another layout is either given back as
// it was, with a note, or left as it is, without one that claims otherwise.
func TestViewReadsOtherLayouts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := headed(t)
		sizes := Sizes{
			"B": rapid.IntRange(1, 3).Draw(t, "B"), "T": rapid.IntRange(1, 5).Draw(t, "T"),
			"H": rapid.IntRange(1, 4).Draw(t, "H"), "D": rapid.IntRange(1, 5).Draw(t, "D"),
		}
		st, _ := s.Stage("h.0.q")
		shape := harnesstest.Dimensions(st.Axes, sizes)
		q0, q1 := random(1, shape...), random(2, shape...)
		other := rapid.SampledFrom(append(st.Layouts, "(B H) T D", "(B T) H D", st.Axes)).Draw(t, "layout")
		c0, c1 := harnesstest.Arrange(q0, st.Axes, other, sizes), harnesstest.Arrange(q1, st.Axes, other, sizes)
		if sizes["B"] == 1 && rapid.Bool().Draw(t, "no batch axis") && c0.Shape[0] == 1 {
			c0.Shape, c1.Shape = c0.Shape[1:], c1.Shape[1:]
		}
		x := harnesstest.Dimensions("B T (H D)", sizes)
		golden := harnesstest.Source(s, "golden", nil, harnesstest.Steps{0: {"x": random(3, x...), "h.0.q": q0, "h.1.q": q1}})
		candidate := harnesstest.Source(s, "candidate", nil, harnesstest.Steps{0: {"h.0.q": c0, "h.1.q": c1}})
		v, err := NewView(s, candidate, ViewOptions{Golden: golden, Batch: "B"})
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]harness.Tensor{"h.0.q": q0, "h.1.q": q1} {
			got, err := v.Tensor(0, name)
			if err != nil {
				t.Fatal(err)
			}
			if shape, _ := v.Shape(0, name); !slices.Equal(shape, got.Shape) {
				t.Fatalf("%s: Shape says %v, the tensor %v", name, shape, got.Shape)
			}
			if !harnesstest.SameTensor(got, want) {
				t.Fatalf("%s in layout %s of sizes %v: got %v of shape %v, want %v; notes %q", name, other, sizes, got.F32, got.Shape, want.F32, v.Notes())
			}
		}
		as := !slices.Equal(c0.Shape, q0.Shape) || !slices.Equal(c0.F32, q0.F32)
		if n := len(v.Notes()); n > 1 || (n == 1) != as {
			t.Fatalf("layout %s of sizes %v, shape %v: notes %q", other, sizes, c0.Shape, v.Notes())
		}
	})
}

func TestViewChooses(t *testing.T) {
	sizes := Sizes{"B": 1, "H": 3, "D": 4, "C": 5}
	at := func(n int) Sizes {
		s := Sizes{"T": n}
		for a, v := range sizes {
			s[a] = v
		}
		return s
	}
	turn := func(x harness.Tensor, other string, T int) harness.Tensor {
		return harnesstest.Arrange(x, "B H T D", other, at(T))
	}
	square, wide, one := random(1, 1, 3, 3, 4), random(2, 1, 3, 2, 4), random(3, 1, 3, 1, 4)
	pos := random(4, 2, 5)
	twice := harness.Tensor{Shape: []int{2, 2, 5}, F32: append(slices.Clone(pos.F32), pos.F32...)}
	unlike := harness.Tensor{Shape: []int{2, 2, 5}, F32: append(slices.Clone(pos.F32), random(9, 2, 5).F32...)}
	for _, tt := range []struct {
		name         string
		golden, have harnesstest.Steps
		batch        int
		want         map[string][]float32 // of step 0
		note         string               // a part of the only one; "" for none
	}{
		{"heads as many as positions: the values decide",
			harnesstest.Steps{0: {"h.0.q": square}}, harnesstest.Steps{0: {"h.0.q": turn(square, "B T H D", 3)}}, 1,
			map[string][]float32{"h.0.q": square.F32}, "axes B T H D put into the order B H T D"},
		{"the values agree as they are",
			harnesstest.Steps{0: {"h.0.q": square}}, harnesstest.Steps{0: {"h.0.q": square}}, 1,
			map[string][]float32{"h.0.q": square.F32}, ""},
		{"no layout agrees: as it is, and the comparison judges",
			harnesstest.Steps{0: {"h.0.q": random(7, 1, 3, 3, 4)}}, harnesstest.Steps{0: {"h.0.q": square}}, 1,
			map[string][]float32{"h.0.q": square.F32}, ""},
		{"one tensor agrees by one layout, another by another: a fault, not a layout",
			harnesstest.Steps{0: {"h.0.q": square, "h.1.q": random(8, 1, 3, 3, 4)}},
			harnesstest.Steps{0: {"h.0.q": turn(square, "B T H D", 3), "h.1.q": random(8, 1, 3, 3, 4)}}, 1,
			map[string][]float32{"h.0.q": turn(square, "B T H D", 3).F32}, ""},
		{"another step's shape decides where the values are wrong",
			harnesstest.Steps{0: {"h.0.q": random(7, 1, 3, 3, 4)}, 1: {"h.0.q": one}},
			harnesstest.Steps{0: {"h.0.q": turn(square, "B T H D", 3)}, 1: {"h.0.q": turn(one, "B T H D", 1)}}, 1,
			map[string][]float32{"h.0.q": square.F32}, "axes B T H D"},
		{"a wrong order in a shape that is right is a fault",
			harnesstest.Steps{0: {"h.0.q": wide}}, harnesstest.Steps{0: {"h.0.q": {Shape: wide.Shape, F32: turn(wide, "B T H D", 2).F32}}}, 1,
			map[string][]float32{"h.0.q": turn(wide, "B T H D", 2).F32}, ""},
		{"a shape of no layout is left to be judged",
			harnesstest.Steps{0: {"h.0.q": wide, "h.1.q": wide}},
			harnesstest.Steps{0: {"h.0.q": {Shape: []int{1, 2, 2, 4}, F32: make([]float32, 16)}, "h.1.q": turn(wide, "B T H D", 2)}}, 1,
			map[string][]float32{"h.0.q": make([]float32, 16), "h.1.q": wide.F32}, "h.*.q (1 tensor): axes B T H D"},
		{"two layers of two layouts: none",
			harnesstest.Steps{0: {"h.0.q": wide, "h.1.q": wide}}, harnesstest.Steps{0: {"h.0.q": wide, "h.1.q": turn(wide, "B T H D", 2)}}, 1,
			map[string][]float32{"h.0.q": wide.F32, "h.1.q": turn(wide, "B T H D", 2).F32}, ""},
		{"merged heads in which positions are as many as heads",
			harnesstest.Steps{0: {"h.0.q": square}}, harnesstest.Steps{0: {"h.0.q": turn(square, "B T (H D)", 3)}}, 1,
			map[string][]float32{"h.0.q": square.F32}, "axes B T (H D) put"},
		{"one for each row of the batch, all alike",
			harnesstest.Steps{0: {"pos": pos}}, harnesstest.Steps{0: {"pos": twice}}, 2,
			map[string][]float32{"pos": pos.F32}, "axes B T C put"},
		{"one for each row of the batch, not alike",
			harnesstest.Steps{0: {"pos": pos}}, harnesstest.Steps{0: {"pos": unlike}}, 2,
			map[string][]float32{"pos": unlike.F32}, ""},
		{"two layouts, neither the schedule's, and no golden that tells",
			harnesstest.Steps{}, harnesstest.Steps{0: {"x": random(5, 1, 12, 12), "two": random(6, 1, 12, 12)}}, 1,
			map[string][]float32{"two": random(6, 1, 12, 12).F32}, "B T (H D) or B (H D) T, and the values do not decide"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := headed(t)
			sizes["B"] = tt.batch
			v, err := NewView(s, harnesstest.Source(s, "candidate", nil, tt.have), ViewOptions{
				Golden: harnesstest.Source(s, "golden", nil, tt.golden), Batch: "B",
				Sizes: func(int) Sizes { return sizes },
			})
			if err != nil {
				t.Fatal(err)
			}
			for stage, want := range tt.want {
				if got, err := v.Tensor(0, stage); err != nil || !slices.Equal(got.F32, want) {
					t.Errorf("%s: %v of shape %v, %v\nwant %v\nnotes %q", stage, got.F32, got.Shape, err, want, v.Notes())
				}
			}
			notes := v.Notes()
			if tt.note == "" && len(notes) > 0 || tt.note != "" && (len(notes) != 1 || !strings.Contains(notes[0], tt.note)) {
				t.Errorf("notes %q, want one with %q", notes, tt.note)
			}
		})
	}
}

func TestViewRefusesLayouts(t *testing.T) {
	for _, st := range []harness.Stage{
		{Axes: "B (T"}, {Axes: "B T", Layouts: []string{"T b"}}, {Layouts: []string{"B T"}},
	} {
		st.Name, st.Tolerance = "x", harness.Tolerance{Reason: "test"}
		s, err := harness.NewSchedule([]harness.Stage{st})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewView(s, harnesstest.Source(s, "candidate", nil, nil), ViewOptions{}); err == nil {
			t.Errorf("axes %q, layouts %q: taken", st.Axes, st.Layouts)
		}
	}
}
