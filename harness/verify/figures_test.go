package verify

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/verify/figures"
	"checkpoint12/model"
)

// allFigures is every figure that synthetic-tiny has but those of single tensors,
// with its checkpoint: whatever kind the released models have is among them.
var allFigures = map[string]int{
	"weights.sha256": CheckWeights, "weights.bytes": CheckWeights,
	"ln_f.first4": 8, "ln_f.absmax": 8, "ln_f.absmax_channel": 8, "ln_f.l2": 8, "ln_f_hello_world.first10": 8,
	"logits.top3": 8, "logits.first4": 8, "logits.last": 8,
	"next_logit.logit":  9,
	"logits.top3_ids":   10,
	"logits.top1_id":    10,
	"next_logit.argmax": 10,
	"logits.logsumexp":  11, "logits.top3_probs": 11, "logits.mean_nll": 11, "token_logprobs.logprobs": 11, "token_logprobs.sum": 11,
	"greedy.hello": 12, "greedy.once-upon": 12, "greedy.once-upon-begin": 12, "greedy.the-dog": 12,
}

// figuresOnly is a folder of goldens with nothing but the figures of synthetic-tiny.
func figuresOnly(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(gpt2test.Dir, "synthetic-tiny", figures.FileName))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	write(t, filepath.Join(root, "synthetic-tiny", figures.FileName), data)
	return root
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// withFigures returns a suite of synthetic-tiny with its figures and no golden.
func withFigures(t testing.TB, tap model.Tap) *Suite {
	t.Helper()
	s, err := open(gpt2test.Tiny(t), Options{Model: "synthetic-tiny", Goldens: figuresOnly(t), Command: "go run .", Tap: tap})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func failed(found []Finding) (names []string) {
	for _, f := range found {
		if f.Failed {
			names = append(names, f.Figure)
		}
	}
	return names
}

func TestFiguresOfTheGoModel(t *testing.T) {
	t.Parallel()
	s := withFigures(t, nil)
	r, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed() {
		t.Errorf("figures of reference/float64 fail on the Go model: %s", full(*r.First))
	}
	checkWrapped(t, r)
	for _, c := range r.Checkpoints {
		want := NotChecked
		if c.Checkpoint >= 8 {
			want = harness.VerdictPass
		}
		if c.Verdict != want {
			t.Errorf("%s: %s, want %s", Info(c.Checkpoint), c.Verdict, want)
		}
	}
	got := map[string]int{}
	tensors := 0
	for _, f := range r.figures {
		if f.Source == "" || f.Elements == 0 || f.Engine != Figures {
			t.Errorf("%s: source %q, %d values, engine %s", f.Figure, f.Source, f.Elements, f.Engine)
		}
		if f.Checkpoint == CheckWeights && f.Elements == 4 {
			tensors++
		} else if f.Case != "logits" || f.Stage != "logits_last" { // 8's again, of the last position
			got[f.Figure] = f.Checkpoint
		}
	}
	if diff := cmp.Diff(allFigures, got); diff != "" {
		t.Errorf("figures checked (-want +got):\n%s", diff)
	}
	if want := 12*s.Model.Config().Layers + 4; tensors != want {
		t.Errorf("%d tensors summed, want all %d", tensors, want)
	}
	text := textOf(t, r)
	for _, want := range []string{"weights", "reference/float64/figures.py", "; by figures\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("report lacks %q:\n%s", want, text)
		}
	}
}

