package diagnose

import (
	"context"
	"flag"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/replay"
	"checkpoint12/model/modeltest"
)

// Each draw is a whole comparison: few here, -rapid.checks says how many, as .ci/run does.
func init() { flag.Set("rapid.checks", "12") }

// What a foreign dump may do to a cache is judged, and blames nobody else.
func TestDiagnoseJudgesShapes(t *testing.T) {
	m := gpt2test.Tiny(t)
	g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	for _, tt := range []struct {
		name   string
		stage  string
		step   int
		change func(harness.Tensor) harness.Tensor
	}{
		{"cache of all positions there are", "h.1.attn.cache_k", 2, func(x harness.Tensor) harness.Tensor {
			return resize(x, m.Config().Positions)
		}},
		{"cache of one position too few", "h.0.attn.cache_v", 1, func(x harness.Tensor) harness.Tensor {
			return resize(x, x.Shape[2]-1)
		}},
		{"flat", "h.2.mlp.act", 0, func(x harness.Tensor) harness.Tensor {
			return harness.Tensor{Shape: []int{len(x.F32)}, F32: x.F32}
		}},
		{"one row", "h.0.attn.c_attn", 0, func(x harness.Tensor) harness.Tensor {
			n := x.Shape[2]
			return harness.Tensor{Shape: []int{1, 1, n}, F32: x.F32[:n]}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := faulty(t, m, g, true)
			x, err := c.Tensor(tt.step, tt.stage)
			if err != nil {
				t.Fatal(err)
			}
			r := diagnosed(t, m, g, &withStage{c, harness.Place{Step: tt.step, Stage: tt.stage}, tt.change(x)})
			want := []harness.Place{{Step: tt.step, Stage: tt.stage}}
			if diff := cmp.Diff(want, placesOf(t, r)); diff != "" {
				t.Errorf("introduced (-want +got):\n%s", diff)
			}
			if row := r.Row(want[0]); row.Status != harness.WrongShape || row.Origin != harness.OriginIntroduced {
				t.Errorf("its row is %s, %s", row.Status, row.Origin)
			}
		})
	}
}

// long is a run without a manifest of which some tensors are longer.
type long struct {
	harness.Source
	keeps  func(at harness.Place) bool
	change func(at harness.Place, x harness.Tensor) harness.Tensor
}

func (long) Manifest() *harness.Manifest { return nil }
func (long) Cut() harness.Cut            { return nil }

func (l long) Stages(step int) []string {
	return slices.DeleteFunc(slices.Clone(l.Source.Stages(step)), func(stage string) bool { return !l.keeps(harness.Place{Step: step, Stage: stage}) })
}

func (l long) Steps() []int {
	return slices.DeleteFunc(slices.Clone(l.Source.Steps()), func(step int) bool { return len(l.Stages(step)) == 0 })
}

func (l long) Shape(step int, stage string) ([]int, bool) {
	x, err := l.Tensor(step, stage)
	return x.Shape, err == nil
}

func (l long) Tensor(step int, stage string) (harness.Tensor, error) {
	at := harness.Place{Step: step, Stage: stage}
	if !l.keeps(at) {
		return harness.Tensor{}, fs.ErrNotExist
	}
	x, err := l.Source.Tensor(step, stage)
	if err == nil && strings.Contains(stage, "cache_") {
		x = l.change(at, x)
	}
	return x, err
}

