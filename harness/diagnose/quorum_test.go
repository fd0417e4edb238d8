package diagnose

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
)

// engines is float64, candle and tinygrad of a case, each edited, and how the
// candidate compares with them.
func enginesOf(t *testing.T, s *harness.Schedule, candidate harness.Source, edit map[string]func(step int, stage string, x harness.Tensor)) []EngineResult {
	t.Helper()
	var engines []EngineResult
	for _, engine := range []string{"float64", "candle", "tinygrad"} {
		g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/quick-brown/"+engine)
		var src harness.Source = g
		if e := edit[engine]; e != nil {
			src = gpt2test.Foreign(t, gpt2.Schedule(3, nil), g, func(step int, stage string, x harness.Tensor, _ map[string]int) harness.Tensor {
				e(step, stage, x)
				return x
			})
		}
		r, err := harness.Compare(s, src, candidate, harness.CompareOptions{Prompt: 3})
		if err != nil {
			t.Fatal(err)
		}
		engines = append(engines, EngineResult{Engine: engine, Source: src, Report: r})
	}
	return engines
}

func TestQuorum(t *testing.T) {
	s := gpt2.Schedule(3, nil)
	candidate := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/quick-brown/candle")
	act := harness.Place{Step: 0, Stage: "h.1.mlp.act"}
	shift := func(by float32) func(step int, stage string, x harness.Tensor) {
		return func(step int, stage string, x harness.Tensor) {
			if step == act.Step && stage == act.Stage {
				x.F32[3] += by
			}
		}
	}
	for _, tt := range []struct {
		name    string
		edit    map[string]func(step int, stage string, x harness.Tensor)
		outlier string // the engine; "" for none
		line    string
		used    string // whose golden the candidate is compared with there
	}{
		{"all agree", nil, "", "", "float64"},
		{"one engine is wrong", map[string]func(int, string, harness.Tensor){"tinygrad": shift(1)}, "tinygrad",
			"the golden of tinygrad is the outlier, not the candidate: at step_00/h.1.mlp.act it is", "float64"},
		{"the reference is wrong", map[string]func(int, string, harness.Tensor){"float64": shift(1)}, "float64",
			"float64 alone differs, and is never outvoted: at step_00/h.1.mlp.act it is 1e+04 times the tolerance from candle and tinygrad", "float64"},
		{"two engines are wrong in different ways", map[string]func(int, string, harness.Tensor){"float64": shift(1), "tinygrad": shift(2)}, "",
			"the goldens of tinygrad and float64 are 1e+04 times the tolerance apart at step_00/h.1.mlp.act", "float64"},
		// 1e-4 is allowed: the candidate is 1.9e-4 from one, half of that from the other.
		{"opposite sides of an engine", map[string]func(int, string, harness.Tensor){"tinygrad": shift(1.9e-4), "float64": shift(0.95e-4)}, "",
			"checkpoint 6: tinygrad is 0.95 of the tolerance away from float64", "float64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			engines := enginesOf(t, s, candidate, tt.edit)
			q, err := NewQuorum(s, engines)
			if err != nil {
				t.Fatal(err)
			}
			if (len(q.Outliers) > 0) != (tt.outlier != "") {
				t.Fatalf("outliers %+v", q.Outliers)
			}
			if tt.outlier != "" {
				if o := q.Outliers[0]; len(q.Outliers) != 1 || o.Engine != tt.outlier || o.Place != act || !(o.Share > 100) {
					t.Errorf("outliers %+v, want %s at %s", q.Outliers, tt.outlier, act)
				}
			}
			if text := strings.Join(q.Lines(), "\n"); tt.line == "" && text != "" || !strings.Contains(text, tt.line) {
				t.Errorf("lines %q, want %q", text, tt.line)
			}
			r := q.report(s, engines)
			for _, v := range engines {
				if v.Engine == tt.used && r.Row(act).Worst != v.Report.Row(act).Worst {
					t.Errorf("the candidate is not compared with %s there: %+v", tt.used, r.Row(act))
				}
			}
			fails := tt.edit["float64"] != nil && tt.name != "opposite sides of an engine"
			if r.Passed() == fails {
				t.Errorf("the candidate passes: %v; %v", r.Passed(), r.FirstDivergence)
			}
		})
	}
}