// Each number of a figure passes, moved by half of its tolerance fails nothing, and
// moved by 1.2 of it fails its figure; another id fails it too. A failure says who
// published the figure, and what was found, wanted and allowed.
func TestEachValuePerturbedFails(t *testing.T) {
	t.Parallel()
	s := withFigures(t, nil)
	read, err := s.readFigures(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if bad := failed(s.judgeFigures(read)); bad != nil {
		t.Fatalf("unperturbed: %v", bad)
	}
	for i := range read {
		r := &read[i]
		// fails reports whether the figure itself does, and whether another one does.
		fails := func() (itself, others bool) {
			for j, f := range s.judgeFigures(read) {
				itself = itself || j == i && f.Failed
				others = others || j != i && f.Failed
				if j == i && f.Failed {
					text := full(f)
					for _, part := range []string{f.Source, f.Figure[strings.Index(f.Figure, ".")+1:], "got ", "want ", "compare --golden"} {
						if !strings.Contains(text, part) {
							t.Errorf("report lacks %q:\n%s", part, text)
						}
					}
					if !r.Reduce.Indices() && !strings.Contains(text, "allowed") {
						t.Errorf("report lacks the tolerance:\n%s", text)
					}
				}
			}
			return itself, others
		}
		for k, was := range r.Want.Values {
			steps := harnesstest.Draw([]float64{0.5, -1.2, -0.5, 1.2}, k%2, 2)
			allowed := r.Allowed(was) + r.accounted(read, k)
			if exact := allowed == 0; exact || r.Reduce.Indices() {
				steps, allowed = []float64{7}, 1
			}
			for _, step := range steps {
				r.Want.Values[k] = was + step*allowed
				itself, others := fails()
				if want := math.Abs(step) > 1; itself != want || !want && others {
					t.Errorf("%s of %s: value %d, %v, moved by %g: fails %t, others %t", r.Name, r.Stage, k, was, step, itself, others)
				}
			}
			r.Want.Values[k] = was
		}
		for k, was := range r.Index.Values {
			r.Index.Values[k] = was + 7
			r.reduce()
			if itself, _ := fails(); !itself {
				t.Errorf("%s of %s: index %d, %v, moved by 7: does not fail", r.Name, r.Stage, k, was)
			}
			r.Index.Values[k] = was
		}
		if r.Row != nil {
			*r.Row = 1 - *r.Row
			r.reduce()
			if itself, _ := fails(); !itself {
				t.Errorf("%s: another row does not fail", r.Name)
			}
			*r.Row = 1 - *r.Row
		}
		r.reduce()
	}
}

// A probability is excused by the differences of its own logit and of the log-sum-exp,
// not by those of other logits of its row.
func TestAProbabilityIsHeldToItsOwnLogit(t *testing.T) {
	t.Parallel()
	s := withFigures(t, nil)
	read, err := s.readFigures(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	of := func(name, stage string) int {
		return slices.IndexFunc(read, func(r reading) bool { return r.Name == name && r.Stage == stage })
	}
	i := of("logits.top3_probs", "probs_t1")
	prob, other := &read[i], &read[of("logits.first4", "logits_last")]
	off := 0.9 * other.Allowed(other.Want.Values[0])
	other.Want.Values[0] += off
	narrow := prob.Allowed(0) + prob.accounted(read, 0)
	wide := prob.Allowed(0) + prob.Want.Values[0]*math.Expm1(2*off)
	if wide < 1.1*narrow {
		t.Fatalf("%g, with all logits of the row %g: nothing is between them", narrow, wide)
	}
	for _, tt := range []struct {
		moved  float64
		failed bool
	}{{0.9 * narrow, false}, {(narrow + wide) / 2, true}} {
		was := prob.got[0]
		prob.got[0] = prob.Want.Values[0] + tt.moved
		if f := s.judgeFigures(read)[i]; f.Failed != tt.failed {
			t.Errorf("off by %g of %g: failed %t", tt.moved, narrow, f.Failed)
		}
		prob.got[0] = was
	}
}

func TestEachTextPerturbedFails(t *testing.T) {
	t.Parallel()
	s := withFigures(t, nil)
	if _, err := s.Check(t.Context(), 12); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, c := range s.Cases {
		for _, g := range c.Greedy {
			seen++
			for n := -1; n < g.New; n++ {
				changed := g
				switch {
				case n < 0: // as it is
				case g.Reduce == figures.Text:
					i := len(g.Want.Text) - n - 1
					changed.Want.Text = g.Want.Text[:i] + "\x7f" + g.Want.Text[i+1:]
				default:
					changed.Want.Values = slices.Clone(g.Want.Values)
					changed.Want.Values[len(g.Tokens[0])+n]++
				}
				run := harness.NewRecorder(harness.RecorderOptions{Schedule: s.schedule})
				run.SetTokens(c.outcome.rows)
				e := endToEnd{s: s, c: c, t: &gpt2.Trace{Recorder: run}}
				e.greedy(&changed)
				if f := e.findings[0]; f.Failed != (n >= 0) || f.Figure != g.Name || f.Step != g.New-1 || f.Source == "" {
					t.Errorf("%s, token or byte %d wrong: %+v", g.Name, n, f)
				}
			}
		}
	}
	if seen != 4 {
		t.Errorf("%d continuations have cases, want 4", seen)
	}
}

func TestFiguresRefused(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join(gpt2test.Dir, "synthetic-tiny", figures.FileName))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, text, want string
		file             bool // it is the file that is wrong
	}{
		{"cut short", string(whole[:999]), "unexpected end", true},
		{"of another model", strings.Replace(string(whole), `"synthetic-tiny": [`, `"synthetic-small": [`, 1), "no figures of synthetic-tiny", true},
		{"an id beyond the vocabulary", strings.Replace(string(whole), `"tokens": [[36921,`, `"tokens": [[50257,`, 1), "token 50257", false},
		{"a channel too far", strings.Replace(string(whole), `"want": [[53,`, `"want": [[80,`, 1), "index 80: a row of ln_f has 80 elements", false},
		{"a stage that there is not", strings.Replace(string(whole), `"stage": "ln_f"`, `"stage": "ln_g"`, 1), "ln_g", false},
		{"more tokens than positions", strings.Replace(string(whole), `"new": 18`, `"new": 48`, 1), "48 new ones", true},
		{"more text than positions", strings.Replace(string(whole), `"new": 4`, `"new": 48`, 1), "51 positions: the model has 48", false},
	} {
		root := t.TempDir()
		write(t, filepath.Join(root, "synthetic-tiny", figures.FileName), []byte(tt.text))
		_, err := open(gpt2test.Tiny(t), Options{Model: "synthetic-tiny", Goldens: root})
		var golden *diagnose.GoldenError
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", tt.name, err, tt.want)
		}
		if file := filepath.Join(root, "synthetic-tiny", figures.FileName); tt.file && (!errors.As(err, &golden) || golden.Path != file) {
			t.Errorf("%s: error %v does not name %s", tt.name, err, file)
		}
	}
}

