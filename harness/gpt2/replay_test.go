package gpt2

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/model"
)

// allowed is the largest part of its bound that a right engine may use here: the
// bound is no narrower than twice what is seen.
const allowed = 0.5

// shares is the largest part of its bound, and where, by what a stage is.
type shares map[string]struct {
	share float64
	at    string
}

func (s shares) add(rows []harness.Replayed, name string) {
	for _, r := range rows {
		word := wordOf(r.Stage)
		if len(r.Span) > 1 {
			word += " (span)"
		}
		if best, ok := s[word]; !ok || float64(r.Share) > best.share {
			best.share, best.at = float64(r.Share), name+" "+r.Place.String()
			s[word] = best
		}
	}
}

func (s shares) String() string {
	var b strings.Builder
	for _, word := range slices.Sorted(maps.Keys(s)) {
		if s[word].share > 0 {
			fmt.Fprintf(&b, "\n  %-24s %.3f  %s", word, s[word].share, s[word].at)
		}
	}
	return b.String()
}

// clean replays a right run and fails on every alarm.
func clean(t *testing.T, m *model.Model, c harness.Source, match func(int, string) bool) []harness.Replayed {
	t.Helper()
	s, err := ModelSchedule(m)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := harness.Replay(t.Context(), s, c, NewReplayer(m, dtypeOf(c)), harness.ReplayOptions{Match: match})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) == 0 {
		t.Fatalf("%s: nothing was replayed", c.Name())
	}
	for _, r := range rows {
		if r.Verdict != harness.ReplayClean || float64(r.Share) > allowed {
			t.Errorf("%s: %s is %s at %v of its bound %v, span %v: %s", c.Name(), r.Place, r.Verdict, r.Share, r.Bound, r.Span, r.Why)
		}
	}
	return rows
}

// goldensIn opens every golden of a model.
func goldensIn(t *testing.T, name string) map[string][]*harness.Dump {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(goldensDir, name, "*", "*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no goldens of %s: %v", name, err)
	}
	found := map[string][]*harness.Dump{}
	for _, dir := range dirs {
		s, err := DumpSchedule(dir)
		if err != nil {
			t.Fatal(err)
		}
		d, _, err := harness.OpenDump(dir, s, harness.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found[filepath.Base(dir)] = append(found[filepath.Base(dir)], d)
	}
	return found
}

// Right engines raise no alarm, whatever their order of summation, and use less
// than half of their bounds.
func TestReplayOfGoldensIsClean(t *testing.T) {
	m := tiny(t).Model
	for engine, dumps := range goldensIn(t, "synthetic-tiny") {
		used, n := shares{}, 0
		for _, d := range dumps {
			rows := clean(t, m, d, nil)
			used.add(rows, filepath.Base(filepath.Dir(d.Name())))
			n += len(rows)
		}
		t.Logf("%s: %d stages of %d cases, largest share of the bound:%s", engine, n, len(dumps), used)
	}
}

// The Go model's own runs, with few rows at a time and with many, are right too.
func TestReplayOfOwnRunsIsClean(t *testing.T) {
	s := tiny(t)
	for _, c := range s.Cases {
		rec, err := Record(t.Context(), s.Model, Run{Tokens: c.Tokens, New: c.New})
		if err != nil {
			t.Fatal(err)
		}
		clean(t, s.Model, rec, nil)
	}
}

// What a dump of module outputs lacks is computed, and no alarm comes of it.
func TestReplayOfSparseDumpsIsClean(t *testing.T) {
	m := tiny(t).Model
	dumps := goldensIn(t, "synthetic-tiny")
	for _, engine := range []string{"candle", "tinygrad", "float64"} {
		for name, keep := range map[string]func(stage string) bool{
			"module outputs": isModule,
			"blocks alone":   func(stage string) bool { return strings.HasSuffix(stage, "resid_post") },
			"logits alone":   func(stage string) bool { return stage == "logits_last" },
		} {
			used := shares{}
			for _, d := range dumps[engine] {
				some := only{d, func(_ int, stage string) bool { return keep(stage) }}
				if len(some.Steps()) > 0 {
					used.add(clean(t, m, some, nil), filepath.Base(filepath.Dir(d.Name())))
				}
			}
			t.Logf("%s, %s, largest share of the bound:%s", engine, name, used)
		}
	}
}

