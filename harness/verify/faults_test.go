package verify

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/model"
)

// Each fault is found at its own stage, by every engine's golden and by the model
// alone where that can be; it is proven there, and nothing else is blamed.
func TestFaultsAreFoundAtTheirOwnStage(t *testing.T) {
	for _, b := range harnesstest.Draw(gpt2test.Faults, 2, 4) {
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			if b.Reason == "" {
				t.Error("a fault without a reason")
			}
			at := harness.Place{Step: b.Step, Stage: b.Stage}
			m := gpt2test.Tiny(t)
			changes := &changes{tap: plant(m, b), steps: map[int]bool{}, stage: b.Stage}
			s := withTap(t, changes.Tap)
			r, err := s.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := json.Marshal(r); err != nil {
				t.Errorf("report as JSON: %v", err)
			}
			checkRuns(t, s, r, at, changes)

			// The first failure is the fault's own.
			f := r.First
			if f == nil || f.Checkpoint != b.Checkpoint || f.Step != b.Step || f.Stage != b.Stage || f.Engine == Self || f.Begin != "" {
				t.Fatalf("first fails %+v, want checkpoint %d at %s", f, b.Checkpoint, at)
			}
			for _, part := range []string{"its own computation is wrong", "\n  cause: ", b.ID, "got", "want", "go run . compare --golden", " --model synthetic-tiny"} {
				if !strings.Contains(full(*f), part) {
					t.Errorf("report lacks %q:\n%s", part, full(*f))
				}
			}
			alone, inherited, text := false, 0, false
			for _, f := range r.Failures {
				alone = alone || f.Engine == Self && f.Checkpoint == b.Checkpoint && f.Stage == b.Stage && f.Step == b.Step
				text = text || f.Checkpoint == CheckpointCount && f.Kind == otherText
				if strings.Contains(f.Own, "it is correct: the error came in with its inputs") {
					inherited++
				} else if f.Own != "" && f.Stage != b.Stage && !strings.Contains(f.Own, "its own computation is wrong") {
					t.Errorf("%s: %s", f.Name(), f.Own)
				}
				if usual := strings.Contains(full(f), "usual causes: "); usual && f.Engine != Self && f.Checkpoint < CheckpointCount {
					t.Errorf("the usual causes are printed though the fault is known:\n%s", full(f))
				}
			}
			if needed := slices.Contains([]int{3, 9, 10, 11}, b.Checkpoint); needed && !alone {
				t.Error("no failure of its own: these checkpoints need no golden")
			}
			if inherited == 0 && b.Checkpoint < 9 {
				t.Error("nothing inherits the fault")
			}

			// The proof.
			if g := r.Graft; g == nil || !g.Repaired || !slices.Equal(g.Stages, []string{b.Stage}) || (g.Before >= 0) != text || !(g.LogitsAfter < 1e-3) {
				t.Errorf("graft %+v, text wrong %t", g, text)
			}

			if b.Name == "q/k/v order" {
				checkWrapped(t, r)
			}

			// The text has the verdict, then the failure, the proof, where to look, and the table.
			got := textOf(t, r)
			order := []string{
				"FAIL: " + Info(b.Checkpoint).String() + " first fails at hello/",
				"\n" + full(*f), "\nproof: with ", "\nlook at: " + Info(b.Checkpoint).Fix + "\n",
			}
			if text {
				order = append(order, "\nthe text is wrong too: checkpoint 12 (end to end): hello/")
			}
			order = append(order, "\ncheckpoint ") // the table's head
			for from, i := 0, 0; i < len(order); i++ {
				n := strings.Index(got[from:], order[i])
				if n < 0 {
					t.Fatalf("report lacks %q after the others:\n%s", order[i], got)
				}
				from += n
			}
			if first := strings.Index(got, "checkpoint 12 (end to end): "); first >= 0 && first < strings.Index(got, full(*f)) {
				t.Errorf("checkpoint 12 is blamed first:\n%s", got)
			}
		})
	}
}

