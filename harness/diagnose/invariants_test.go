package diagnose

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/model/zoo"
)

// Nothing is found in what the engines exported, for all that is looked at.
func TestGoldensHoldTheInvariants(t *testing.T) {
	m, err := zoo.Load("synthetic-tiny")
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob(gpt2test.Dir + "/synthetic-tiny/*/*")
	if err != nil || len(dirs) < 7 {
		t.Fatalf("%d goldens, %v", len(dirs), err)
	}
	for _, dir := range dirs {
		d, _, err := dump.Open(dir, gpt2.Schedule(3, nil), dump.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := CheckInvariants(m, d)
		if err != nil {
			t.Fatal(err)
		}
		if r.Checked == 0 {
			t.Errorf("%s: nothing was looked at", dir)
		}
		for _, v := range r.Violations {
			t.Errorf("%s: %s %s: %s", dir, v.Place, v.Rule, v.Detail)
		}
	}
}

func TestInvariantsFindWhatCannotBe(t *testing.T) {
	g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	m, err := zoo.Load("synthetic-tiny")
	if err != nil {
		t.Fatal(err)
	}
	weight := func(name string) []float32 {
		w, _, ok := m.Weight(name)
		if !ok {
			t.Fatal(name)
		}
		return w
	}
	of := func(step int, stage string) []float32 {
		x, err := g.Tensor(step, stage)
		if err != nil {
			t.Fatal(err)
		}
		return x.F32
	}
	// norm is a LayerNorm gone wrong in one way.
	norm := func(x []float32, centred bool, ddof int, gain, bias string) (out []float32) {
		w, b := weight(gain), weight(bias)
		C := len(w)
		for row := 0; row < len(x); row += C {
			var mean float64
			for _, v := range x[row : row+C] {
				mean += float64(v) / float64(C)
			}
			sd := math.Sqrt(variance(x[row:row+C])*float64(C)/float64(C-ddof) + 1e-5)
			for i, v := range x[row : row+C] {
				h := float64(v) / sd
				if centred {
					h = (float64(v) - mean) / sd
				}
				out = append(out, float32(h*float64(w[i])+float64(b[i])))
			}
		}
		return out
	}
	lnIn := of(0, "h.0.resid_post")
	for _, tt := range []struct {
		stage, rule string
		step        int
		reason      string
		edit        func(x []float32)
	}{
		{"embed", "wte + wpe is not embed", 0, "positions not added", func(x []float32) { copy(x, of(0, "wte")) }},
		{"h.1.resid_mid", "h.0.resid_post + h.1.attn.c_proj is not h.1.resid_mid", 0, "one value, by some hundred units in the last place",
			func(x []float32) { x[5] += 500 * gpt2.Unit * x[5] }},
		{"h.2.resid_post", "h.2.resid_mid + h.2.mlp.c_proj is not h.2.resid_post", 3, "no residual", func(x []float32) { copy(x, of(3, "h.2.mlp.c_proj")) }},
		{"h.1.attn.q", "is not its part of h.1.attn.c_attn", 0, "k for q", func(x []float32) { copy(x, of(0, "h.1.attn.k")) }},
		{"h.1.attn.cache_k", "old rows changed", 2, "written at position 0", func(x []float32) {
			for h := range H4 {
				copy(x[h*4*20:], x[(h*4+3)*20:(h*4+4)*20])
			}
		}},
		{"h.1.attn.cache_v", "new rows are not h.1.attn.v", 2, "not written", func(x []float32) { clear(x[3*20 : 4*20]) }},
		{"h.0.attn.scores", "a masked place is not -inf", 0, "no mask", func(x []float32) { x[1] = -3 }},
		{"h.0.attn.scores", "a place that is not masked is not finite", 0, "the mask hides the diagonal", func(x []float32) { x[3] = float32(math.Inf(-1)) }},
		{"h.0.attn.probs", "a masked place is not exactly 0", 0, "it leaks a little", func(x []float32) { x[1] = 1e-30 }},
		{"h.0.attn.probs", "a row does not sum to 1", 4, "not normalised", func(x []float32) {
			for i := range x {
				x[i] *= 1.00001
			}
		}},
		{"h.0.attn.probs", "a probability is not between 0 and 1", 4, "negative, but for the sum right", func(x []float32) { x[1], x[0] = -0.01, x[0]+x[1]+0.01 }},
		{"h.0.attn.probs", "a row does not sum to 1", 4, "NaN", func(x []float32) { x[0] = float32(math.NaN()) }},
		{"h.1.ln_1", "its mean before the gain is not 0", 0, "the mean is kept", func(x []float32) {
			copy(x, norm(lnIn, false, 0, "h.1.ln_1.weight", "h.1.ln_1.bias"))
		}},
		{"h.1.ln_1", "its variance before the gain is not 1", 0, "the variance is unbiased", func(x []float32) {
			copy(x, norm(lnIn, true, 1, "h.1.ln_1.weight", "h.1.ln_1.bias"))
		}},
		{"h.1.ln_1", "its variance before the gain is not 1", 0, "ln_2's weights", func(x []float32) {
			copy(x, norm(lnIn, true, 0, "h.1.ln_2.weight", "h.1.ln_2.bias"))
		}},
		{"ln_f", "its mean before the gain is not 0", 1, "the bias is dropped", func(x []float32) {
			for i, b := range weight("ln_f.bias") {
				x[i] -= b
			}
		}},
		{"logits_last", "is not the last row of logits", 0, "the first row", func(x []float32) { copy(x, of(0, "logits")) }},
		{"next_token", "is not the lowest id with the largest logit", 2, "another id", func(x []float32) { x[0]++ }},
		{"probs_t2", "is not the softmax of logits_last over 2", 0, "temperature ignored", func(x []float32) { copy(x, of(0, "probs_t1")) }},
		{"probs_t1", "a row does not sum to 1", 0, "scaled", func(x []float32) {
			for i := range x {
				x[i] *= 1.01
			}
		}},
	} {
		t.Run(tt.rule+": "+tt.reason, func(t *testing.T) {
			c := gpt2test.Foreign(t, gpt2.Schedule(3, nil), g, func(step int, stage string, x harness.Tensor, _ map[string]int) harness.Tensor {
				if step == tt.step && stage == tt.stage {
					tt.edit(x.F32)
				}
				return x
			})
			r, err := CheckInvariants(m, c)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(r.Violations, func(v Violation) bool {
				return v.Place == harness.Place{Step: tt.step, Stage: tt.stage} && strings.HasPrefix(v.Rule, tt.rule) && v.Detail != ""
			}) {
				t.Errorf("%q of %d %s is not among %v", tt.rule, tt.step, tt.stage, r.Violations)
			}
		})
	}
}

const H4 = 4 // synthetic-tiny's heads

// Channels of a gain of 0, or near it, tell nothing; what is left still tells a
// mean that is kept, and a right row is no violation.
func TestNormWithGainsNearZero(t *testing.T) {
	const C = 40
	y, gain, bias := make([]float32, C), make([]float32, C), make([]float32, C)
	x := random32(3, C)
	var mean float64
	for _, v := range x {
		mean += float64(v) / C
	}
	for _, shift := range []float64{0, 0.5} {
		for i, v := range x {
			gain[i], bias[i] = 1+float32(i)/C, float32(i)/7
			if i%8 == 0 {
				gain[i] = []float32{0, 1e-9}[i/8%2]
			}
			h := (float64(v)-mean)/math.Sqrt(variance(x)) + shift
			y[i] = float32(h*float64(gain[i]) + float64(bias[i]))
		}
		n := normalised(y, gain, bias)
		if n.kept != C-5 {
			t.Errorf("%d channels kept, want %d", n.kept, C-5)
		}
		rest := max(0, C*(1+normSlack)+n.squareOff-n.square)
		wrong := math.Abs(n.sum) > math.Sqrt(float64(C-n.kept)*rest)+normSlack*C+n.sumOff || n.square-C > normSlack*C+n.squareOff
		if wrong != (shift != 0) {
			t.Errorf("shifted by %v: sum %v, square %v: wrong %v", shift, n.sum, n.square, wrong)
		}
	}
}

func random32(seed int, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.Sin(float64(seed*n+i) * 12.9898))
	}
	return x
}