// Caches that are as long as they were allocated are read as if they ended with their step.
func TestCachesAsAllocated(t *testing.T) {
	m := gpt2test.Tiny(t)
	g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	every := func(harness.Place) bool { return true }
	to := func(n int) func(harness.Place, harness.Tensor) harness.Tensor {
		return func(_ harness.Place, x harness.Tensor) harness.Tensor { return resize(x, n) }
	}
	for _, tt := range []struct {
		name   string
		keeps  func(at harness.Place) bool
		change func(at harness.Place, x harness.Tensor) harness.Tensor
		wrong  bool
	}{
		{"all positions there are", every, to(m.Config().Positions), false},
		{"some", every, to(40), false},
		{"the run's own", every, to(g.Manifest().New + 1), false},
		{"what was there before in the rest", every, func(_ harness.Place, x harness.Tensor) harness.Tensor {
			S := x.Shape[2]
			x = resize(x, 40)
			for i, D := 0, x.Shape[3]; i < len(x.F32); i++ {
				if i/D%40 >= S {
					x.F32[i] = 7
				}
			}
			return x
		}, false},
		{"beside stages that do not tell how many keys there are", func(at harness.Place) bool {
			return !strings.HasSuffix(at.Stage, "scores") && !strings.HasSuffix(at.Stage, "attn.probs")
		}, to(40), false},
		{"of one step", func(at harness.Place) bool { return at.Step == 0 }, to(40), false},
		{"a row too many at each step", every, func(_ harness.Place, x harness.Tensor) harness.Tensor { return resize(x, x.Shape[2]+1) }, true},
		{"of one layer, longer at one step", every, func(at harness.Place, x harness.Tensor) harness.Tensor {
			if at.Step == 1 {
				return resize(x, 40)
			}
			return x
		}, true},
		{"a row lost", every, func(_ harness.Place, x harness.Tensor) harness.Tensor {
			S := x.Shape[2]
			return resize(resize(x, S-1), 40)
		}, true},
	} {
		for _, golden := range []harness.Source{g, nil} {
			c := comparisonOf(m, golden, nil)
			views, err := c.View(t.Context(), long{g, tt.keeps, tt.change}, align.Hints{}, nil)
			if err != nil {
				t.Fatal(tt.name, err)
			}
			r, err := Compare(t.Context(), c)
			if err != nil {
				t.Fatal(tt.name, err)
			}
			if r.Passed() == tt.wrong {
				t.Errorf("%s, golden %v: passed is %v; introduced %v", tt.name, golden != nil, r.Passed(), r.Introduced)
			}
			if notes := views[len(views)-1].Notes(); !tt.wrong && len(notes) != 1 {
				t.Errorf("%s: notes %q", tt.name, notes)
			}
		}
	}
}

// resize gives a cache [B,H,S,D] n positions, zeros behind the old ones.
func resize(x harness.Tensor, n int) harness.Tensor {
	S, D := x.Shape[2], x.Shape[3]
	out := harness.Tensor{Shape: []int{x.Shape[0], x.Shape[1], n, D}, F32: make([]float32, len(x.F32)/S*n)}
	for i := range x.Shape[0] * x.Shape[1] {
		copy(out.F32[i*n*D:(i+1)*n*D], x.F32[i*S*D:(i+1)*S*D])
	}
	return out
}

// Whatever shape a tensor has, it is the one that is wrong, alone.
func TestDiagnoseOfAnyShape(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1)
	run := gpt2.Run{Tokens: [][]int{{1, 2, 3}, {4, 5, 6}}, New: 2}
	c, err := gpt2.Record(t.Context(), m, run)
	if err != nil {
		t.Fatal(err)
	}
	var places []harness.Place
	for _, step := range c.Steps() {
		for _, stage := range c.Stages(step) {
			places = append(places, harness.Place{Step: step, Stage: stage})
		}
	}
	changes := map[string]func([]int) []int{
		"no axis":          func([]int) []int { return []int{} },
		"nothing":          func(s []int) []int { return append(slices.Clone(s[:len(s)-1]), 0) },
		"one axis":         func(s []int) []int { return []int{product(s)} },
		"one axis too few": func(s []int) []int { return s[1:] },
		"one too many":     func(s []int) []int { return append([]int{1}, s...) },
		"first doubled":    func(s []int) []int { return append([]int{2 * s[0]}, s[1:]...) },
		"last doubled":     func(s []int) []int { return append(slices.Clone(s[:len(s)-1]), 2*s[len(s)-1]) },
		"middle doubled": func(s []int) []int {
			s = slices.Clone(s)
			s[len(s)/2] *= 2
			return s
		},
	}
	names := slices.Sorted(maps.Keys(changes))
	s := gpt2.Schedule(m.Config().Layers, nil)
	rapid.Check(t, func(t *rapid.T) {
		at, name := rapid.SampledFrom(places).Draw(t, "place"), rapid.SampledFrom(names).Draw(t, "change")
		x, err := c.Tensor(at.Step, at.Stage)
		if err != nil {
			t.Fatal(err)
		}
		out := harness.Tensor{Shape: changes[name](x.Shape)}
		if slices.Equal(out.Shape, x.Shape) {
			return
		}
		for i := range product(out.Shape) {
			if x.IDs() {
				out.I64 = append(out.I64, x.I64[i%len(x.I64)])
			} else {
				out.F32 = append(out.F32, x.F32[i%len(x.F32)])
			}
		}
		rows, err := replay.Judge(context.Background(), s, &withStage{c, at, out}, gpt2.NewReplayer(m, nil, gpt2.Float32), replay.Options{Prompt: 3})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			switch {
			case r.Place == at && (r.Verdict != harness.ReplayIntroduced || r.Status != harness.WrongShape):
				t.Errorf("%s, %s: %s, %s", at, r.Verdict, r.Status, r.Why)
			case r.Place != at && r.Verdict != harness.ReplayClean:
				t.Errorf("%s: %s is %s: %s", at, r.Place, r.Verdict, r.Why)
			}
		}
	})
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
