package gpt2

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/model"
)

const goldensDir = "../../goldens"

// bug is a fault planted through the tap: the live buffer of one stage is
// replaced by what a faulty stage would have put there.
type bug struct {
	name, stage string
	reason      string // why this is a fault that somebody makes
	checkpoint  int
	step        int // the first step that shows it
	plant       func(p *planter, shape []int, data []float32)
}

var bugs = []bug{
	{"unbiased variance", "h.1.ln_1", "the default of torch.var and of many a statistics library", 1, 0,
		func(p *planter, _ []int, data []float32) {
			x, gain, bias := p.seen["h.0.resid_post"], p.weight("h.1.ln_1.weight"), p.weight("h.1.ln_1.bias")
			c := len(gain)
			for row := 0; row < len(x); row += c {
				var mean, variance float64
				for _, v := range x[row : row+c] {
					mean += float64(v) / float64(c)
				}
				for _, v := range x[row : row+c] {
					variance += (float64(v) - mean) * (float64(v) - mean) / float64(c-1)
				}
				for i, v := range x[row : row+c] {
					data[row+i] = float32((float64(v)-mean)/math.Sqrt(variance+p.m.Config().Eps))*gain[i] + bias[i]
				}
			}
		}},
	{"missing c_attn bias", "h.1.attn.c_attn", "h.N.attn.bias, the mask buffer, is taken for it", 2, 0,
		func(p *planter, _ []int, data []float32) {
			bias := p.weight("h.1.attn.c_attn.bias")
			for i := range data {
				data[i] -= bias[i%len(bias)]
			}
		}},
	{"q/k/v order", "h.0.attn.q", "k, q, v is as plausible a split", 2, 0,
		func(p *planter, shape []int, data []float32) {
			h, t, d := shape[1], shape[2], shape[3]
			for i := range data {
				head, row := i/(t*d)%h, i/d%t
				data[i] = p.seen["h.0.attn.c_attn"][row*3*h*d+h*d+head*d+i%d]
			}
		}},
	{"scale 1/D", "h.2.attn.scores", "the root is forgotten", 4, 0,
		func(p *planter, _ []int, data []float32) {
			d := float64(p.m.Config().Embd / p.m.Config().Heads)
			for i := range data {
				data[i] = float32(float64(data[i]) / math.Sqrt(d))
			}
		}},
	{"mask hides the diagonal", "h.0.attn.scores", "j < i for j <= i", 4, 0,
		func(p *planter, shape []int, data []float32) {
			t, s := shape[2], shape[3]
			for i := range data {
				if i%s == s-t+i/s%t {
					data[i] = float32(math.Inf(-1))
				}
			}
		}},
	{"mask shows one to come", "h.0.attn.scores", "j <= i+1 for j <= i", 4, 0,
		func(p *planter, shape []int, data []float32) {
			h, t, s := shape[1], shape[2], shape[3]
			q, k := p.seen["h.0.attn.q"], p.seen["h.0.attn.cache_k"]
			d := len(q) / (shape[0] * h * t)
			for i := range data {
				if i%s == s-t+i/s%t+1 {
					head, row := i/(t*s), i/s%t
					data[i] = float32(dot(q[(head*t+row)*d:][:d], k[(head*s+i%s)*d:][:d]) / math.Sqrt(float64(d)))
				}
			}
		}},
	{"erf GELU", "h.1.mlp.act", "the default of torch.nn.GELU", 6, 0,
		func(p *planter, _ []int, data []float32) {
			for i, x := range p.seen["h.1.mlp.c_fc"] {
				data[i] = float32(0.5 * float64(x) * (1 + math.Erf(float64(x)/math.Sqrt2)))
			}
		}},
	{"cache written at 0", "h.1.attn.cache_k", "the position is not passed on to the append", 3, 1,
		func(p *planter, shape []int, data []float32) {
			s, d := shape[2], shape[3]
			if s == len(p.seen["h.1.attn.k"])/(shape[0]*shape[1]*d) {
				return // the prompt: position 0 is right
			}
			for head := range shape[0] * shape[1] {
				rows := data[head*s*d : (head+1)*s*d]
				copy(rows[:d], rows[(s-1)*d:])
				clear(rows[(s-1)*d:])
			}
		}},
	{"missing residual", "h.0.resid_mid", "attention's output is taken for the block's", 7, 0,
		func(p *planter, _ []int, data []float32) { copy(data, p.seen["h.0.attn.c_proj"]) }},
	{"missing residual, later block", "h.2.resid_post", "the same, where only the last block does it", 8, 0,
		func(p *planter, _ []int, data []float32) { copy(data, p.seen["h.2.mlp.c_proj"]) }},
	{"last-but-one logits", "logits_last", "the prompt's length is taken for an index from 1", 9, 0,
		func(p *planter, shape []int, data []float32) {
			all, v := p.seen["logits"], shape[1]
			if rows := len(all) / v; rows > 1 {
				copy(data, all[(rows-2)*v:])
			}
		}},
	{"argmin", "next_token", "the sign of the score", 10, 0,
		func(p *planter, _ []int, data []float32) {
			logits := p.seen["logits_last"]
			data[0] = float32(slices.Index(logits, slices.Min(logits)))
		}},
	{"inverted temperature", "probs_t2", "logits are multiplied by it", 11, 0,
		func(p *planter, _ []int, data []float32) {
			model.Softmax(data, p.seen["logits_last"], 0.5)
		}},
}

