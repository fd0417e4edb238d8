package diagnose

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/rounding"
	"checkpoint12/harness/npy"
	"checkpoint12/harness/report"
	"checkpoint12/model"
)

// perColumn returns a matrix of some columns in 8 bits, a scale a column.
func perColumn(x []float32, cols int) []float32 {
	y := slices.Clone(x)
	for c := range cols {
		most := float32(0)
		for i := c; i < len(x); i += cols {
			most = max(most, x[i], -x[i])
		}
		step := most / 127
		for i := c; i < len(x); i += cols {
			y[i] = float32(math.Round(float64(x[i]/step))) * step
		}
	}
	return y
}

// loadedDump opens a dump of a run that has weights as loaded beside its steps.
func loadedDump(t *testing.T, s *harness.Schedule, m *model.Model, g *dump.Dump, rec harness.Source, loaded map[string][]float32) *dump.Dump {
	t.Helper()
	man := *g.Manifest()
	man.New, man.Files, man.LeftOut, man.Engine.Name = fewSteps, nil, nil, "mine"
	man.Tokens = harness.FirstTokens(rec.Tokens(), len(g.Manifest().Tokens[0]))
	dir := filepath.Join(t.TempDir(), "mine")
	if err := dump.Write(rec, dir, man); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, dump.WeightsFolder), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, x := range loaded {
		_, shape, _ := m.Weight(name)
		var b bytes.Buffer
		err := npy.Write(&b, harness.Tensor{Shape: shape, F32: x})
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, dump.WeightsFolder, name+".npy"), b.Bytes(), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	d, _, err := dump.Open(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// An engine is judged on the weights that it loaded: what is wrong with them is named, and
// a fault besides is found in its stage alone.
func TestWeightsAsLoaded(t *testing.T) {
	m := gpt2test.Tiny(t)
	s := gpt2.Schedule(3, nil)
	g := gpt2test.Golden(t, s, "synthetic-tiny/hello/float64")
	of := func(name string) []float32 { x, _, _ := m.Weight(name); return x }
	const fc, fused = "h.1.mlp.c_fc.weight", "h.0.attn.c_attn.weight"
	all8 := func() map[string][]float32 {
		all := map[string][]float32{}
		for name, shape := range m.Config().Weights() {
			if len(shape) == 2 && strings.HasPrefix(name, "h.") {
				all[name] = perColumn(of(name), shape[1])
			}
		}
		return all
	}
	unmasked := slices.Clone(of(fused))
	for i := range unmasked {
		unmasked[i] = of(fused)[i/240*240+(i+160)%240]
	}
	nan := slices.Clone(of(fc))
	nan[7] = float32(math.NaN())
	for _, test := range []struct {
		reason string
		loaded map[string][]float32
		uses   map[string][]float32 // by the engine, if otherwise
		fault  string
		says   string
		wrong  bool // the weights
		cost   bool
	}{
		{"the model's own", map[string][]float32{fc: of(fc)}, nil, "", "", false, false},
		{"8 bits", all8(), nil, "", "h.*.mlp.c_fc.weight (3): int8 by column, steps ", false, true},
		{"8 bits and a fault", all8(), nil, "erf GELU", "h.*.attn.c_proj.weight (3): int8 by column", false, true},
		{"rounded", map[string][]float32{fc: rounding.BFloat16.Of(of(fc))}, nil, "", fc + ": rounded to bf16", false, true},
		{"another order", map[string][]float32{fused: unmasked}, nil, "", "loads weight " + fused + " wrong: q, k and v, blocks of 80 columns, in the order v, q, k", true, true},
		{"another order and a fault", map[string][]float32{fused: unmasked}, nil, "scale 1/D", "in the order v, q, k", true, true},
		{"NaN, of which the engine computes nothing", map[string][]float32{fc: nan}, map[string][]float32{}, "", "1 of 25600 values is not finite", true, false},
	} {
		t.Run(test.reason, func(t *testing.T) {
			uses := test.loaded
			if test.uses != nil {
				uses = test.uses
			}
			on, err := m.With(uses)
			if err != nil {
				t.Fatal(err)
			}
			var planted []gpt2test.Fault
			if test.fault != "" {
				planted = append(planted, gpt2test.Named(test.fault))
			}
			rec, changed := faulty(t, on, g, false, planted...)
			d := loadedDump(t, s, m, g, rec, test.loaded)
			c := Comparison{Schedule: s, Model: m, Goldens: []EngineResult{{Engine: Reference, Source: g}}}
			c.Match = func(step int, _ string) bool { return step < fewSteps }
			if err := c.LoadWeights(d); err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.View(t.Context(), d, align.Hints{}, nil); err != nil {
				t.Fatal(err)
			}
			r, err := Compare(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			if err := report.Write(&text, r.Report, report.Options{}); err != nil {
				t.Fatal(err)
			}
			if flat := strings.Join(strings.Fields(text.String()), " "); !strings.Contains(flat, test.says) {
				t.Errorf("want %q in:\n%s", test.says, text.String())
			}
			if r.Passed() != (test.fault == "" && !test.wrong) || r.Skipped > 0 || r.Weights == nil {
				t.Errorf("verdict %s, %d skipped, weights %v", r.Verdict, r.Skipped, r.Weights)
			}
			if (r.Cost != nil) != test.cost || test.cost && (r.Cost.Logits == 0 || r.Cost.MaxAbs == 0 || r.Cost.Tokens != len(g.Steps())) {
				t.Errorf("cost %+v", r.Cost)
			}
			b, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if first := `"first_divergence":{"stage":"weights"}`; strings.Contains(string(b), first) != test.wrong {
				t.Errorf("want %v: %s in the JSON", test.wrong, first)
			}
			for _, at := range placesOf(t, r) {
				if test.fault == "" || !slices.Contains(changed, at) {
					t.Errorf("%s is introduced, changed are %v", at, changed)
				}
			}
			if stage := ""; test.fault != "" {
				for _, e := range r.Explanations {
					stage = e.Stage
				}
				if stage != gpt2test.Named(test.fault).Stage {
					t.Errorf("explained: %+v", r.Explanations)
				}
			}
		})
	}
}

// Weights without a stage: those that are wrong fail, those that are right are no pass.
func TestWeightsAlone(t *testing.T) {
	m := gpt2test.Tiny(t)
	s := gpt2.Schedule(3, nil)
	g := gpt2test.Golden(t, s, "synthetic-tiny/hello/float64")
	const fc = "h.1.mlp.c_fc.weight"
	right, _, _ := m.Weight(fc)
	zero := make([]float32, len(right))
	for _, test := range []struct {
		reason string
		x      []float32
		err    string // "" if it is judged
	}{
		{"the model's", right, "its weights as loaded are right, which alone is no pass"},
		{"rounded", rounding.BFloat16.Of(right), "are right, 1 of them rounded or quantised, as " + fc + " (rounded to bf16), which alone is no pass"},
		{"zero", zero, ""},
	} {
		for _, goldens := range [][]EngineResult{nil, {{Engine: Reference, Source: g}}} {
			rec := harness.NewRecorder(harness.RecorderOptions{Schedule: s})
			rec.SetTokens(harness.FirstTokens(g.Tokens(), len(g.Manifest().Tokens[0])+fewSteps))
			d := loadedDump(t, s, m, g, rec, map[string][]float32{fc: test.x})
			c := Comparison{Schedule: s, Model: m, Goldens: goldens}
			if err := c.LoadWeights(d); err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.View(t.Context(), d, align.Hints{}, nil); err != nil {
				t.Fatal(err)
			}
			r, err := Compare(t.Context(), c)
			if test.err != "" {
				if !errors.Is(err, harness.ErrNothingCompared) || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%s: error %v, want %q", test.reason, err, test.err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			if err := report.Write(&text, r.Report, report.Options{}); err != nil {
				t.Fatal(err)
			}
			if r.Passed() || r.First == nil || r.First.Stage != harness.WeightsStage || r.Compared != 0 ||
				!strings.Contains(text.String(), fc+" wrong: all zero\n      no stage was compared\n") {
				t.Errorf("%s: %s, first %v:\n%s", test.reason, r.Verdict, r.First, &text)
			}
		}
	}
}

// Rows of a batch that go on with tokens of their own are compared with runs on these.
func TestWeightsOfRows(t *testing.T) {
	m := gpt2test.Tiny(t)
	s := gpt2.Schedule(3, nil)
	g := gpt2test.Golden(t, s, "synthetic-tiny/hello/float64")
	const fc = "h.1.mlp.c_fc.weight"
	right, shape, _ := m.Weight(fc)
	loaded := map[string][]float32{fc: perColumn(right, shape[1])}
	on, err := m.With(loaded)
	if err != nil {
		t.Fatal(err)
	}
	prompt := g.Manifest().Tokens[0]
	of := g.Tokens()[0][len(prompt):]
	run := gpt2.Run{New: fewSteps, Temperatures: []float64{}}
	for _, feed := range [][]int{{of[0], 7}, {of[0], of[1]}, {5, 6}, {5, 8}} {
		run.Tokens, run.Feed = append(run.Tokens, prompt), append(run.Feed, feed)
	}
	for _, fault := range []string{"", "h.2.mlp.act"} {
		run.Tap = func(stage string, _ []int, data []float32) {
			if stage == fault { // in the last row, which the others' tokens do not begin
				data[len(data)-1]++
			}
		}
		rec, err := gpt2.Record(t.Context(), on, run)
		if err != nil {
			t.Fatal(err)
		}
		c := Comparison{Schedule: s, Model: m, Goldens: []EngineResult{{Engine: Reference, Source: g}}}
		c.Match = func(step int, stage string) bool { return step < fewSteps && !strings.HasPrefix(stage, "probs_t") }
		d := loadedDump(t, s, m, g, rec, loaded)
		if err := c.LoadWeights(d); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.View(t.Context(), d, align.Hints{}, nil); err != nil {
			t.Fatal(err)
		}
		r, err := Compare(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if r.Passed() != (fault == "") || r.Skipped > 0 || len(r.Missing) > 0 || r.Compared == 0 || r.Unseen.Rows > 0 {
			t.Errorf("verdict %s: %d compared, %+v, missing %v, introduced %v", r.Verdict, r.Compared, r.Unseen, r.Missing, r.Introduced)
		}
		if r.Cost == nil || r.Cost.Tokens != len(g.Steps()) {
			t.Errorf("cost %+v", r.Cost)
		}
		for i := range r.Stages {
			if row := &r.Stages[i]; row.Stage == "logits" && row.Elements != sizeOf(t, rec, row.Place) {
				t.Errorf("%s: %d of %d values were compared", row.Place, row.Elements, sizeOf(t, rec, row.Place))
			}
		}
	}
}

// What weights cost is no rounding: the goldens of other cases, which no run on the weights
// stands in for, widen no tolerance.
func TestWeightsWidenNothing(t *testing.T) {
	m := gpt2test.Tiny(t)
	s := gpt2.Schedule(3, nil)
	g := gpt2test.Golden(t, s, "synthetic-tiny/hello/float64")
	other := gpt2test.Golden(t, s, "synthetic-tiny/one-token/float64")
	const fc = "h.1.mlp.c_fc.weight"
	right, _, _ := m.Weight(fc)
	loaded := map[string][]float32{fc: make([]float32, len(right))}
	rec, err := gpt2.Record(t.Context(), m, gpt2.Run{Tokens: g.Manifest().Tokens, New: fewSteps})
	if err != nil {
		t.Fatal(err)
	}
	d := loadedDump(t, s, m, g, rec, loaded)
	var allowed []float64
	for _, goldens := range [][]*dump.Dump{{g}, {g, other}} {
		c := Comparison{Schedule: s, Model: m, Precision: gpt2.Float16}
		for _, x := range goldens {
			c.Goldens = append(c.Goldens, EngineResult{Engine: Reference, Source: x})
		}
		if err := c.LoadWeights(d); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.View(t.Context(), d, align.Hints{}, nil); err != nil {
			t.Fatal(err)
		}
		if c, err = c.Widened(t.Context()); err != nil {
			t.Fatal(err)
		}
		st, _ := c.Schedule.Stage("h.1.mlp.act")
		allowed = append(allowed, st.Tolerance.Abs)
	}
	if allowed[0] != allowed[1] || allowed[0] <= gpt2.ToleranceOf("h.1.mlp.act").Abs {
		t.Errorf("allowed are %v", allowed)
	}
}

// sizeOf returns how many values a tensor has.
func sizeOf(t *testing.T, src harness.Source, at harness.Place) int {
	t.Helper()
	x, err := src.Tensor(at.Step, at.Stage)
	if err != nil {
		t.Fatal(err)
	}
	return len(x.F32)
}
