package model_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// differAt returns the first index at which two arrays differ, or -1. NaN equals itself.
func differAt(a, b []float32) int {
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

// Each stage computed on its own, from recorded inputs, gives the bits that the
// forward pass gave: it is the same function, and model.Reads leaves nothing out.
// What needs no weights is the same without them.
func TestApplyReplaysForward(t *testing.T) {
	for _, cfg := range []model.Config{modeltest.Micro, wide} {
		m := modeltest.New(t, cfg, 1)
		steps := [][]int{modeltest.Tokens(cfg, 10, 1), modeltest.Tokens(cfg, 2, 2), modeltest.Tokens(cfg, 4, 3)} // batch of 2
		r := record(t, m, model.SessionOptions{Batch: 2, Temperatures: []float64{0.5, 2}}, steps...)
		bare := model.WithoutWeights(cfg)
		P, compared, weightless := 0, 0, map[string]bool{}
		for k, tokens := range steps {
			d := model.Dims{B: 2, T: len(tokens) / 2, P: P}
			in := func(name string) []float32 {
				if base, ok := strings.CutPrefix(name, "prev:"); ok {
					if k == 0 {
						return nil
					}
					return r.steps[k-1][base]
				}
				switch name {
				case "tokens":
					var f []float32
					for _, id := range tokens {
						f = append(f, float32(id))
					}
					return f
				case "pos":
					return []float32{float32(P)}
				}
				return r.steps[k][name]
			}
			for _, stage := range r.order {
				want := r.steps[k][stage]
				got := make([]float32, len(want))
				for i := range got {
					got[i] = float32(math.NaN()) // so that a value left out shows
				}
				if err := m.Apply(stage, d, in, got); err != nil {
					t.Fatal(err)
				}
				if i := differAt(got, want); i >= 0 {
					t.Errorf("step %d %s: value %d is %v alone and %v in the forward pass", k, stage, i, got[i], want[i])
				}
				compared++
				clear(got)
				err := bare.Apply(stage, d, in, got)
				switch i := differAt(got, want); {
				case model.NeedsWeights(stage) != (err != nil):
					t.Errorf("%s without weights: %v", stage, err)
				case err == nil && i >= 0:
					t.Errorf("step %d %s: value %d is %v without weights, want %v", k, stage, i, got[i], want[i])
				case err == nil:
					name, _ := model.ParseStage(stage)
					weightless[name.Kind()] = true
				}
			}
			P += d.T
		}
		if want := len(steps) * len(model.StageNames(cfg, []float64{0.5, 2})); compared != want {
			t.Errorf("compared %d stages, want %d", compared, want)
		}
		if len(weightless) != 15 {
			t.Errorf("%d kinds of stages need no weights, want 15: %v", len(weightless), weightless)
		}
		if _, err := bare.NewSession(model.SessionOptions{}); err == nil {
			t.Error("a session without weights")
		}
	}
}

func TestApplyErrors(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1)
	V := float32(modeltest.Micro.Vocab)
	for _, test := range []struct {
		name  string
		stage string
		d     model.Dims
		in    []float32
		out   int
		want  string
	}{
		{"unknown stage", "h.9.ln_1", model.Dims{B: 1, T: 1}, nil, 12, "not a stage"},
		{"no rows", "wte", model.Dims{T: 1}, nil, 0, "B=0"},
		{"past the end", "wpe", model.Dims{B: 1, T: 1, P: 12}, []float32{12}, 12, "n_positions"},
		{"negative P", "wpe", model.Dims{B: 1, T: 1, P: -1}, []float32{0}, 12, "P=-1"},
		{"P+T overflows", "wpe", model.Dims{B: 1, T: 2, P: math.MaxInt}, []float32{0}, 24, "n_positions"},
		{"beyond memory", "logits", model.Dims{B: 1 << 60, T: 1}, nil, 0, "memory"},
		{"wrong room", "h.0.ln_1", model.Dims{B: 1, T: 1}, make([]float32, 12), 11, "room for 11"},
		{"wrong input", "h.0.ln_1", model.Dims{B: 1, T: 1}, make([]float32, 11), 12, "reads embed: got 11"},
		{"token too large", "wte", model.Dims{B: 1, T: 1}, []float32{V}, 12, "vocabulary"},
		{"token no number", "wte", model.Dims{B: 1, T: 1}, []float32{float32(math.NaN())}, 12, "vocabulary"},
		{"token not whole", "wte", model.Dims{B: 1, T: 1}, []float32{1.5}, 12, "vocabulary"},
		{"token negative", "wte", model.Dims{B: 1, T: 1}, []float32{-1}, 12, "vocabulary"},
		{"position too large", "wpe", model.Dims{B: 1, T: 3, P: 0}, []float32{10}, 36, "n_positions"},
	} {
		err := m.Apply(test.stage, test.d, func(string) []float32 { return test.in }, make([]float32, test.out))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %q does not say %q", test.name, fmt.Sprint(err), test.want)
		}
	}
}
