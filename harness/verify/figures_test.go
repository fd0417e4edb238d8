package verify

import (
	"checkpoint12/harness/report"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/verify/figures"
	"checkpoint12/model"
	"checkpoint12/model/zoo"
)

// allFigures is every figure that synthetic-tiny has but those of single tensors,
// with its checkpoint: whatever kind the released models have is among them.
var allFigures = map[string]int{
	"weights.sha256": Weights, "weights.bytes": Weights,
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

// openFigures is synthetic-tiny with its figures and no golden, shared by the
// tests, which run one after the other.
func openFigures(t testing.TB) *Suite {
	t.Helper()
	s, err := figuresSuite()
	if err != nil {
		t.Fatal(err)
	}
	s.plantFigures(nil)
	return s
}

var figuresSuite = sync.OnceValues(func() (*Suite, error) {
	s, err := Open(Options{Model: "synthetic-tiny", Goldens: gpt2test.Dir})
	if err != nil {
		return nil, err
	}
	s.Cases = nil // those with goldens
	return s, s.addGreedy()
})

// plantFigures lets the suite run everything again, with a fault or none.
func (s *Suite) plantFigures(tap model.Tap) {
	s.tap = tap
	for _, k := range s.figures {
		k.found, k.weights = nil, nil
	}
	for _, c := range s.Cases {
		c.stages, c.text = nil, nil
	}
}

func TestFiguresOfTheGoModel(t *testing.T) {
	s, err := Open(Options{Model: "synthetic-tiny", Goldens: figuresOnly(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed() {
		t.Errorf("figures of reference/float64 fail on the Go model: %s", r.First.Report())
	}
	for _, c := range r.Checkpoints {
		want := NotChecked
		if c.Checkpoint >= 8 {
			want = harness.VerdictPass
		}
		if c.Verdict != want {
			t.Errorf("%s: %s, want %s", Describe(c.Checkpoint), c.Verdict, want)
		}
	}
	got := map[string]int{}
	tensors := 0
	for _, g := range r.Figures {
		for _, f := range g.findings {
			if f.Source == "" || f.Elements == 0 || f.Engine != Figures {
				t.Errorf("%s: source %q, %d values, engine %s", f.Figure, f.Source, f.Elements, f.Engine)
			}
			if _, _, isTensor := s.Model.Weight(part(f.Figure)); isTensor {
				tensors++
			} else if f.Case != "logits" || f.Stage != "logits_last" { // 8's again, of the last position
				got[f.Figure] = f.Checkpoint
			}
		}
	}
	if diff := cmp.Diff(allFigures, got); diff != "" {
		t.Errorf("figures checked (-want +got):\n%s", diff)
	}
	if want := 12*s.Model.Config().Layers + 4; tensors != want {
		t.Errorf("%d tensors summed, want all %d", tensors, want)
	}
	var text strings.Builder
	if err := r.WriteText(&text, TextOptions{Style: report.Style{Width: 1000}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"weights", "reference/float64/figures.py", " 8 all layers, logits    figures"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("report lacks %q:\n%s", want, text.String())
		}
	}
}

// leaf is one number of a figure and what makes it wrong.
type leaf struct {
	figure string
	value  *float64
	step   float64 // what the bound allows
}

// leaves lists every number of the figures of single values.
func leaves(m *figures.Model) []leaf {
	var all []leaf
	add := func(figure string, allowed float64, values ...[]float64) {
		for _, list := range values {
			for i := range list {
				all = append(all, leaf{figure, &list[i], allowed})
			}
		}
	}
	peak := 0.0
	for _, row := range m.LnF.AbsMax {
		for _, p := range row {
			peak = max(peak, math.Abs(p.Value))
		}
	}
	allowed := m.LnF.Tolerance.Allowed(peak)
	for b := range m.LnF.Tokens {
		add("ln_f.first4", allowed, m.LnF.First4[b]...)
		for i := range m.LnF.AbsMax[b] {
			all = append(all, leaf{"ln_f.absmax", &m.LnF.AbsMax[b][i].Value, allowed})
		}
	}
	add("ln_f.l2", allowed, m.LnF.L2...)
	l := m.Logits
	largest := 0.0
	for b := range l.Tokens {
		for _, list := range slices.Concat(l.Top3[b], l.First4[b], [][]float64{l.Last[b]}) {
			for _, v := range list {
				largest = max(largest, math.Abs(v))
			}
		}
	}
	allowed = l.Tolerance.Allowed(largest)
	for b := range l.Tokens {
		add("logits.top3", allowed, l.Top3[b]...)
		add("logits.first4", allowed, l.First4[b]...)
	}
	add("logits.last", allowed, l.Last...)
	add("logits.logsumexp", allowed, l.LogSumExp...)
	all = append(all, leaf{"logits.mean_nll", &l.MeanNLL, l.NLLTolerance.Abs})
	add("token_logprobs.logprobs", m.TokenLogprobs.Tolerance.Abs, m.TokenLogprobs.Logprobs)
	add("ln_f_hello_world.first10", m.FirstHidden.Tolerance.Abs, m.FirstHidden.First10)
	return append(all, leaf{"next_logit.logit", &m.NextLogit.Logit, m.NextLogit.Tolerance.Abs})
}

// Every value passes, moved by half of its bound fails nothing, and moved by
// 1.2 bounds fails the figure that it belongs to.
func TestEachValuePerturbedFails(t *testing.T) {
	s := openFigures(t)
	m := s.figures[0].Model
	o, err := s.observe(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if bad := failed(judge(m, o)); bad != nil {
		t.Fatalf("unperturbed: %v", bad)
	}
	seen := map[string]bool{}
	for n, leaf := range leaves(m) {
		seen[leaf.figure] = true
		was := *leaf.value
		for _, step := range []float64{0.5, -0.5, 1.2, -1.2} {
			*leaf.value = was + step*leaf.step
			bad := map[string]bool{}
			for _, f := range judge(m, o) {
				if f.Failed {
					bad[f.Figure] = true
				}
			}
			if got, want := len(bad) > 0 && bad[leaf.figure], math.Abs(step) > 1; got != want || !want && len(bad) > 0 {
				t.Errorf("value %d, of %s, %v moved by %g of its bound: %v fail", n, leaf.figure, was, step, slices.Collect(maps.Keys(bad)))
			}
		}
		*leaf.value = was
	}
	for figure := range allFigures {
		kind, list, _ := strings.Cut(figure, ".")
		exact := kind == "weights" || kind == "greedy" || strings.Contains(list, "id") || list == "absmax_channel" || list == "argmax" || list == "sum" ||
			list == "top3_probs" // made of top3 and logsumexp, whose errors are theirs
		if seen[figure] == exact {
			t.Errorf("%s: perturbed here %t, exact %t", figure, seen[figure], exact)
		}
	}
}

// What is exact, or is made of several numbers, perturbed one by one.
func TestEachExactFigurePerturbedFails(t *testing.T) {
	s := openFigures(t)
	m := s.figures[0].Model
	o, err := s.observe(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	l, p := m.Logits, m.TokenLogprobs
	type change struct {
		name    string
		id      *int
		to      int
		figures []string // that fail
		others  bool     // other figures may fail too
	}
	var changes []change
	for b := range l.Tokens {
		for i := range l.Tokens[b] {
			ids := l.Top3IDs[b][i]
			changes = append(changes,
				change{"first id", &ids[0], 7, []string{"logits.top3_ids", "logits.top3"}, true},
				change{"second id", &ids[1], 7, []string{"logits.top3_ids", "logits.top3"}, true},
				change{"third id", &ids[2], 7, []string{"logits.top3_ids", "logits.top3"}, true},
				change{"channel", &m.LnF.AbsMax[b][i].Index, 7, []string{"ln_f.absmax", "ln_f.absmax_channel"}, false})
			if i > 0 {
				changes = append(changes, change{"label", &l.Labels[b][i], 50000, []string{"logits.mean_nll"}, false})
			}
			if i == len(l.Tokens[b])-1 {
				changes = append(changes, change{"first id of the last position", &ids[0], 7, []string{"logits.top1_id", "logits.top3_ids"}, true})
			}
		}
	}
	changes = append(changes,
		change{"argmax", &m.NextLogit.Argmax, 7, []string{"next_logit.argmax", "next_logit.logit"}, false},
		change{"position", &m.FirstHidden.Position, 1 - m.FirstHidden.Position, []string{"ln_f_hello_world.first10"}, false})
	for _, c := range changes {
		was := *c.id
		*c.id = c.to
		var bad []string
		for _, f := range judge(m, o) {
			if f.Failed {
				bad = append(bad, f.Figure)
			}
		}
		for _, want := range c.figures {
			if !slices.Contains(bad, want) {
				t.Errorf("%s %d for %d: %v fail, want %s among them", c.name, c.to, was, bad, want)
			}
		}
		if !c.others && len(bad) != len(c.figures) {
			t.Errorf("%s %d for %d: %v fail, want %v alone", c.name, c.to, was, bad, c.figures)
		}
		*c.id = was
	}
	// The sum has a bound of its own: 1e-3 of it is far more than that of one.
	was := slices.Clone(p.Logprobs)
	for i := range p.Logprobs {
		p.Logprobs[i] *= 1.0011
	}
	if bad := failed(judge(m, o)); !slices.Contains(bad, " token_logprobs/figures/step_00/probs_t1/sum") {
		t.Errorf("log-probabilities 1.1e-3 larger: %v fail, want the sum among them", bad)
	}
	copy(p.Logprobs, was)
}

func TestEachGreedyFigurePerturbedFails(t *testing.T) {
	s := openFigures(t)
	if _, err := s.Check(t.Context(), 12); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, c := range s.Cases {
		for _, g := range c.Greedy {
			seen++
			for n := range g.New {
				changed := g
				if g.Text != "" {
					changed.Text = g.Text[:len(g.Text)-n-1] + "\x7f" + g.Text[len(g.Text)-n:]
				} else {
					changed.AllTokens = slices.Clone(g.AllTokens)
					changed.AllTokens[len(g.Tokens)+n]++
				}
				for _, want := range []figures.Greedy{g, changed} {
					e := ending{suite: s, c: c, o: c.stages}
					e.greedy(want)
					f := e.findings[0]
					if wrong := !cmp.Equal(want, g); f.Failed != wrong || f.Figure != "greedy."+g.Name || f.Step != g.New-1 || f.Source == "" {
						t.Errorf("%s, token or byte %d wrong %t: %+v", g.Name, n, wrong, f)
					}
				}
			}
		}
	}
	if want := len(s.figures[0].Greedy); seen != want || want < 3 {
		t.Errorf("%d continuations have cases, the figures have %d", seen, want)
	}
}

func TestFiguresRefused(t *testing.T) {
	tiny, err := zoo.Load("synthetic-tiny")
	if err != nil {
		t.Fatal(err)
	}
	defer tiny.Close()
	whole, err := os.ReadFile(filepath.Join(figuresOnly(t), "synthetic-tiny", figures.FileName))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, text, want string
		file             bool // it is the file that is wrong
	}{
		{"cut short", string(whole[:999]), "unexpected EOF", true},
		{"of another model", strings.Replace(string(whole), `"synthetic-tiny": {`, `"synthetic-small": {`, 1), "no figures of synthetic-tiny", true},
		{"an id beyond the vocabulary", strings.Replace(string(whole), "[36921,", "[50257,", 1), "token 50257", false},
		{"a channel too far", strings.Replace(string(whole), "[53, 56.511524]", "[80, 56.511524]", 1), "channel 80", false},
	} {
		root := t.TempDir()
		write(t, filepath.Join(root, "synthetic-tiny", figures.FileName), []byte(tt.text))
		_, err := open(tiny, Options{Model: "synthetic-tiny", Goldens: root})
		var golden *diagnose.GoldenError
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", tt.name, err, tt.want)
		}
		if file := filepath.Join(root, "synthetic-tiny", figures.FileName); tt.file && (!errors.As(err, &golden) || golden.Path != file) {
			t.Errorf("%s: error %v does not name %s", tt.name, err, file)
		}
	}
}