// planter is a tap that remembers what the stages before have put out.
type planter struct {
	m    *model.Model
	bug  bug
	seen map[string][]float32
}

func (p *planter) weight(name string) []float32 {
	data, _, ok := p.m.Weight(name)
	if !ok {
		panic(name)
	}
	return data
}

func (p *planter) tap(stage string, shape []int, data []float32) {
	if stage == p.bug.stage {
		p.bug.plant(p, shape, data)
	}
	p.seen[stage] = append(p.seen[stage][:0], data...)
}

// tiny is synthetic-tiny with the one case that has every stage at every step,
// shared by the tests, which run one after the other.
func tiny(t *testing.T) *Suite {
	t.Helper()
	s, err := openTiny()
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Cases) != 1 || len(s.Cases[0].Goldens) < 2 {
		t.Fatalf("goldens of case hello from several engines are missing in %s", goldensDir)
	}
	return s
}

var openTiny = sync.OnceValues(func() (*Suite, error) {
	s, err := Open(Options{Model: "synthetic-tiny", Goldens: goldensDir})
	if err == nil {
		s.Cases = slices.DeleteFunc(s.Cases, func(c *Case) bool { return c.Name != "hello" })
		s.figures = nil // they are judged in figures_test.go
	}
	return s, err
})

// plant lets the suite run its case again, with another bug.
func (s *Suite) plant(b bug) {
	p := &planter{m: s.Model, bug: b, seen: map[string][]float32{}}
	s.tap = p.tap
	for _, c := range s.Cases {
		c.stages, c.text = nil, nil
	}
}

func TestPlantedBugsAreFoundAtTheirOwnStage(t *testing.T) {
	s := tiny(t)
	for _, b := range bugs {
		t.Run(b.name, func(t *testing.T) {
			if b.reason == "" {
				t.Error("a bug without a reason")
			}
			s.plant(b)
			found, err := s.Check(t.Context(), b.checkpoint)
			if err != nil {
				t.Fatal(err)
			}
			want := harness.Place{Step: b.step, Stage: b.stage}
			for i, r := range s.Cases[0].stages.reports {
				golden, want := s.Cases[0].Goldens[i], want
				if !golden.has(want.Step, want.Stage) {
					// mistral.rs never has scores: with it the bug shows where they are used
					want.Stage = nextOf(s, golden, want)
				}
				if r.FirstDivergence == nil || *r.FirstDivergence != want || r.Passed() {
					t.Errorf("%s: first divergence %v, want %v", golden.Engine, r.FirstDivergence, want)
				}
			}
			f := s.first(found)
			if f == nil || f.Step != b.step || f.Stage != b.stage || f.Engine == Self {
				t.Fatalf("%s first fails at %+v, want %s", Describe(b.checkpoint), f, want)
			}
			// The exact halves of these need no golden.
			if alone := slices.Contains([]int{3, 9, 10, 11}, b.checkpoint); alone && !slices.ContainsFunc(found, func(f Finding) bool {
				return f.Failed && f.Engine == Self && f.Stage == b.stage && f.Step == b.step
			}) {
				t.Errorf("%s: no failure of its own at %s", Describe(b.checkpoint), want)
			}
			if f.Begin != "" {
				t.Errorf("the first divergence points to an earlier one: %s", f.Begin)
			}
			report := f.Report()
			for _, part := range append(Describe(b.checkpoint).Causes, "got", "want", "go run . compare") {
				if !strings.Contains(report, part) {
					t.Errorf("report lacks %q:\n%s", part, report)
				}
			}
		})
	}
}

