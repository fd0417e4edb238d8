package diagnose

import (
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
)

// voters is float64, candle and tinygrad of a case, each edited, and how the
// candidate compares with them.
func votersOf(t *testing.T, s *harness.Schedule, candidate harness.Source, edit map[string]func(step int, stage string, x harness.Tensor)) []Voter {
	t.Helper()
	var voters []Voter
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
		voters = append(voters, Voter{engine, src, r})
	}
	return voters
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
		used    string // whose tensor the merged golden has there
	}{
		{"all agree", nil, "", "", "float64"},
		{"one engine is wrong", map[string]func(int, string, harness.Tensor){"tinygrad": shift(1)}, "tinygrad",
			"the golden of tinygrad is the outlier, not the candidate: at step_00/h.1.mlp.act it is", "float64"},
		{"the yardstick is wrong", map[string]func(int, string, harness.Tensor){"float64": shift(1)}, "float64",
			"from candle and tinygrad, with which the candidate agrees", "candle"},
		{"two engines are wrong in different ways", map[string]func(int, string, harness.Tensor){"float64": shift(1), "tinygrad": shift(2)}, "",
			"the goldens of tinygrad and float64 are 1e+04 times the bound apart at step_00/h.1.mlp.act", "float64"},
		// 1e-4 is allowed: the candidate is 1.9e-4 from one, half of that from the other.
		{"opposite sides of an engine", map[string]func(int, string, harness.Tensor){"tinygrad": shift(1.9e-4), "float64": shift(0.95e-4)}, "",
			"checkpoint 6: tinygrad comes to 0.95 of the bound away from float64", "float64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			voters := votersOf(t, s, candidate, tt.edit)
			q, err := NewQuorum(s, voters)
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
			m, err := q.Merge("dir", s, voters)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range voters {
				if v.Engine == tt.used && m.of(act.Step, act.Stage) != v.Source {
					t.Errorf("the merged golden does not have %s's tensor", tt.used)
				}
			}
			r, err := harness.Compare(s, m, candidate, harness.CompareOptions{RequireAll: true, Prompt: 3})
			if err != nil {
				t.Fatal(err)
			}
			pass := len(tt.edit) < 2 || tt.name == "opposite sides of an engine"
			if r.Passed() != pass {
				t.Errorf("the candidate passes the merged golden: %v; %v", r.Passed(), r.FirstDivergence)
			}
		})
	}
}

// Around float64 no engine uses more than half of any bound: the bounds hold for
// right engines with room.
func TestBoundsHoldForTheEngines(t *testing.T) {
	s := gpt2.Schedule(3, nil)
	dirs, err := Folders(gpt2test.Dir + "/synthetic-tiny")
	if err != nil || len(dirs) < 5 {
		t.Fatalf("%d cases, %v", len(dirs), err)
	}
	seen := map[int]bool{}
	for _, dir := range dirs {
		voters, err := OpenEngines(dir, s)
		if err != nil {
			t.Fatal(err)
		}
		if len(voters) < 3 || voters[0].Engine != Yardstick {
			t.Fatalf("%s: %d engines", dir, len(voters))
		}
		for i := range voters {
			if voters[i].Report, err = harness.Compare(s, voters[i].Source, voters[1].Source, harness.CompareOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		q, err := NewQuorum(s, voters)
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

// Engines of which one was fed another token say nothing of it from there on.
func TestMergedStopsWhereTokensDiffer(t *testing.T) {
	s := gpt2.Schedule(3, nil)
	f64 := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	other := gpt2test.Foreign(t, gpt2.Schedule(3, nil), gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/candle"), func(_ int, _ string, x harness.Tensor, _ map[string]int) harness.Tensor { return x })
	tokens := f64.Tokens()
	row := make([]int, len(tokens.I64))
	for i, id := range tokens.I64 {
		row[i] = int(id)
	}
	row[2+3] = 7 // fed at step 4
	other.SetTokens([][]int{row})
	part := gpt2test.Foreign(t, gpt2.Schedule(3, nil), f64, func(step int, stage string, x harness.Tensor, _ map[string]int) harness.Tensor {
		if stage == "ln_f" {
			return harness.Tensor{}
		}
		return x
	})
	voters := []Voter{{Engine: "float64", Source: harnesstest.Bound{Source: part, Man: f64.Manifest()}}, {Engine: "candle", Source: other}}
	q := &Quorum{Engines: []string{"float64", "candle"}}
	m, err := q.Merge("dir", s, voters)
	if err != nil {
		t.Fatal(err)
	}
	for step := range 10 {
		_, ok := m.Shape(step, "ln_f")
		if ok != (step < 4) {
			t.Errorf("step %d: ln_f of the other engine there: %v", step, ok)
		}
	}
}