// checkRuns checks that the comparison with each golden diverges first at the
// fault and that, with a golden's values forced on the model, those stages alone
// are wrong that the fault changed.
func checkRuns(t *testing.T, s *Suite, r *Report, at harness.Place, changes *changes) {
	t.Helper()
	for i, g := range s.Cases[0].Goldens {
		want := at
		if !g.has(at.Step, at.Stage) { // it shows where the stage is read
			want.Stage = nextOf(s, g, at)
		}
		run := r.Runs[i]
		if run.FirstDivergence == nil || *run.FirstDivergence != want || run.Passed() {
			t.Errorf("%s: first divergence %v, want %v", g.Engine, run.FirstDivergence, want)
		}
		var wrong []harness.Place
		for _, in := range run.Introduced {
			if in.Stage != at.Stage && !slices.Contains(in.Span, at.Stage) {
				t.Errorf("%s: %s is introduced, span %v", g.Engine, in.Stage, in.Span)
			}
			wrong = append(wrong, harness.Place{Step: in.Step, Stage: at.Stage})
		}
		forced := s.Cases[0].Goldens[0] // the golden whose values were forced
		var changed []harness.Place
		for step := range s.Cases[0].New {
			if changes.steps[step] && (forced.has(step, at.Stage) || !isLast(at.Stage)) {
				changed = append(changed, harness.Place{Step: step, Stage: at.Stage})
			}
		}
		if diff := cmp.Diff(changed, slices.Compact(wrong)); diff != "" {
			t.Errorf("%s: introduced (-want +got):\n%s", g.Engine, diff)
		}
	}
}

// changes is a tap that notes at which steps another changes a stage.
type changes struct {
	tap   model.Tap
	stage string
	step  int
	steps map[int]bool
}

func (c *changes) Tap(stage string, shape []int, data []float32) {
	if stage == "wte" {
		if c.step++; shape[1] > 1 { // the prompt
			c.step = 0
		}
	}
	if stage != c.stage {
		c.tap(stage, shape, data)
		return
	}
	before := slices.Clone(data)
	c.tap(stage, shape, data)
	if !slices.EqualFunc(before, data, func(a, b float32) bool { return a == b || a != a && b != b }) {
		c.steps[c.step] = true
	}
}

// isLast reports whether no other stage reads it.
func isLast(stage string) bool { return stage == "next_token" || strings.HasPrefix(stage, "probs_t") }

// nextOf returns the first stage after a place that a golden has.
func nextOf(s *Suite, golden *Golden, at harness.Place) string {
	stages := model.StageNames(s.Model.Config(), s.temps)
	for _, stage := range stages[slices.Index(stages, at.Stage)+1:] {
		if golden.has(at.Step, stage) {
			return stage
		}
	}
	return ""
}

// With a golden's values forced on it, no stage of the correct model is wrong.
func TestNothingIsWrongInTheCorrectModel(t *testing.T) {
	t.Parallel()
	s := withTap(t, nil)
	for _, g := range harnesstest.Draw(s.Cases[0].Goldens, 0, 2) {
		rows, causes, err := diagnose.SingleStep(t.Context(), s.Model, g.dump, 2, s.temps, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) < 100 || causes != nil {
			t.Fatalf("%s: only %d rows, or causes %v", g.Engine, len(rows), causes)
		}
		for _, r := range rows {
			if r.Verdict == harness.ReplayIntroduced || r.Verdict == harness.ReplayUnknown {
				t.Errorf("%s: %s: %s, %s", g.Engine, r.Place, r.Verdict, r.Why)
			}
		}
	}
	r, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed() || r.First != nil || r.Graft != nil || r.FirstFailure() != "" {
		t.Errorf("verdict %s, first %+v, graft %v", r.Verdict, r.First, r.Graft)
	}
	checkWrapped(t, r)
}