// nextOf is the first stage behind a place that a golden has.
func nextOf(s *Suite, golden *Golden, at harness.Place) string {
	stages := model.StageNames(s.Model.Config(), s.Cases[0].temperatures)
	for _, stage := range stages[slices.Index(stages, at.Stage)+1:] {
		if golden.has(at.Step, stage) {
			return stage
		}
	}
	return ""
}

func TestCheckpoint12SaysHowItFails(t *testing.T) {
	s := tiny(t)
	noise := 0
	find := func(name string) bug {
		return bugs[slices.IndexFunc(bugs, func(b bug) bool { return b.name == name })]
	}
	for _, tt := range []struct {
		name, kind string
		bug        bug
		walk       string // the checkpoint at which the walk ends
		causes     []string
	}{
		{"missing residual", "other text", find("missing residual"), "fix: " + Describe(7).Fix, otherText.causes},
		{"cache written at 0", "other text", find("cache written at 0"), "fix: " + Describe(3).Fix, otherText.causes},
		{"noise from run to run", "not deterministic", bug{stage: "ln_f", plant: func(_ *planter, _ []int, data []float32) {
			noise++
			data[noise%len(data)] += 100
		}}, "fix: " + Describe(8).Fix, notDeterministic.causes},
		{"NaN in the middle", "wrong length", bug{stage: "logits_last", plant: func(p *planter, _ []int, data []float32) {
			if len(p.seen["h.0.attn.cache_k"]) > 5*80 {
				data[7] = float32(math.NaN())
			}
		}}, "fix: " + Describe(9).Fix, wrongLength.causes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.plant(tt.bug)
			found, err := s.Check(t.Context(), 12)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(found, func(f Finding) bool { return f.Failed && f.Kind == tt.kind })
			if i < 0 {
				t.Fatalf("no failure of kind %q in %v", tt.kind, failed(found))
			}
			for _, cause := range tt.causes {
				if !strings.Contains(found[i].Report(), cause) {
					t.Errorf("report lacks %q:\n%s", cause, found[i].Report())
				}
			}
			walk, err := s.Walk(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(walk, tt.walk) {
				t.Errorf("walk does not end with %q:\n%s", tt.walk, walk)
			}
		})
	}
}

func TestVerifySaysWhatFailsFirst(t *testing.T) {
	s := tiny(t)
	s.plant(bugs[slices.IndexFunc(bugs, func(b bug) bool { return b.name == "erf GELU" })])
	r, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := r.WriteText(&text, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "FAIL: checkpoint 6 (feed-forward) first fails at hello/") ||
		!strings.Contains(last, "step_00/h.1.mlp.act") {
		t.Errorf("last line %q", last)
	}
	if before := lines[len(lines)-2]; before != "fix: "+Describe(6).Fix {
		t.Errorf("line before the last %q", before)
	}
	if !r.Failed() || r.First == nil || r.First.Stage != "h.1.mlp.act" {
		t.Errorf("verdict %s, first %+v", r.Verdict, r.First)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Errorf("report of a failure as JSON: %v", err)
	}
}

func failed(found []Finding) (all []string) {
	for _, f := range found {
		if f.Failed {
			all = append(all, fmt.Sprintf("%s %s", f.Kind, f.Name()))
		}
	}
	return all
}
