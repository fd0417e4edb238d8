package verify

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/model/modeltest"
	"checkpoint12/model/sample"
)

// The absolute parts are the owner's, and which checkpoint a stage belongs to is
// the contract's.
func TestTolerances(t *testing.T) {
	s := gpt2.Schedule(12, []float64{0.5, 1, 2})
	for _, tt := range []struct {
		stages     string
		checkpoint int
		abs        float64
		reason     string
	}{
		{"wte wpe", 0, 0, "copied rows"},
		{"embed", 0, 1e-6, "one addition"},
		{"h.0.ln_1 h.11.ln_1", 1, 1e-5, "LayerNorm"},
		{"h.0.attn.c_attn h.3.attn.q h.3.attn.k h.10.attn.v", 2, 1e-4, "QKV"},
		{"h.0.attn.cache_k h.10.attn.cache_v", 3, 1e-4, "checkpoint 2's against a golden"},
		{"h.0.attn.scores h.11.attn.scores", 4, 1e-4, "attention scores"},
		{"h.0.attn.probs h.7.attn.context h.11.attn.c_proj", 5, 1e-4, "attention output"},
		{"h.0.ln_2 h.1.mlp.c_fc h.2.mlp.act h.11.mlp.c_proj", 6, 1e-4, "feed-forward"},
		{"h.0.resid_mid h.0.resid_post", 7, 1e-4, "first block"},
		{"h.1.resid_mid h.10.resid_post ln_f logits", 8, 1e-3, "all layers"},
		{"logits_last", 9, 1e-3, "checkpoint 8's against a golden"},
		{"next_token", 10, 0, "exact"},
		{"probs_t0.5 probs_t1 probs_t2", 11, 1e-6, "softmax"},
	} {
		for _, name := range strings.Fields(tt.stages) {
			st, ok := s.Stage(name)
			if !ok {
				t.Errorf("%s: not in the schedule", name)
				continue
			}
			if st.Checkpoint != tt.checkpoint || st.Tolerance.Abs != tt.abs || st.Tolerance.Reason == "" {
				t.Errorf("%s (%s): checkpoint %d, %+v; want %d, abs %g and a reason", name, tt.reason, st.Checkpoint, st.Tolerance, tt.checkpoint, tt.abs)
			}
			if st.Tolerance.Rel > 5e-6 {
				t.Errorf("%s: rel %g is more than any engine was seen to need", name, st.Tolerance.Rel)
			}
		}
	}
	// The two forms of GELU differ by 4.7e-4 at most, however large the tensor.
	if act, _ := s.Stage("h.3.mlp.act"); act.Tolerance.Rel != 0 {
		t.Errorf("mlp.act: rel %g hides the erf form in a tensor of large values", act.Tolerance.Rel)
	}
	if wte, _ := s.Stage("wte"); wte.Tolerance.Rel != 0 {
		t.Errorf("wte: rel %g, want exact", wte.Tolerance.Rel)
	}
}

// source is a recorder with logits and their softmax at temperature 1, the
// latter with an error added to its first value.
func source(t *testing.T, logits []float32, err float64, keepLogits bool) *harness.Recorder {
	t.Helper()
	r := harness.NewRecorder(harness.RecorderOptions{Schedule: gpt2.Schedule(1, []float64{1})})
	r.Step(0)
	shape := []int{1, len(logits)}
	if keepLogits {
		r.Tap("logits_last", shape, logits)
	}
	p := make([]float32, len(logits))
	sample.Softmax(p, logits, 1)
	p[0] += float32(err)
	r.Tap("probs_t1", shape, p)
	r.SetTokens([][]int{{1, 2}})
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSoftmaxIsJudgedByItsOwnLogits(t *testing.T) {
	base := []float32{1, 2, 3, -1}
	moved := []float32{1.0004, 2, 3, -1} // moves p by 4e-5: more than 1e-6, and accounted for
	for _, tt := range []struct {
		name       string
		logits     []float32
		err        float64
		golden     bool // has logits
		candidate  bool
		want       harness.Status
		wantDetail string
	}{
		{"the same", base, 0, true, true, harness.Pass, ""},
		{"logits moved within their tolerance", moved, 0, true, true, harness.Pass, ""},
		{"off by 2e-6 of its own logits", base, 2e-6, true, true, harness.Fail, "softmax of its own logits_last"},
		{"off by 2e-6 where moved logits hide it from the golden", moved, 2e-6, true, true, harness.Fail, "softmax of its own logits_last"},
		{"golden without logits", moved, 0, false, true, harness.Pass, ""},
		{"candidate without logits", moved, 0, true, false, harness.Pass, ""},
		{"far off without logits", base, 0.01, true, false, harness.Fail, ""},
		{"NaN", base, math.NaN(), true, true, harness.Nonfinite, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			golden, candidate := source(t, base, 0, tt.golden), source(t, tt.logits, tt.err, tt.candidate)
			r, err := harness.Compare(gpt2.Schedule(1, []float64{1}), golden, candidate, harness.CompareOptions{})
			if err != nil {
				t.Fatal(err)
			}
			row := r.Row(harness.Place{Step: 0, Stage: "probs_t1"})
			if row.Status != tt.want || !strings.Contains(row.Detail, tt.wantDetail) {
				t.Errorf("status %s, detail %q; want %s, %q", row.Status, row.Detail, tt.want, tt.wantDetail)
			}
		})
	}
}

func TestDumpSchedule(t *testing.T) {
	bare := t.TempDir()
	for _, name := range []string{"h.10.ln_1", "h.99999.ln_1", "probs_t0.7", "probs_tx", "nonsense"} {
		path := filepath.Join(bare, "step_00", name+".npy")
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	s, err := gpt2.DumpSchedule(1, gpt2.Folder{Dir: bare})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"h.10.resid_post": true, "h.11.ln_1": false, "probs_t0.5": true, "probs_t0.7": true, "probs_tx": false, "nonsense": false,
	} {
		if _, ok := s.Index(name); ok != want {
			t.Errorf("stage %s in the schedule: %t, want %t", name, ok, want)
		}
	}
	dump := fixture{run: gpt2.Run{Tokens: [][]int{{1}}, New: 1, Temperatures: []float64{0.25}}}.write(t, modeltest.New(t, modeltest.Micro, 1), t.TempDir())
	if s, err = gpt2.DumpSchedule(1, gpt2.Folder{Dir: dump}); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Index("h.1.ln_1"); !ok {
		t.Error("the manifest's layers are not in the schedule")
	}
	if _, ok := s.Index("probs_t0.25"); !ok {
		t.Error("the manifest's temperature is not in the schedule")
	}
	if _, err := gpt2.DumpSchedule(1, gpt2.Folder{Dir: filepath.Join(bare, "nowhere")}); err == nil {
		t.Error("a folder that is not there: no error")
	}
}
