package pictures

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/report/page"
)

// compared returns the comparison of a candidate with a committed golden of three layers, by
// the stages that need no weights, and its page.
func compared(t *testing.T, s *harness.Schedule, candidate harness.Source) (*diagnose.Result, *page.Page) {
	t.Helper()
	golden := gpt2test.Golden(t, s, "synthetic-tiny/hello/float64")
	r, err := diagnose.Compare(t.Context(), diagnose.Comparison{
		Schedule: s, Candidate: candidate, Precision: gpt2.Float32,
		Goldens: []diagnose.EngineResult{{Engine: "float64", Source: golden}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := OfComparison(r, Options{Version: "version 1", Line: "compare this", Closer: "compare closer"})
	if err != nil {
		t.Fatal(err)
	}
	return r, p
}

// altered is a source of which some tensors are others.
type altered struct {
	harness.Source
	edit func(at harness.Place, t harness.Tensor) harness.Tensor
}

func (a altered) Tensor(step int, stage string) (harness.Tensor, error) {
	t, err := a.Source.Tensor(step, stage)
	t.F32 = slices.Clone(t.F32)
	return a.edit(harness.Place{Step: step, Stage: stage}, t), err
}

func TestPageOfAComparison(t *testing.T) {
	s := gpt2.Schedule(3, nil)
	candle := gpt2test.Golden(t, s, "synthetic-tiny/hello/candle")
	wrong := harness.Place{Step: 2, Stage: "h.1.mlp.act"}
	r, p := compared(t, s, altered{candle, func(at harness.Place, t harness.Tensor) harness.Tensor {
		if at == wrong {
			t.F32[7] += 3
		}
		return t
	}})
	run := p.Runs[0]
	for i := range r.Stages {
		row := &r.Stages[i]
		step := slices.IndexFunc(run.Steps, func(x page.Step) bool { return x.N == row.Step })
		stage := slices.IndexFunc(run.Stages, func(x page.Stage) bool { return x.Name == row.Stage })
		at := step*len(run.Stages) + stage
		want := map[harness.Status]byte{harness.Pass: 'p', harness.Fail: 'f', harness.Missing: 'm'}[row.Status]
		if got := run.Layers[0].Status[at]; got != want {
			t.Errorf("%s is %s, and %q on the map", row.Place, row.Status, got)
		}
		if row.Status.Compared() && float64(run.Layers[0].Share[at]) != row.Share() {
			t.Errorf("%s: share %v, and %v on the map", row.Place, row.Share(), run.Layers[0].Share[at])
		}
	}
	if at := run.Stages[run.Start%len(run.Stages)].Name; at != wrong.Stage || run.Start/len(run.Stages) != 2 {
		t.Errorf("cell %d is opened, %s", run.Start, at)
	}
	card := slices.IndexFunc(run.Cards, func(c page.Card) bool { return c.Cell == run.Start })
	if card < 0 || run.Cards[card].Golden == nil || run.Cards[card].Golden.Values.Head[run.Cards[card].Golden.Values.At] != "7" {
		t.Fatalf("card %d of %d does not show the worst value", card, len(run.Cards))
	}
	if p.Verdict.State != page.Failed || !strings.Contains(p.Verdict.Lines[0], "h.1.mlp.act") || p.Verdict.Closer.Line != "compare closer" {
		t.Errorf("verdict %+v", p.Verdict)
	}
	if len(p.Findings) != 1 || p.Findings[0].Cell != run.Start {
		t.Errorf("findings %+v", p.Findings)
	}
	if i := slices.IndexFunc(p.Beside, func(b page.Beside) bool { return b.What == "not replayed" }); i < 0 {
		t.Errorf("beside the verdict: %+v", p.Beside)
	}
	if len(run.Tokens) != 10 || run.Tokens[0].Note != diagnose.Certified || !strings.HasSuffix(run.Tokens[0].Got, " 38179") {
		t.Errorf("tokens %+v", run.Tokens)
	}
	if run.Steps[0].Label != "step 0, positions 0–1" || run.Steps[3].Label != "step 3, position 4" {
		t.Errorf("steps %+v", run.Steps)
	}
}

func TestPageWithNaNAndOtherShape(t *testing.T) {
	s := gpt2.Schedule(3, nil)
	candle := gpt2test.Golden(t, s, "synthetic-tiny/hello/candle")
	_, p := compared(t, s, altered{candle, func(at harness.Place, t harness.Tensor) harness.Tensor {
		if at.Stage == "h.2.ln_1" {
			t.F32[0] = float32(math.NaN())
		}
		return t
	}})
	var out bytes.Buffer
	if err := page.Write(&out, p); err != nil {
		t.Fatal(err)
	}
	if run := p.Runs[0]; !strings.Contains(string(run.Layers[0].Status), "n") {
		t.Error("nothing is not finite on the map")
	}
}

// wrongMedium returns the comparison of a run of GPT-2 Medium's shape of which everything is
// wrong, by five engines.
func wrongMedium(t *testing.T) *diagnose.Result {
	t.Helper()
	s := gpt2.Schedule(24, nil)
	source := func(name string, by float32) harness.Source {
		have := harnesstest.Steps{}
		for step := range 10 {
			have[step] = map[string]harness.Tensor{}
			for i, st := range s.Stages() {
				x := harness.Tensor{Shape: []int{1, 2, 96}}
				if st.IDs {
					x = harness.Tensor{Shape: []int{1}, I64: []int64{int64(i)}}
				}
				for k := range 192 {
					if !st.IDs {
						x.F32 = append(x.F32, float32(k)*(1+by*float32(i+step+k%7+1)))
					}
				}
				have[step][st.Name] = x
			}
		}
		return harnesstest.Source(s, name, [][]int{make([]int, 12)}, have)
	}
	c := diagnose.Comparison{Schedule: s, Candidate: source("candidate", 0.001), CompareOptions: harness.CompareOptions{Prompt: 2}}
	r := &diagnose.Result{}
	for i := range 5 {
		g := diagnose.EngineResult{Engine: fmt.Sprint("engine", i), Source: source("golden", float32(i)*1e-4)}
		var err error
		if g.Report, err = harness.Compare(s, g.Source, c.Candidate, c.CompareOptions); err != nil {
			t.Fatal(err)
		}
		r.Engines = append(r.Engines, g)
	}
	whole := *r.Engines[0].Report
	for i := range whole.Stages {
		row := &whole.Stages[i]
		whole.Replayed = append(whole.Replayed, harness.Replayed{Row: *row, Verdict: harness.ReplayIntroduced, Span: []string{row.Stage}})
		whole.Introduced = append(whole.Introduced, harness.Introduced{Step: row.Step, Stage: row.Stage, Span: []string{row.Stage}})
	}
	r.Report = &whole
	r.Judged = []diagnose.Judged{{Comparison: c, Report: r.Report, Engines: r.Engines}}
	return r
}

// The page of a comparison of GPT-2 Medium's shape is below a megabyte.
func TestPageIsSmall(t *testing.T) {
	r := wrongMedium(t)
	p, err := OfComparison(r, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := page.Write(&out, p); err != nil {
		t.Fatal(err)
	}
	if rows := len(r.Stages); rows < 4000 || out.Len() > 1_000_000 {
		t.Errorf("%d rows: %d bytes", rows, out.Len())
	}
	if n := len(p.Runs[0].Cards); n < 5 {
		t.Errorf("%d cards", n)
	}
	t.Logf("%d bytes, %d cards", out.Len(), len(p.Runs[0].Cards))
}

// Only the first token of a row that is not the golden's is where they part.
func TestTokensPartOnce(t *testing.T) {
	s := gpt2.Schedule(3, nil)
	candle := gpt2test.Golden(t, s, "synthetic-tiny/hello/candle")
	_, p := compared(t, s, altered{candle, func(at harness.Place, t harness.Tensor) harness.Tensor {
		if t.I64 = slices.Clone(t.I64); at.Step >= 3 && at.Stage == "next_token" {
			t.I64[0] = 5
		} else if at.Step >= 3 && at.Stage == "logits_last" {
			t.F32[5] = 1e6
		}
		return t
	}})
	for _, x := range p.Runs[0].Tokens {
		if x.Parts != (x.Step == 3) || x.Same != (x.Step < 3) {
			t.Errorf("%+v", x)
		}
	}
}

// Contradictions that are alike are one finding, and what is listed as wrong itself is none.
func TestContradictions(t *testing.T) {
	v := func(step int, stage, rule string) harness.Violation {
		return harness.Violation{Place: harness.Place{Step: step, Stage: stage}, Rule: rule}
	}
	r := &harness.Report{
		Introduced: []harness.Introduced{{Step: 0, Stage: "h.0.attn.scores"}},
		Violations: []harness.Violation{
			v(0, "h.0.attn.scores", "does not follow from h.0.attn.q"), v(0, "h.1.attn.scores", "does not follow from h.1.attn.q"),
			v(0, "logits_last", "is not the last row"), v(1, "h.0.attn.scores", "does not follow from h.0.attn.q"),
			v(1, "h.1.attn.scores", "is another"),
		},
	}
	if got := fmt.Sprint(contradictions(r)); got != "[[1 3] [2] [4]]" {
		t.Errorf("groups %s", got)
	}
	b := &builder{report: r}
	all := b.findings(0)
	if len(all) != 4 || all[1].Stage != "h.1.attn.scores" || !slices.Contains(all[1].Notes, "and at 1 more place") {
		t.Errorf("%+v", all)
	}
}