// isModule says whether a stage is the output of a module, which is all that an
// engine hooked at module boundaries gives.
func isModule(stage string) bool {
	switch word := wordOf(stage); word {
	case "attn.q", "attn.k", "attn.v", "attn.cache_k", "attn.cache_v", "attn.scores", "attn.probs", "attn.context", "resid_mid":
		return false
	}
	return true
}

// only is a source that has less.
type only struct {
	harness.Source
	keep func(step int, stage string) bool
}

func (o only) Steps() (steps []int) {
	for _, step := range o.Source.Steps() {
		if len(o.Stages(step)) > 0 {
			steps = append(steps, step)
		}
	}
	return steps
}

func (o only) Stages(step int) []string {
	return slices.DeleteFunc(o.Source.Stages(step), func(stage string) bool { return !o.keep(step, stage) })
}

func (o only) Shape(step int, stage string) ([]int, bool) {
	if !o.keep(step, stage) {
		return nil, false
	}
	return o.Source.Shape(step, stage)
}

// Rounding to fewer bits, which moves a stage by no more than a part in a
// thousand, and another epsilon are far outside of what rounding in float32 does.
func TestReplaySeesPrecision(t *testing.T) {
	m := tiny(t).Model
	rec, err := Record(t.Context(), m, Run{Tokens: [][]int{{15496, 13}}, New: 2})
	if err != nil {
		t.Fatal(err)
	}
	separate(t, m, rec, nil)
}

// The same at GPT-2 Medium's shape, where sums have up to 4096 terms, and for
// goldens of every engine.
func TestReplayAtMediumShape(t *testing.T) {
	if testing.Short() {
		t.Skip("makes the weights of synthetic-medium, 1.4 GB: go test -run ReplayAtMediumShape ./harness/gpt2")
	}
	m, err := model.Load("synthetic-medium")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	prompt := func(step int, _ string) bool { return step == 0 }
	dumps := goldensIn(t, "synthetic-medium")
	for engine, dumps := range dumps {
		used := shares{}
		for _, d := range dumps {
			used.add(clean(t, m, d, prompt), filepath.Base(filepath.Dir(d.Name())))
		}
		t.Logf("%s, largest share of the bound:%s", engine, used)
	}
	separate(t, m, dumps["candle"][0], func(stage string) bool {
		return strings.HasPrefix(stage, "h.0.") || strings.HasPrefix(stage, "h.17.") || strings.HasPrefix(stage, "ln_f") || stage == "logits"
	})
}

