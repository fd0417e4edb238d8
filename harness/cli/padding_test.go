package cli

import (
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

// Padded batches, and batches that are not the golden's, as a person judges them.
func TestComparePadding(t *testing.T) {
	m, s := gpt2test.Tiny(t), gpt2.Schedule(3, nil)
	all := filepath.Join(gpt2test.Dir, "synthetic-tiny")
	cases := t.TempDir()
	var rows [][]int
	var prompts []int
	for _, name := range []string{"hello", "once-upon"} {
		g := gpt2test.Golden(t, s, "synthetic-tiny/"+name+"/float64")
		rows, prompts = append(rows, g.Tokens()[0]), append(prompts, len(g.Manifest().Tokens[0]))
		if err := os.CopyFS(filepath.Join(cases, name), os.DirFS(filepath.Join(all, name))); err != nil {
			t.Fatal(err)
		}
	}
	both := gpt2test.Golden(t, s, "synthetic-tiny/batch-of-two/float64").Tokens()
	whole := func(rows ...[]int) ([][]int, [][]int) {
		return rows, slices.Repeat([][]int{slices.Repeat([]int{1}, len(rows[0]))}, len(rows))
	}
	for i, n := range prompts { // the goldens go on; four steps of a batch show as much
		rows[i] = rows[i][:n+4]
	}
	for i := range both {
		both[i] = both[i][:7]
	}
	left, ones := cuttest.Pad(rows, prompts, func(int) bool { return false })
	right, others := cuttest.Pad(rows, prompts, func(int) bool { return true })
	swapped, always := whole(both[1], both[0])
	more, three := whole(both[1], slices.Repeat([]int{7}, len(both[0])), both[0])
	none, two := whole(more[1], more[1])
	var grown harness.Cut
	for k := 4; k <= 7; k++ {
		grown = append(grown, harness.Span{P: 0, T: k})
	}
	for _, c := range []struct {
		name         string
		tokens, mask [][]int
		cut          harness.Cut
		fault        string // in the second row
		args         []string
		says         []string // on stdout
		notes        string   // on stderr
		full         bool     // only where all are wanted: others show as much
	}{
		{
			name: "left, all engines", tokens: left, mask: ones, cut: harness.PromptCut(4, 4), args: []string{"--golden", cases},
			says: []string{"PASS", "hello (float64, candle, mistralrs, tinygrad, transformers) and", "against tinygrad: 0 of"}, notes: "a padded batch of 2 rows",
		}, {
			name: "right, with the model", tokens: right, mask: others, cut: harness.PromptCut(4, 4),
			args: []string{"--golden", cases, "--model", "synthetic-tiny"}, says: []string{"PASS", "each of 244 stages is correct"},
		}, {
			name: "one token at a time, by one golden", tokens: left, mask: ones, cut: harness.PromptCut(1, 7),
			args: []string{"--golden", cases + "/hello/candle"}, says: []string{"PASS"},
			notes: "no golden has the tokens of row 1: not compared",
		}, {
			name: "without a cache, without a golden", tokens: right, mask: others, cut: grown, args: []string{"--model", "synthetic-tiny"},
			says: []string{"PASS", "each of 244 stages is correct"}, notes: "no golden was compared", full: true,
		}, {
			name: "erf GELU in a row", tokens: left, mask: ones, cut: harness.PromptCut(4, 4), fault: "erf GELU",
			args: []string{"--golden", cases, "--model", "synthetic-tiny"}, says: []string{"FAIL", "h.1.mlp.act wrong at step 0", "gelu_erf"},
		}, {
			name: "other order", tokens: swapped, mask: always, cut: harness.PromptCut(3, 4), args: []string{"--golden", all + "/batch-of-two"},
			says: []string{"PASS", "126 tensors within"}, notes: "a batch of 2 rows",
		}, {
			name: "more rows", tokens: more, mask: three, cut: harness.PromptCut(3, 4), args: []string{"--golden", all + "/batch-of-two"},
			says: []string{"PASS", "126 tensors within"}, notes: "no golden has the tokens of row 1: not compared",
		}, {
			name: "other rows", tokens: none, mask: two, cut: harness.PromptCut(3, 4), args: []string{"--golden", all + "/batch-of-two"},
			notes: "none of its rows begins with the prompt of",
		},
	} {
		if c.full && !harnesstest.Full() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			mine := t.TempDir()
			b := cuttest.Pack(t, m, c.tokens, c.mask, c.cut, harnesstest.Ninf, func() float32 { return harnesstest.Nan },
				func(row int, at harness.Place, x *faults.Context) []float32 {
					if c.fault == "" || row == 0 {
						return nil
					}
					return gpt2test.Planter(m, gpt2test.Named(c.fault)).Plant(at, x)
				})
			keep := func(_ int, stage string) bool {
				return !strings.HasPrefix(stage, "logits") && !strings.HasPrefix(stage, "probs_t")
			}
			if strings.Contains(strings.Join(c.says, ""), "244") {
				keep = nil
			}
			writeEngine(t, mine, b, keep)
			ids := harness.Tensor{Shape: []int{len(c.mask), len(c.mask[0])}}
			for _, row := range c.mask {
				for _, one := range row {
					ids.I64 = append(ids.I64, int64(one))
				}
			}
			var text strings.Builder
			err := npy.Write(&text, ids)
			if err == nil {
				err = os.WriteFile(filepath.Join(mine, harness.MaskFile), []byte(text.String()), 0o666)
			}
			file := filepath.Join(t.TempDir(), "r.json")
			status, stdout, stderr := run(append([]string{"compare", "--candidate", mine, "--json", file}, c.args...)...)
			if want := map[string]int{"PASS": StatusPass, "FAIL": StatusDivergence, "": StatusError}[append(c.says, "")[0]]; err != nil || status != want {
				t.Errorf("status %d, want %d: %s%v", status, want, stderr, err)
			}
			for _, want := range c.says {
				if !strings.Contains(strings.Join(strings.Fields(stdout), " "), want) {
					t.Errorf("stdout lacks %q:\n%.2000s", want, stdout)
				}
			}
			if !strings.Contains(strings.Join(strings.Fields(stderr), " "), c.notes) {
				t.Errorf("stderr lacks %q:\n%s", c.notes, stderr)
			}
			if c.says == nil {
				return
			}
			var report harness.Report
			written, err := os.ReadFile(file)
			if err == nil {
				err = json.Unmarshal(written, &report)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range report.Stages {
				shape, ok := b.Shape(row.Step, row.Stage)
				if row.Stage == "wpe" || row.Position != nil && row.Status == harness.Missing {
					continue
				}
				if !ok || !slices.Equal(row.Shape, shape) {
					t.Fatalf("%s has the shape %v in the report, %v in the dump", row.Place, row.Shape, shape)
				}
			}
		})
	}
}
