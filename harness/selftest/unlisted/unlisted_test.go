package unlisted

import (
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/report"
)

// TestEveryFaultIsSeen: each fault moves a stage by more than 20 tolerances in a model, or says
// why it does not; in every model, or says so.
func TestEveryFaultIsSeen(t *testing.T) {
	most := map[string]float64{}
	for _, c := range Shapes {
		r, err := newRunner(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range All() {
			_, _, v, err := r.withFaults(t.Context(), false, f)
			if err != nil {
				t.Fatal(err)
			}
			moved := v.planted[0].moved
			if moved <= 20 && f.Identity == "" {
				t.Errorf("%s moves %s by %.3g tolerances in %s, and does not say why", f.ID, f.Stages, moved, nameOf(c))
			}
			most[f.ID] = max(most[f.ID], moved)
		}
	}
	for _, f := range All() {
		if few := f.ID == "gelu_0_0447" || f.ID == "gelu_root_0_8"; few != (most[f.ID] <= 20) {
			t.Errorf("%s: %.3g tolerances at most: %s", f.ID, most[f.ID], f.Identity)
		}
	}
}

// TestNoneIsOfTheCatalogue: no fault gives what one of the catalogue gives at every place that
// it changes.
func TestNoneIsOfTheCatalogue(t *testing.T) {
	for _, c := range Shapes {
		r, err := newRunner(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range All() {
			same := map[string]bool{}
			for _, k := range faults.Catalogue() {
				if k.Kind != faults.Padding && !slices.Contains(f.Alike, k.ID) {
					same[k.ID] = true
				}
			}
			changed := 0
			rows := tokens(c, f.Batch)
			_, err := r.record(t.Context(), f.Batch, false, func(at harness.Place, ctx *faults.Context) []float32 {
				if !f.At(at.Step, at.Stage) {
					return nil
				}
				out := f.Output(newSite(at, ctx, rows))
				if out == nil || r.distance(at.Stage, ctx.Right(), out) < 1 {
					return out
				}
				changed++
				for id := range same {
					k, _ := faults.ByID(id)
					x := []float32(nil)
					if k.At(at.Stage) {
						x = k.Output(ctx)
					}
					if len(x) != len(out) || r.distance(at.Stage, out, x) >= 1 {
						delete(same, id)
					}
				}
				return out
			})
			if err != nil {
				t.Fatal(err)
			}
			for id := range same {
				if changed > 0 {
					t.Errorf("%s is %s in %s", f.ID, id, nameOf(c))
				}
			}
		}
	}
}

// TestList: ids are unique, every kind has faults, and none lacks words.
func TestList(t *testing.T) {
	seen, kinds := map[string]bool{}, map[Kind]int{}
	for _, f := range All() {
		if seen[f.ID] || len(f.Words) == 0 || f.Output == nil {
			t.Errorf("%s is there twice, or lacks words or an output", f.ID)
		}
		if uses := strings.Contains(strings.Join(f.Words, "|"), "#"); uses != (f.Number != nil) {
			t.Errorf("%s: # in its words is %t", f.ID, uses)
		}
		if _, err := faults.ByID(f.ID); err == nil {
			t.Errorf("%s is the id of a fault of the catalogue", f.ID)
		}
		seen[f.ID] = true
		kinds[f.Kind]++
	}
	for _, k := range Kinds {
		if kinds[k] < 5 {
			t.Errorf("%d faults of %s, want 5 at least", kinds[k], k)
		}
	}
}

// TestWords: what a useful answer says, and what is none.
func TestWords(t *testing.T) {
	c := Shapes[0] // of three layers and D = 12
	for _, x := range []struct {
		words string // groups, apart by /
		text  string
		want  bool
	}{
		{"#", "resid_mid = x + 0.408·branch", true},
		{"1/#", "the branch is divided by 2.449", true},
		{"1/#", "the branch is divided by 2.4", false},
		{"√(2L)", "1/√(2l) times the branch", true},
		{"2", "h.2.ln_1 of layer_2", false},
		{"2/wte", "wte counts 2 times", true},
		{"2/wpe", "wte counts 2 times", false},
		{"-1", "the bias is added −1 times", true},
		{"0", "keys 0-2 are left out", true},
		{"2", "keys 0-2 are left out", true},
		{"=1.7", "x·sigmoid(1.702·x)", false},
		{"=1.7", "x·sigmoid(1.7·x)", true},
		{"v", "the v third", true},
		{"v", "values", false},
		{"elu", "gelu in the place of gelu_new", false},
		{"row", "rows 2 to 4", true},
		{"²", "gain²", true},
		{"+1", "rows do not sum to 1", false},
		{"+1", "softmax has exp(x)/(sum+1)", true},
		{"mean|average/part", "part of the average", true},
	} {
		f := Fault{Words: strings.Split(x.words, "/"), Number: rootLayers}
		if strings.HasPrefix(x.words, "1/#") {
			f.Words = []string{"1/#"}
		}
		if got := f.says(x.text, c); got != x.want {
			t.Errorf("%q in %q: %t, want %t", x.words, x.text, got, x.want)
		}
	}
}

// TestAnswers: what is left of a text without statistics, and what is false in it.
func TestAnswers(t *testing.T) {
	for text, want := range map[string]string{
		"no known fault gives this output. 3 of 9 values wrong; the error's rms is 2; the cosine of the two is 0.9":                          "",
		"no known fault and no fit gives this output: 3 of 9 values wrong, in head 1; off by 2% of the output's size; it is right at step 0": "",
		"3 of 9 values wrong; 2 values, 22% of all, are 0 where the right values are not; all is 0 in head 1; nothing is wrong in head 0":    "",
		"3 of 9 values wrong; more of the error than elsewhere is in heads 1, 2: 70%; the error is spread over positions alike":              "",
		"no known fault; the output is 0.5 times the correct one":                                                                            "the output is 0.5 times the correct one",
	} {
		if got := answer(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	f := Fault{Words: []string{"clip"}, Not: []string{"overflow"}}
	for text, want := range map[string]int{
		"clipped at 3":      0,
		"look for bfloat16": 1,
		"The nearest known fault, bfloat16_weights":     0,
		"infinities: float16 overflows at 65504":        2,
		"clipped; look for a second fault once this is": 1,
	} {
		if got := f.claims(text, true); len(got) != want {
			t.Errorf("%q: false is %q, want %d", text, got, want)
		}
	}
}

// TestRun: the matrix has every fault, or one of so many, right engines raise no alarm, and what fails is said.
// The floors are for selftest --unlisted to hold.
func TestRun(t *testing.T) {
	last, oneOf := 0, 16
	if harnesstest.Full() {
		oneOf = 1
	}
	m, err := runIn(t.Context(), Shapes[:1], oneOf, func(done, all int) { last = all - done })
	if err != nil || last != 0 {
		t.Fatalf("error %v, %d runs left", err, last)
	}
	full, modules := m.totals()
	if n := len(All()) / oneOf; full.Runs < n*9/10 || modules.Runs < n*8/10 || m.Pairs.Runs < pairs/4/oneOf {
		t.Errorf("%d runs of full dumps, %d of modules' outputs, %d pairs, of %d", full.Runs, modules.Runs, m.Pairs.Runs, n)
	}
	for _, c := range m.Right {
		if c.Alarms > 0 || c.Runs != 2 {
			t.Errorf("%s: %d runs, %d alarms", c.Engine, c.Runs, c.Alarms)
		}
	}
	if wrong := len(m.Open) - (full.Runs + modules.Runs + m.Pairs.Runs - full.Words - modules.Words - m.Pairs.Words); wrong != 0 {
		t.Errorf("%d runs too many are listed as open", wrong)
	}
	var text strings.Builder
	if err := m.WriteText(&text, report.Style{}); err != nil {
		t.Fatal(err)
	}
	for _, k := range Kinds {
		if !strings.Contains(text.String(), string(k)+" ") {
			t.Errorf("the text has no %s", k)
		}
	}
}

// TestFloors: each floor fails alone.
func TestFloors(t *testing.T) {
	right := Tally{Runs: 20, Words: 20}
	for _, x := range []struct {
		full, modules, pairs Tally
		alarms, failed       int
	}{
		{right, right, right, 0, 0},
		{Tally{Runs: 20, Words: 17}, Tally{Runs: 20, Words: 15}, Tally{Runs: 20, Words: 15}, 0, 0},
		{Tally{Runs: 20, Words: 16}, right, right, 0, 1},
		{right, Tally{Runs: 20, Words: 14}, right, 0, 1},
		{right, right, Tally{Runs: 20, Words: 14}, 0, 1},
		{Tally{Runs: 20, Words: 19, False: 1}, right, right, 0, 1},
		{right, right, right, 1, 1},
		{Tally{}, right, right, 0, 1},
	} {
		m := &Matrix{Kinds: []Row{{Kind: Sums, Full: x.full, Modules: x.modules}}, Pairs: x.pairs}
		if m.judge(x.alarms); len(m.Failed) != x.failed || m.Passed() != (x.failed == 0) {
			t.Errorf("%+v: failed is %q", x, m.Failed)
		}
	}
}