// separate computes stages of the prompt with less precision than float32 and
// asks that each is at least seen times its bound off.
func separate(t *testing.T, m *model.Model, c harness.Source, match func(stage string) bool) {
	t.Helper()
	const seen = 4
	s, err := ModelSchedule(m)
	if err != nil {
		t.Fatal(err)
	}
	run, err := harness.NewRerun(s, c, NewReplayer(m, ""), harness.ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	least := map[string]float64{}
	for _, stage := range c.Stages(0) {
		if match != nil && !match(stage) {
			continue
		}
		right, err := run.Right(0, stage)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lesser(m, run, stage, right) {
			share := 0.0
			for i, v := range l.out {
				if d := math.Abs(float64(v) - float64(right.F32[i])); d > 0 && !math.IsInf(d, 0) {
					share = max(share, d/float64(right.Bound[i]))
				}
			}
			key := l.name + " " + wordOf(stage)
			if old, ok := least[key]; !ok || share < old {
				least[key] = share
			}
			if share < seen {
				t.Errorf("%s at %s is off by %.3g of the bound, want %d", l.name, stage, share, seen)
			}
		}
	}
	if len(least) < 20 {
		t.Fatalf("only %d kinds of stages were tried", len(least))
	}
	var b strings.Builder
	for _, key := range slices.SortedFunc(maps.Keys(least), func(a, b string) int { return int(least[a] - least[b]) })[:12] {
		fmt.Fprintf(&b, "\n  %-28s %6.1f", key, least[key])
	}
	t.Logf("least multiples of the bound, of %d:%s", len(least), b.String())
}

// lesser is what a stage gives with less precision.
type lessPrecise struct {
	name string
	out  []float32
}

func lesser(m *model.Model, run *harness.Rerun, stage string, right harness.Value) (all []lessPrecise) {
	half := func(x float32) float32 { return cut(x, 13) } // float16 in its normal range, and TF32
	brain := func(x float32) float32 { return cut(x, 16) }
	same := func(x float32) float32 { return x }
	cfg, word := m.Config(), wordOf(stage)
	fed, _ := run.Fed(0)
	in := func(change func(float32) float32) func(string) []float32 {
		return func(name string) []float32 {
			v, err := run.Input(0, name)
			if err != nil {
				panic(err)
			}
			out := make([]float32, len(v.F32))
			for i, x := range v.F32 {
				out[i] = change(x)
			}
			return out
		}
	}
	x := in(same)(model.Reads(cfg, stage)[0])
	add := func(name string, out []float32) { all = append(all, lessPrecise{name, out}) }
	switch word {
	case "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj", "logits":
		add("float16 or TF32 weights", product(m, stage, x, same, half))
		add("TF32", product(m, stage, x, half, half))
		add("bfloat16 weights", product(m, stage, x, same, brain))
	case "ln_1", "ln_2", "ln_f":
		add("float16 weights", normed(m, stage, x, cfg.Eps, half))
		add("bfloat16 weights", normed(m, stage, x, cfg.Eps, brain))
		if stage == "h.0.ln_1" { // elsewhere the variance is far above epsilon
			add("eps 1e-6", normed(m, stage, x, 1e-6, same))
		}
	case "attn.scores", "attn.context":
		out := make([]float32, len(right.F32))
		if err := m.Apply(stage, model.Dims{B: fed.B, T: fed.T, P: fed.P}, in(half), out); err != nil {
			panic(err)
		}
		add("TF32", out)
	}
	if right.Bound == nil {
		return nil
	}
	for name, change := range map[string]func(float32) float32{"float16 output": half, "bfloat16 output": brain} {
		out := make([]float32, len(right.F32))
		for i, v := range right.F32 {
			out[i] = change(v)
		}
		add(name, out)
	}
	return all
}

// cut rounds to nearest, ties to even, without the last bits of the mantissa.
func cut(x float32, bits uint) float32 {
	b := math.Float32bits(x)
	return math.Float32frombits((b + 1<<(bits-1) - 1 + b>>bits&1) &^ (1<<bits - 1))
}

// product is x·W + b in float64, of changed x and changed weights.
func product(m *model.Model, stage string, x []float32, onX, onW func(float32) float32) []float32 {
	name, outIn := stage+".weight", false
	if stage == "logits" {
		name, outIn = "wte.weight", true
	}
	W, shape, _ := m.Weight(name)
	bias, _, _ := m.Weight(stage + ".bias")
	K, N := shape[0], shape[1]
	if outIn {
		K, N = N, K
	}
	rows := len(x) / K
	xs := make([]float64, len(x))
	for i, v := range x {
		xs[i] = float64(onX(v))
	}
	sums := make([]float64, rows*N)
	for k := range K {
		for j := range N {
			at := k*N + j
			if outIn {
				at = j*K + k
			}
			w := float64(onW(W[at]))
			for r := range rows {
				sums[r*N+j] += xs[r*K+k] * w
			}
		}
	}
	out := make([]float32, len(sums))
	for i, v := range sums {
		if bias != nil {
			v += float64(onW(bias[i%N]))
		}
		out[i] = float32(v)
	}
	return out
}

// normed is LayerNorm in float64, of changed weights.
func normed(m *model.Model, stage string, x []float32, eps float64, onW func(float32) float32) []float32 {
	gain, _, _ := m.Weight(stage + ".weight")
	bias, _, _ := m.Weight(stage + ".bias")
	C := len(gain)
	out := make([]float32, len(x))
	for row := 0; row < len(x); row += C {
		var mean, variance float64
		for _, v := range x[row : row+C] {
			mean += float64(v) / float64(C)
		}
		for _, v := range x[row : row+C] {
			variance += (float64(v) - mean) * (float64(v) - mean) / float64(C)
		}
		for i, v := range x[row : row+C] {
			out[row+i] = float32((float64(v)-mean)/math.Sqrt(variance+eps)*float64(onW(gain[i])) + float64(onW(bias[i])))
		}
	}
	return out
}
