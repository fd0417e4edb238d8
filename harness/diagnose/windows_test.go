package diagnose

import (
	"math"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/model"
	"checkpoint12/model/synthetic"
)

// A long step is explained by what its windows show, and what they do not explain is said to
// have been looked for in these alone.
func TestLongSteps(t *testing.T) {
	if testing.Short() {
		t.Skip("searches on one goroutine: go test ./harness/diagnose")
	}
	const prompt = 180
	cfg := model.Config{Vocab: 211, Positions: 256, Embd: 96, Heads: 2, Layers: 2, Inner: 192, Eps: 1e-5}
	m, err := synthetic.Random("long", cfg, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tokens := make([]int, prompt)
	for i := range tokens {
		tokens[i] = (i * 37) % cfg.Vocab
	}
	each := func(stage string, f func(i int, v float32) float32) func(harness.Place, *faults.Context) []float32 {
		return func(at harness.Place, c *faults.Context) []float32 {
			if at.Stage != stage {
				return nil
			}
			out := slices.Clone(c.Right())
			for i, v := range out {
				if !math.IsInf(float64(v), 0) {
					out[i] = f(i, v)
				}
			}
			return out
		}
	}
	for _, tt := range []struct {
		name    string
		plant   func(at harness.Place, c *faults.Context) []float32
		modules bool
		want    string // in the first cause at step 0
	}{
		{"everywhere", each("h.1.mlp.act", func(_ int, v float32) float32 { return 1.25 * v }), true, "1.25 times the correct one"},
		{"scores", each("h.0.attn.scores", func(_ int, v float32) float32 { return 1.3 * v }), true, "1.3 times the scores"},
		{"at one position", each("h.0.ln_2", func(i int, v float32) float32 {
			if i/cfg.Embd == 120 {
				return 3 * v
			}
			return v
		}), false, "3 times"},
		{"unlike anything", each("h.1.attn.scores", func(i int, v float32) float32 {
			return v + float32(math.Cos(float64(3*v)+float64(i%7)))
		}), false, "; looked for in positions 0 to 47 and "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec, err := gpt2.Record(t.Context(), m, gpt2.Run{
				Tokens: [][]int{tokens}, New: 3,
				Tap: (&gpt2.Override{Value: (&faults.Planter{Model: m, Plant: tt.plant}).Value}).Tap,
			})
			if err != nil {
				t.Fatal(err)
			}
			var candidate harness.Source = rec
			if tt.modules {
				candidate = gpt2test.Only{Source: rec, Keep: func(_ int, stage string) bool { return gpt2test.IsModule(stage) }}
			}
			c := Comparison{Schedule: gpt2.Schedule(cfg.Layers, nil), Model: m, Candidate: candidate}
			c.Prompt = prompt
			_, causes, err := c.judge(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(causes) == 0 || causes[0].Step != 0 || !strings.Contains(causes[0].Text, tt.want) {
				t.Errorf("causes %v, want %q first", causes, tt.want)
			}
		})
	}
}

// The windows of a step are its first positions and those around its worst, within it.
func TestWindows(t *testing.T) {
	for _, tt := range []struct {
		worst int
		want  string
	}{
		{0, "positions 0 to 47 and 48 to 95"}, {60, "positions 0 to 47 and 48 to 95"},
		{200, "positions 0 to 47 and 176 to 223"}, {399, "positions 0 to 47 and 352 to 399"},
	} {
		w := windowsIn(harness.Span{P: 0, T: 400}, tt.worst)
		if got := w.String(); got != tt.want {
			t.Errorf("worst at %d: %s, want %s", tt.worst, got, tt.want)
		}
		if end := w.cut[len(w.cut)-1].End(); end != 400 {
			t.Errorf("worst at %d: %v ends at %d", tt.worst, w.cut, end)
		}
	}
}
