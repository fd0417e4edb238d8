package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/cuttest"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/npy"
)

// writeEngine writes a run as an engine does that knows nothing of manifests.
func writeEngine(t *testing.T, dir string, run harness.Source, keep func(step int, stage string) bool) {
	t.Helper()
	write := func(path string, x harness.Tensor) {
		var b bytes.Buffer
		err := npy.Write(&b, x)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o777)
		}
		if err == nil {
			err = os.WriteFile(path, b.Bytes(), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tokens := harness.Tensor{Shape: []int{len(run.Tokens()), len(run.Tokens()[0])}}
	for _, row := range run.Tokens() {
		for _, id := range row {
			tokens.I64 = append(tokens.I64, int64(id))
		}
	}
	write(filepath.Join(dir, harness.TokensFile), tokens)
	for _, step := range run.Steps() {
		for _, stage := range run.Stages(step) {
			if keep != nil && !keep(step, stage) {
				continue
			}
			x, err := run.Tensor(step, stage)
			if err != nil {
				t.Fatal(err)
			}
			write(filepath.Join(dir, harness.Place{Step: step, Stage: stage}.File()), x)
		}
	}
}

// Engines that are cut into other steps than the golden, as a person judges them.
func TestCompareOtherCuts(t *testing.T) {
	m := gpt2test.Tiny(t)
	dir := filepath.Join(gpt2test.Dir, "synthetic-tiny", "hello")
	golden := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	n := len(golden.Tokens()[0]) - 1 // all but the last choice are fed
	const some = 7                   // the golden goes on
	single := harness.PromptCut(1, some)
	var grown harness.Cut
	for k := 2; k <= some; k++ {
		grown = append(grown, harness.Span{P: 0, T: k})
	}
	noLogits := func(_ int, stage string) bool {
		return !strings.HasPrefix(stage, "logits") && !strings.HasPrefix(stage, "probs_t")
	}
	hooks := func(_ int, stage string) bool { return gpt2test.IsModule(stage) }
	mixed := harness.Cut{{P: 0, T: 2}, {P: 0, T: 4}, {P: 4, T: 2}, {P: 0, T: 7}}
	for _, c := range []struct {
		name  string
		cut   harness.Cut
		json  string // in cut.json
		fault string
		keep  func(step int, stage string) bool
		args  []string
		says  []string // on stdout
		notes string   // on stderr and in the report's cut
		alone string   // on stderr alone
		full  bool     // only where all are wanted: others show as much
	}{
		{
			name: "llama2.c, all engines", cut: single, args: []string{"--golden", dir, "--model", "synthetic-tiny"},
			says: []string{"PASS", "each of 427 stages is correct", "6 of 6 certified"}, notes: "one token at a time",
		}, {
			name: "nanoGPT", cut: grown, keep: hooks, args: []string{"--golden", dir + "/float64", "--model", "synthetic-tiny"},
			says: []string{"PASS", "is correct"}, notes: "without a cache", full: true,
		}, {
			name: "nanoGPT alone", cut: grown, keep: noLogits, args: []string{"--model", "synthetic-tiny"},
			says: []string{"PASS", "each of 336 stages is correct"}, alone: "without a cache",
		}, {
			name: "nanoGPT, erf GELU", cut: grown, keep: noLogits, fault: "erf GELU", args: []string{"--golden", dir + "/float64", "--model", "synthetic-tiny"},
			says: []string{"FAIL", "h.1.mlp.act wrong at step 0", "gelu_erf"}, notes: "without a cache",
		}, {
			name: "llama2.c, 1/D", cut: single, fault: "scale 1/D", args: []string{"--golden", dir + "/float64", "--model", "synthetic-tiny"},
			says: []string{"FAIL", "h.2.attn.scores wrong at step 0", "scale_d"}, notes: "one token at a time", full: true,
		}, {
			name: "one pass, all engines", cut: harness.Cut{{P: 0, T: n}}, args: []string{"--golden", dir},
			says:  []string{"PASS", "58 tensors within tolerance, 12 missing", "next_token steps 0 to 8 (9 tensors)", "1 of 1 certified"},
			notes: "everything in one pass",
		}, {
			name: "cut.json", cut: mixed, keep: noLogits, json: "[[0,2], [0,4], [4,2], [0,7]]",
			args: []string{"--golden", dir + "/float64", "--model", "synthetic-tiny"},
			says: []string{"PASS", "each of 224 stages is correct"}, notes: "in steps of its own (positions 0-1; 0-3; 4-5; 0-6)",
		}, {
			name: "cut.json, a late step alone", cut: harness.PromptCut(2, 4), json: "[[0,2], [2,1], [3,1], [4,1]]",
			keep: func(step int, stage string) bool { return step == 2 && stage == "h.0.resid_post" },
			args: []string{"--model", "synthetic-tiny"}, says: []string{"PASS", "is correct"},
		}, {
			name: "cut.json, of another run", cut: single, keep: noLogits, json: "[[0,3], [3,1], [4,1], [5,1]]",
			args: []string{"--golden", dir + "/float64"}, says: []string{"PASS"}, notes: "one token at a time", alone: "cut.json does not fit",
		}, {
			name: "cut.json, damaged", cut: mixed, keep: noLogits, json: "[[0,2], [0]]", args: []string{"--golden", dir + "/float64"},
			notes: "cut.json: step 1 is [0]: want [P, T], the first position and how many",
		},
	} {
		if c.full && !harnesstest.Full() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			mine := t.TempDir()
			var plant func(at harness.Place, c *faults.Context) []float32
			if c.fault != "" {
				plant = gpt2test.Planter(m, gpt2test.Named(c.fault)).Plant
			}
			writeEngine(t, mine, cuttest.Run(t, m, golden.Tokens(), c.cut, plant), c.keep)
			if c.json != "" {
				if err := os.WriteFile(filepath.Join(mine, "cut.json"), []byte(c.json), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			file := filepath.Join(t.TempDir(), "r.json")
			status, stdout, stderr := run(append([]string{"compare", "--candidate", mine, "--json", file}, c.args...)...)
			if want := map[string]int{"PASS": StatusPass, "FAIL": StatusDivergence, "": StatusError}[append(c.says, "")[0]]; status != want {
				t.Errorf("status %d, want %d: %s", status, want, stderr)
			}
			for _, want := range c.says {
				if !strings.Contains(strings.Join(strings.Fields(stdout), " "), want) {
					t.Errorf("stdout lacks %q:\n%.2000s", want, stdout)
				}
			}
			if text := strings.Join(strings.Fields(stderr), " "); !strings.Contains(text, c.notes) || !strings.Contains(text, c.alone) {
				t.Errorf("stderr lacks %q:\n%s", c.notes+c.alone, stderr)
			}
			if c.says == nil {
				return
			}
			var report struct {
				Cut    string
				Stages []struct {
					Status   string
					Position *int
				}
			}
			b, err := os.ReadFile(file)
			if err == nil {
				err = json.Unmarshal(b, &report)
			}
			if err != nil || !strings.Contains(report.Cut, c.notes) {
				t.Errorf("JSON has the cut %q: %v", report.Cut, err)
			}
			for _, row := range report.Stages {
				if (row.Status == "fail" || row.Status == "missing") != (row.Position != nil) {
					t.Fatalf("a row of status %s has the position %v", row.Status, row.Position)
				}
			}
		})
	}
}

// A dump whose values are NaN from a stage on is judged, whatever its cut: it fails there.
func TestCompareNotANumber(t *testing.T) {
	m, s := gpt2test.Tiny(t), gpt2.Schedule(3, nil)
	golden := gpt2test.Golden(t, s, "synthetic-tiny/hello/float64")
	from, _ := s.Index("h.1.attn.probs")
	cuts := []harness.Cut{{{P: 0, T: 2}, {P: 0, T: 3}}, harness.PromptCut(2, 2), harness.PromptCut(1, 3)}
	for _, cut := range harnesstest.Draw(cuts, 0, 3) {
		rec := cuttest.Run(t, m, golden.Tokens(), cut, nil)
		candidate := harnesstest.Source(s, "nan", golden.Tokens(), harnesstest.Steps{})
		for _, p := range s.Places(rec, nil) {
			x, err := rec.Tensor(p.Step, p.Stage)
			if err != nil {
				t.Fatal(err)
			}
			if i, _ := s.Index(p.Stage); i >= from && !x.IDs() {
				x.F32 = slices.Repeat([]float32{harnesstest.Nan}, len(x.F32))
			}
			if candidate.Kept[p.Step] == nil {
				candidate.Kept[p.Step] = map[string]harness.Tensor{}
			}
			candidate.Kept[p.Step][p.Stage] = x
		}
		dir := t.TempDir()
		writeEngine(t, dir, candidate, nil)
		against := []string{"--golden", filepath.Join(gpt2test.Dir, "synthetic-tiny", "hello", "float64")}
		for _, args := range [][]string{against, {"--model", "synthetic-tiny"}} {
			status, stdout, stderr := run(append([]string{"compare", "--json", "-", "--candidate", dir}, args...)...)
			var report struct {
				First  harness.Place `json:"first_divergence"`
				Stages []harness.Row
			}
			if err := json.Unmarshal([]byte(stdout), &report); err != nil || status != StatusDivergence {
				t.Fatalf("%v, %v: status %d, %v: %s", cut, args, status, err, stderr)
			}
			at := slices.IndexFunc(report.Stages, func(r harness.Row) bool { return r.Place == report.First })
			if report.First != (harness.Place{Step: 0, Stage: "h.1.attn.probs"}) || at < 0 || report.Stages[at].Status != harness.Nonfinite {
				t.Errorf("%v, %v: first divergence %v", cut, args, report.First)
			}
		}
	}
}