// A fault of the model's own function is explained too: there the golden is correct,
// and not the model that replays. Fewer bits, which leave the function as wrong as it
// is, are no cause of it, not even in a stage that they do not change.
func TestAFaultOfTheModelIsExplained(t *testing.T) {
	t.Parallel()
	_, weights := tinyFiles(t)
	gain := tensorOf(t, weights, "h.0.ln_1.weight")
	for i := 0; i < len(gain); i += 4 {
		binary.LittleEndian.PutUint32(gain[i:], math.Float32bits(1))
	}
	m, err := model.FromBytes("without gain", gpt2test.Tiny(t).Config(), weights, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	suite := withTap(t, nil)
	all := suite.Cases[0].Goldens[0].dump
	some := gpt2test.Only{Source: all, Keep: func(_ int, stage string) bool {
		return !slices.Contains([]string{"wte", "wpe", "embed"}, stage)
	}}
	for name, golden := range map[string]harness.Source{"of all stages": all, "without what it reads": some} {
		t.Run(name, func(t *testing.T) {
			rows, causes, err := diagnose.SingleStep(t.Context(), m, golden, 2, suite.temps, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				if (r.Verdict == harness.ReplayIntroduced) != (r.Stage == "h.0.ln_1") {
					t.Errorf("%s: %s", r.Place, r.Verdict)
				}
			}
			if len(causes) != 1 || causes[0].Stage != "h.0.ln_1" || causes[0].Fault != "ln_gain_dropped" || causes[0].Explains < 0.99 ||
				strings.Contains(causes[0].Text, "told from") {
				t.Errorf("causes %+v, want that the gain is dropped, and no other", causes)
			}
		})
	}
}

// tensorOf returns the bytes of a tensor in a safetensors file.
func tensorOf(t *testing.T, file []byte, name string) []byte {
	t.Helper()
	n := 8 + binary.LittleEndian.Uint64(file)
	var header map[string]struct {
		Offsets []uint64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(file[8:n], &header); err != nil {
		t.Fatal(err)
	}
	at := header[name].Offsets
	return file[n+at[0] : n+at[1]]
}

// The ways in which checkpoint 12 fails beside other text.
func TestCheckpoint12SaysHowItFails(t *testing.T) {
	t.Parallel()
	noise, cached := 0, 0
	cases := []struct {
		name string
		kind string
		fix  int // the checkpoint that is to be fixed
		tap  model.Tap
	}{
		{"noise from run to run", notDeterministic, 8, func(stage string, _ []int, data []float32) {
			if stage == "ln_f" {
				noise++
				data[noise%len(data)] += 100
			}
		}},
		{"NaN in the middle", wrongLength, 9, func(stage string, shape []int, data []float32) {
			if stage == "h.0.attn.cache_k" {
				cached = shape[2]
			}
			if stage == "logits_last" && cached > 5 {
				data[7] = float32(math.NaN())
			}
		}},
	}
	for _, tt := range harnesstest.Draw(cases, 0, 2) {
		t.Run(tt.name, func(t *testing.T) {
			s := withTap(t, tt.tap)
			s.Cases[0].Goldens = s.Cases[0].Goldens[:1]
			found, err := s.Check(t.Context(), CheckpointCount)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(found, func(f Finding) bool { return f.Failed && f.Kind == tt.kind })
			if i < 0 {
				t.Fatalf("no failure of kind %q in %+v", tt.kind, found)
			}
			for _, cause := range texts.Causes[tt.kind] {
				if !strings.Contains(full(found[i]), cause) {
					t.Errorf("report lacks %q:\n%s", cause, full(found[i]))
				}
			}
			r, err := s.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if want := "\nlook at: " + Info(tt.fix).Fix; !strings.Contains(textOf(t, r), want) {
				t.Errorf("report lacks %q:\n%s", want, textOf(t, r))
			}
		})
	}
}

// Several stages are grafted where one is not enough, and the proof says so where
// none are.
func TestGraftOfSeveralStages(t *testing.T) {
	if testing.Short() {
		t.Skip("short: several runs of the model")
	}
	t.Parallel()
	m := gpt2test.Tiny(t)
	gelu := func(layer string) gpt2test.Fault {
		return gpt2test.Fault{Stage: "h." + layer + ".mlp.act", ID: "gelu_erf"}
	}
	noise := 0
	everywhere := func(stage string, _ []int, data []float32) {
		if strings.Contains(stage, "c_") || strings.HasPrefix(stage, "ln") || strings.Contains(stage, "attn") || strings.Contains(stage, "resid") {
			noise++
			data[noise%len(data)] += 3
		}
	}
	for _, tt := range []struct {
		name     string
		tap      model.Tap
		stages   int
		want     string // stages, if all is repaired
		sentence string
	}{
		{"the same in every layer", plant(m, gelu("0"), gelu("1"), gelu("2")), 1,
			"h.*.mlp.act", "values written over h.*.mlp.act (30 tensors of case hello), every stage"},
		{"two at different stages", plant(m, gpt2test.Named("q/k/v order"), gpt2test.Named("missing residual, later block")), 2,
			"h.0.attn.q h.2.resid_post", "the text is correct"},
		{"more than grafts can mend", everywhere, maxGrafts, "", "that is not all"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := withTap(t, tt.tap)
			c := s.Cases[0]
			got, err := s.graft(t.Context(), c, c.Goldens[slices.IndexFunc(c.Goldens, func(g *Golden) bool { return g.Engine == "float64" })])
			if err != nil {
				t.Fatal(err)
			}
			if got == nil || len(got.Stages) != tt.stages || got.Repaired != (tt.want != "") || !strings.Contains(got.String(), tt.sentence) {
				t.Fatalf("%+v: %s", got, got)
			}
			if tt.want != "" && (strings.Join(got.Stages, " ") != tt.want || got.Next != "" || got.After >= 0) {
				t.Errorf("%+v, want a repair by %s", got, tt.want)
			}
		})
	}
}