// A vote is a golden of its own bytes, and none is against the reference.
func TestVotes(t *testing.T) {
	s := gpt2.Schedule(3, nil)
	for _, c := range []struct {
		name   string
		wrong  map[string]string // engines by the golden that they hold with a wrong ln_f
		right  []string
		passes bool // what "a" holds
	}{
		{"the reference and two copies", map[string]string{"a": "candle", "b": "candle"}, []string{"float64"}, false},
		{"the reference and two engines with one mistake", map[string]string{"a": "candle", "b": "tinygrad"}, []string{"float64"}, false},
		{"an engine and two copies", map[string]string{"a": "tinygrad", "b": "tinygrad"}, []string{"Candle"}, false},
		{"a copy, and an engine after it", map[string]string{"a": "tinygrad"}, []string{"candle"}, false},
		{"an engine and two that differ from it", map[string]string{"a": "mistralrs", "b": "tinygrad"}, []string{"Candle"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(engine, from string, add float32) *harness.Recorder {
				g := gpt2test.Golden(t, s, "synthetic-tiny/quick-brown/"+from)
				copied := gpt2test.Foreign(t, s, g, func(step int, stage string, x harness.Tensor, _ map[string]int) harness.Tensor {
					if step > 0 {
						return harness.Tensor{}
					}
					if stage == "ln_f" {
						for i := range x.F32 {
							x.F32[i] += add
						}
					}
					return x
				})
				man := *g.Manifest()
				man.Engine.Name = engine
				man.LeftOut = append(man.LeftOut, harness.LeftOut{Stages: "*", Steps: "1-", Reason: "test"})
				if err := dump.Write(copied, filepath.Join(dir, engine), man); err != nil {
					t.Fatal(err)
				}
				return copied
			}
			for _, engine := range c.right {
				write(engine, strings.ToLower(engine), 0)
			}
			for engine, from := range c.wrong {
				write(engine, from, 1)
			}
			engines, err := OpenEngines(dir, s)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Compare(t.Context(), Comparison{Schedule: s, Goldens: engines, Candidate: write("candidate", c.wrong["a"], 1)})
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Join(r.Quorum.Lines(), "\n")
			alone := strings.Contains(lines, "float64 alone differs")
			if r.Passed() != c.passes || alone != slices.Contains(c.right, Reference) {
				t.Errorf("passes: %v, want %v; %s", r.Passed(), c.passes, lines)
			}
		})
	}
}

// The reference is known by its manifest: under another name it would be outvoted.
func TestFolderOfAnotherEngine(t *testing.T) {
	s, dir := gpt2.Schedule(3, nil), t.TempDir()
	for engine, from := range map[string]string{"candle": "candle", "zz": Reference} {
		path := gpt2test.Dir + "/synthetic-tiny/quick-brown/" + from
		if err := os.CopyFS(filepath.Join(dir, engine), os.DirFS(path)); err != nil {
			t.Fatal(err)
		}
	}
	engines, err := OpenEngines(dir, s)
	if want := `zz: was made by engine "float64", not by "zz"`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%d engines, error %v, want %s", len(engines), err, want)
	}
}

// Around float64 no engine uses more than half of any bound: the bounds hold for
// correct engines with room.
func TestBoundsHoldForTheEngines(t *testing.T) {
	s := gpt2.Schedule(3, nil)
	dirs, err := Folders(gpt2test.Dir + "/synthetic-tiny")
	if err != nil || len(dirs) < 5 {
		t.Fatalf("%d cases, %v", len(dirs), err)
	}
	seen := map[int]bool{}
	for _, dir := range dirs {
		engines, err := OpenEngines(dir, s)
		if err != nil {
			t.Fatal(err)
		}
		if len(engines) < 3 || engines[0].Engine != Reference {
			t.Fatalf("%s: %d engines", dir, len(engines))
		}
		for i := range engines {
			if engines[i].Report, err = harness.Compare(s, engines[i].Source, engines[1].Source, harness.CompareOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range engines {
			for _, row := range e.Report.Stages {
				if row.Doubt != "" {
					t.Errorf("%s, %s: %s", e.Source.Name(), row.Place, row.Doubt)
				}
			}
		}
		q, err := NewQuorum(s, engines)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range q.Spread {
			seen[w.Checkpoint] = true
			if !(w.Share <= 0.5) {
				t.Errorf("%s: %+v", dir, w)
			}
		}
		if len(q.Outliers) > 0 {
			t.Errorf("%s: %v", dir, q.Outliers)
		}
	}
	for n := 1; n < 12; n++ {
		if !seen[n] {
			t.Errorf("checkpoint %d: no spread looked at", n)
		}
	}
}