// A figure that is not of the model, though its tokens are, fails; it does not
// panic.
func TestFiguresOfOtherShapes(t *testing.T) {
	t.Parallel()
	s := withFigures(t, nil)
	array := func(n int) figures.Array { return figures.Array{Shape: []int{n}, Values: make([]float64, n)} }
	want := func(n int) figures.Want { return figures.Want{Array: array(n)} }
	far := figures.Array{Shape: []int{1}, Values: []float64{1e6}}
	row := 99
	tokens := [][]int{{1, 2}, {3, 4}}
	s.figures = []figures.Figure{
		{Name: "a.index", Stage: "ln_f", Reduce: figures.Value, Tokens: tokens, Index: far, Want: want(4)},
		{Name: "a.indices", Stage: "ln_f", Reduce: figures.Value, Tokens: tokens, Index: figures.Array{Shape: []int{3, 1}, Values: make([]float64, 3)}, Want: want(3)},
		{Name: "a.label", Stage: "logits", Reduce: figures.NLL, Tokens: tokens, Index: figures.Array{Shape: []int{2, 1}, Values: []float64{1e6, 1}}, Want: want(1)},
		{Name: "a.few", Stage: "ln_f", Reduce: figures.L2, Tokens: tokens, Want: want(3)},
		{Name: "a.many", Stage: "ln_f", Reduce: figures.L2, Tokens: tokens, Want: want(5)},
		{Name: "a.row", Stage: "ln_f", Reduce: figures.L2, Tokens: tokens, Row: &row, Want: want(1)},
		{Name: "a.ranks", Stage: "logits", Reduce: figures.Top, Tokens: tokens, Want: want(3)},
		{Name: "a.rank", Stage: "logits", Reduce: figures.Top, Tokens: tokens, Want: figures.Want{Array: figures.Array{Shape: []int{4}, Values: []float64{1e6, 1, 1, 1}}}},
	}
	read, err := s.readFigures(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range s.judgeFigures(read) {
		if !f.Failed || f.Detail == "" {
			t.Errorf("%s: %+v, want a failure", f.Figure, f)
		}
	}
}

// Ranks: the first is exact; the others may change places by as much as the
// known logits of the row are off.
func TestRanks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []float64 // the model's, of ids 0 to 9
		failed bool
	}{
		{"the same", []float64{0, 0, 0, 0, 5, 4, 3, 2, 1, 0}, false},
		{"second and third change places", []float64{0, 0, 0, 0, 5, 3, 4, 2, 1, 0}, true},
		{"they do in a near tie", []float64{0, 0, 0, 0, 5, 3.5, 3.5004, 2, 1, 0.0006}, false},
		{"a fourth comes third, far ahead", []float64{0, 0, 0, 0, 5, 4, 3, 3.5, 1, 0}, true},
		{"a fourth comes third in a near tie", []float64{0, 0, 0, 0, 5, 4, 3, 3.0004, 1, 0.0006}, false},
		{"first and second change places, however near", []float64{0, 0, 0, 0, 4.5, 4.5001, 3, 2, 1, 0.0006}, true},
		{"a row that is off everywhere excuses nothing", []float64{9, 9, 9, 9, 5, 3, 4, 2, 1, 9}, true},
		{"NaN has no rank", []float64{0, 0, 0, 0, math.NaN(), 4, 3, 2, 1, 0}, true},
		{"nothing has one", slices.Repeat([]float64{math.NaN()}, 10), true},
	} {
		tolerance := figures.Tolerance{Abs: 1e-3}
		known := &figures.Figure{Name: "a.known", Stage: "logits", Reduce: figures.Value, Tolerance: tolerance,
			Index: figures.Array{Shape: []int{8}, Values: []float64{4, 5, 6, 0, 1, 2, 3, -1}},
			Want:  figures.Want{Array: figures.Array{Shape: []int{1, 8}, Values: []float64{5, 4, 3, 0, 0, 0, 0, 0}}}}
		top := &figures.Figure{Name: "a.top", Stage: "logits", Reduce: figures.Top, Tolerance: tolerance,
			Want: figures.Want{Array: figures.Array{Shape: []int{1, 3}, Values: []float64{4, 5, 6}}}}
		read := []reading{{Figure: known, rows: [][]float64{tt.values}}, {Figure: top, rows: [][]float64{tt.values}}}
		for i := range read {
			read[i].reduce()
		}
		if f := read[1].ranks(Finding{}, read); f.Failed != tt.failed {
			t.Errorf("%s: %+v, failed should be %t", tt.name, f, tt.failed)
		}
	}
}
