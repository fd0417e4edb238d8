package verify

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/report"
	"checkpoint12/model"
	"checkpoint12/model/modeltest"
	"checkpoint12/model/sample"
)

// fixture writes what the micro model computes as if an engine had exported it:
// enough to test how goldens are found, refused and reported. change may alter a
// tensor, or leave it out by returning false; the manifest says so unless man, which
// comes last, unsays it.
type fixture struct {
	engine  string // folder; "other" if empty
	name    string // of the case; "hello" if empty
	run     gpt2.Run
	change  func(step int, stage string, t harness.Tensor) bool
	man     func(*harness.Manifest)
	leftOut []harness.LeftOut
}

func (f fixture) write(t *testing.T, m *model.Model, root string) string {
	t.Helper()
	if f.engine == "" {
		f.engine = "other"
	}
	if f.name == "" {
		f.name = "hello"
	}
	if f.run.Tokens == nil {
		f.run = gpt2.Run{Tokens: [][]int{{15, 13}}, New: 4}
	}
	rec, err := gpt2.Record(t.Context(), m, f.run)
	if err != nil {
		t.Fatal(err)
	}
	man, err := gpt2.Manifest(m, f.run, f.name, "")
	if err != nil {
		t.Fatal(err)
	}
	man.Engine.Name, man.LeftOut = f.engine, f.leftOut
	folder := man
	if f.man != nil {
		f.man(&folder)
	}
	dir := filepath.Join(root, folder.Model.Name, f.name, f.engine)
	w, err := dump.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range rec.Steps() {
		for _, stage := range rec.Stages(step) {
			x, err := rec.Tensor(step, stage)
			must(err)
			if f.change == nil || f.change(step, stage, x) {
				must(w.Put(step, stage, x))
			} else {
				man.LeftOut = append(man.LeftOut, harness.LeftOut{Stages: stage, Steps: strconv.Itoa(step), Reason: "not needed"})
			}
		}
	}
	if f.man != nil {
		f.man(&man)
	}
	must(w.Commit(rec.Tokens(), nil, man))
	return dir
}

// microSuite is a suite of the micro model with the goldens below root.
func microSuite(t *testing.T, root string) (*Suite, error) {
	t.Helper()
	return open(modeltest.New(t, modeltest.Micro, 1), Options{Model: "micro", Goldens: root})
}

// verifyMicro opens microSuite and verifies it.
func verifyMicro(t *testing.T, root string) (*Suite, *Report) {
	t.Helper()
	s, err := microSuite(t, root)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

func TestVerifyReport(t *testing.T) {
	root := t.TempDir()
	fixture{}.write(t, modeltest.New(t, modeltest.Micro, 1), root)
	fixture{engine: "second", leftOut: []harness.LeftOut{{Stages: "h.*.attn.scores", Steps: "all", Reason: "flash attention"}},
		change: func(_ int, stage string, _ harness.Tensor) bool { return !strings.HasSuffix(stage, ".scores") }}.write(t, modeltest.New(t, modeltest.Micro, 1), root)
	fixture{name: "batch", run: gpt2.Run{Tokens: [][]int{{1, 2, 3}, {4, 5, 6}}, New: 3}}.write(t, modeltest.New(t, modeltest.Micro, 1), root)
	_, r := verifyMicro(t, root)
	if r.Schema != 1 || r.Verdict != "pass" || len(r.Checkpoints) != 12 {
		t.Errorf("schema %d, verdict %q, %d checkpoints; want 1, pass, 12", r.Schema, r.Verdict, len(r.Checkpoints))
	}
	total := 0
	for i, c := range r.Checkpoints {
		if c.Checkpoint != i+1 || c.Verdict != "pass" || c.Compared == 0 || c.Worst == nil || c.Worst.Stage == "" || c.Worst.Share > 0.1 {
			t.Errorf("checkpoint %d: %+v %+v", i+1, c, c.Worst)
		}
		total += c.Compared
	}
	if embeddings := 3 * (4 + 4 + 3); r.Compared != total+embeddings {
		t.Errorf("compared %d, want %d in the checkpoints and %d embeddings", r.Compared, total, embeddings)
	}
	var runs []string
	for _, run := range r.Runs {
		runs = append(runs, run.Model+"/"+run.Case+"/"+run.Engine)
		if !run.Passed() || run.Compared == 0 || len(run.Stages) != run.Compared {
			t.Errorf("run %+v", run)
		}
	}
	if diff := cmp.Diff([]string{"micro/batch/other", "micro/hello/other", "micro/hello/second"}, runs); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	text := textOf(t, r)
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if !strings.HasPrefix(lines[0], "PASS: micro: 12 checkpoints, 2 engines") {
		t.Errorf("first line %q", lines[0])
	}
	if len(lines) > 2*CheckpointCount {
		t.Errorf("%d lines do not fit on a screen:\n%s", len(lines), text)
	}
	for _, line := range []string{`\n 1 LayerNorm  +\d+  pass  \S`, `\n 4 attention scores +\d+  pass .*; 1 of 2 engines\n`, `\n12 end to end +\d+  pass  \S`} {
		if !regexp.MustCompile(line).MatchString(text) {
			t.Errorf("no line %q:\n%s", line, text)
		}
	}
	var engines strings.Builder
	if err := r.WriteText(&engines, TextOptions{Style: report.Style{Width: 1000}, Engines: true}); err != nil {
		t.Fatal(err)
	}
	if got := engines.String(); !strings.Contains(got, "not checked: flash attention") || !strings.Contains(got, " second      12     180  pass") {
		t.Errorf("text does not say what the second engine left out:\n%s", got)
	}
}

func TestVerifyChecksNothing(t *testing.T) {
	t.Run("no goldens", func(t *testing.T) {
		s, err := microSuite(t, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Verify(t.Context())
		if err == nil || !strings.Contains(err.Error(), "no goldens and no published figures") ||
			!strings.HasSuffix(err.Error(), "scripts/regenerate_goldens.py --model micro --case own --tokens 1,2,3 --new 10") {
			t.Errorf("error %v, want one with a command that fits its vocabulary", err)
		}
	})
	t.Run("only some stages", func(t *testing.T) {
		root := t.TempDir()
		fixture{change: func(_ int, stage string, _ harness.Tensor) bool { return strings.HasSuffix(stage, "ln_1") }}.write(t, modeltest.New(t, modeltest.Micro, 1), root)
		_, r := verifyMicro(t, root)
		for _, c := range r.Checkpoints {
			want := NotChecked
			if c.Checkpoint == 1 || c.Checkpoint == 12 {
				want = harness.VerdictPass
			}
			if c.Verdict != want || (want == NotChecked) != (c.Command != "" && c.Compared == 0 && c.Worst == nil) {
				t.Errorf("%s: %+v, want %s", Info(c.Checkpoint), c, want)
			}
		}
	})
}

func TestGoldensFedOtherTokens(t *testing.T) {
	root := t.TempDir()
	fixture{engine: "fed", run: gpt2.Run{Tokens: [][]int{{15, 13}}, New: 4, Feed: [][]int{{1, 2, 3}}}}.write(t, modeltest.New(t, modeltest.Micro, 1), root)
	fixture{engine: "own"}.write(t, modeltest.New(t, modeltest.Micro, 1), root)
	s, r := verifyMicro(t, root)
	for _, run := range r.Runs {
		for _, row := range run.Stages {
			if row.Status != harness.Pass {
				t.Errorf("%s %s: %s", run.Engine, row.Place, row.Status)
			}
		}
	}
	found, err := s.Check(t.Context(), 12)
	if err != nil {
		t.Fatal(err)
	}
	var same []string
	for _, f := range found {
		if f.Stage == "text" {
			same = append(same, f.Engine)
		}
	}
	if diff := cmp.Diff([]string{"own"}, same); diff != "" {
		t.Errorf("engines whose text is compared (-want +got):\n%s", diff)
	}
}

func TestMargins(t *testing.T) {
	root, step := t.TempDir(), 0
	// At step 1 the second logit is 1e-4 below the first.
	tie := func(stage string, _ []int, x []float32) {
		switch {
		case stage == "wte":
			step++
		case stage == "logits_last" && step == 2:
			x[(sample.Argmax(x)+1)%len(x)] = slices.Max(x) - 1e-4
		}
	}
	fixture{run: gpt2.Run{Tokens: [][]int{{15, 13}}, New: 4, Tap: tie}, change: func(step int, stage string, x harness.Tensor) bool {
		if stage == "logits_last" {
			x.F32[0] += []float32{0, 1e-4, 0, 10}[step]
		}
		return stage != "logits_last" || step != 2
	}}.write(t, modeltest.New(t, modeltest.Micro, 1), root)
	s, err := microSuite(t, root)
	if err != nil {
		t.Fatal(err)
	}
	step, s.o.Tap = 0, tie
	found, err := s.Check(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	var notes []string
	for _, f := range found {
		if f.Engine != Self {
			notes = append(notes, f.Note)
		}
	}
	for i, want := range []string{"certified", "near tie: margin ", "not certifiable: golden has no logits_last", "not certifiable: logits_last is off by 10"} {
		if i >= len(notes) || !strings.HasPrefix(notes[i], want) {
			t.Fatalf("notes %q: want %q at step %d", notes, want, i)
		}
	}
}

// A golden that is not of the model, the case and the engine of its folder, or that is
// damaged or short, is refused by name. The tests of dump.Open have more ways to damage it.
func TestGoldensRefused(t *testing.T) {
	config := func(key string, value any) func(*harness.Manifest) {
		return func(m *harness.Manifest) {
			keys := map[string]any{}
			if err := json.Unmarshal(m.Model.Config, &keys); err != nil {
				t.Fatal(err)
			}
			keys[key] = value
			m.Model.Config, _ = json.Marshal(keys)
		}
	}
	explains := func(step int, stage string) func(*harness.Manifest) { // every absence but this
		return func(m *harness.Manifest) {
			m.LeftOut = slices.DeleteFunc(m.LeftOut, func(l harness.LeftOut) bool { return l.Covers(step, stage) })
		}
	}
	for _, tt := range []struct {
		name   string
		man    func(*harness.Manifest)
		damage func(dir string) error
		want   string // part of the error
	}{
		{"one bit of one file", nil, func(dir string) error {
			path := filepath.Join(dir, "step_01", "h.1.mlp.act.npy")
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b[len(b)-1] ^= 1
			return os.WriteFile(path, b, 0o666)
		}, "step_01/h.1.mlp.act.npy"},
		{"no manifest", nil, func(dir string) error { return os.Remove(filepath.Join(dir, "manifest.json")) }, "nothing binds it"},
		{"the Go model's own dump", func(m *harness.Manifest) { m.Engine.Name = gpt2.EngineName }, nil, "cannot judge itself"},
		{"another engine's", func(m *harness.Manifest) { m.Engine.Name = "candle" }, nil, `made by engine "candle"`},
		{"another case's", func(m *harness.Manifest) { m.Case = "bye" }, nil, `of case "bye"`},
		{"other weights", func(m *harness.Manifest) { m.Model.WeightsSHA256 = strings.Repeat("ab", 32) }, nil, "abababababab"},
		{"a surplus file", nil, func(dir string) error { return os.WriteFile(filepath.Join(dir, "step_01", "more.npy"), nil, 0o666) }, "step_01/more.npy"},
		{"another shape", config("n_head", 1), nil, "n_head 1; micro has 2"},
		{"another eps", config("layer_norm_epsilon", 1), nil, "layer_norm_epsilon 1; micro has 1e-05"},
		{"another activation", config("activation_function", "gelu"), nil, `activation_function is "gelu": want "gelu_new"`},
		{"another prompt", func(m *harness.Manifest) { m.Prompt = "Bye." }, nil, `its prompt is "Bye."`},
		{"a stage not there at one step, and nothing says so", explains(2, "h.1.mlp.act"), nil, "step_02/h.1.mlp.act is neither"},
		{"the last step not there", explains(3, "wte"), nil, "step_03/wte is neither"},
		{"a stage not there at all", explains(0, "h.0.ln_1"), nil, "step_00/h.0.ln_1 is neither"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			fixture{engine: "a-sound", man: func(m *harness.Manifest) { m.Prompt = "Hello." }}.write(t, modeltest.New(t, modeltest.Micro, 1), root)
			dir := fixture{man: tt.man, change: func(step int, stage string, _ harness.Tensor) bool {
				return stage != "h.0.ln_1" && step != 3 && (step != 2 || stage != "h.1.mlp.act")
			}}.write(t, modeltest.New(t, modeltest.Micro, 1), root)
			if tt.damage != nil {
				if err := tt.damage(dir); err != nil {
					t.Fatal(err)
				}
			}
			s, err := microSuite(t, root)
			if err == nil {
				_, err = s.Verify(t.Context())
			}
			var golden *diagnose.GoldenError
			if !errors.As(err, &golden) || !strings.Contains(filepath.ToSlash(err.Error()), tt.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %v, want a GoldenError that names %s and %q", err, dir, tt.want)
			}
		})
	}
	t.Run("another prompt in the same case", func(t *testing.T) {
		root := t.TempDir()
		fixture{engine: "a"}.write(t, modeltest.New(t, modeltest.Micro, 1), root)
		fixture{engine: "b", run: gpt2.Run{Tokens: [][]int{{15, 12}}, New: 4}}.write(t, modeltest.New(t, modeltest.Micro, 1), root)
		if _, err := microSuite(t, root); err == nil || !strings.Contains(err.Error(), "prompt tokens") {
			t.Errorf("error %v, want one about prompt tokens", err)
		}
	})
}

// A folder's goldens are found by the hash of its weights, whatever its name.
func TestGoldensByHash(t *testing.T) {
	root := t.TempDir()
	m := modeltest.New(t, modeltest.Micro, 1)
	fixture{man: func(m *harness.Manifest) { m.Model.Name = "somebody-elses" }}.write(t, m, root)
	fixture{man: func(m *harness.Manifest) {
		m.Model.Name, m.Model.WeightsSHA256 = "unrelated", strings.Repeat("cd", 32)
	}}.write(t, m, root)
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "config.json"), []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	s, err := open(m, Options{Model: folder, Goldens: root})
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, c := range s.Cases {
		for _, g := range c.Goldens {
			dirs = append(dirs, g.Dir)
		}
	}
	if diff := cmp.Diff([]string{filepath.Join(root, "somebody-elses", "hello", "other")}, dirs); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
