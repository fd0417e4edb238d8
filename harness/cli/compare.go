package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/maps"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
	"checkpoint12/harness/verify"
)

type compareOptions struct {
	golden, candidate string
	model, mapping    string
	verbose           bool
	harness.CompareOptions
}

func (a *app) compareCommand() *cobra.Command {
	var o compareOptions
	c := &cobra.Command{
		Use:   "compare",
		Short: "compare a dump, from any engine in any language, with a golden",
		Long: a.text(`
Compares each stage of the candidate with the golden's, in execution order over
all steps, and names the first one outside its tolerance. A value passes when

  |got - want| <= abs + rel * max|want|

with the tolerances in CHECKPOINTS.md. The candidate is a folder, which README.md
shows how to write; it needs no manifest and may hold a subset:

  DIR/tokens.npy             ids [B, prompt + new], int64
  DIR/step_00/STAGE.npy      the prompt, float32
  DIR/step_01/STAGE.npy      the first new token, and so on

What it lacks is listed as missing, and fails only under --require-all. A file whose
name is no stage is named on stderr. Steps fed different tokens are skipped.

With --model, the model that both engines ran, each stage is also computed again
from the candidate's own inputs, or from those it has. That finds every stage whose
own computation is wrong, rather than inherits an error, even where the tokens
differ, and names the fault where it is a known one. It needs no --golden.

Without --model the stages that need no weights are replayed all the same: a dump
whose cache, masked scores, probabilities, activations, residual sums or tokens do
not follow from its own stages contradicts itself. Tokens are certified where their
margin is more than twice the largest difference of the logits.

--golden may be the folder of a case, with the goldens of several engines. The
report is then of float64's, or else of the first engine's by name; an engine that
stands alone against the candidate and the others is named instead of it.

A tensor of another layout (positions before heads, merged heads, transposed, no
batch axis) is recognised by its shape, and a note says so; so is a large negative
number for -inf at masked scores.

--map joins the names of another program to stages. It is transformers,
transformerlens or llama.cpp, or a JSON file:

  { "schema": 1, "name": "mine",
    "files": "step_{step}/{name}.npy", "first_step": 0, "tokens": "tokens.npy",
    "prefixes": ["model."],
    "stages": [
      {"from": "layer{N}.query", "to": "h.{N}.attn.q", "axes": "B T H D"},
      {"from": "layer{N}.kv", "to": ["h.{N}.attn.cache_k", "h.{N}.attn.cache_v"],
       "axes": "2 B S H D", "split": "2", "pad": "S"},
      {"from": "head", "to": ["logits", "logits_last"]} ],
    "ignore": [ {"from": "*.dropout", "why": "does nothing here"} ] }

{N} is a layer's number, {step} a step's. "files", "first_step" and "tokens" default
to the values above; "prefixes" are cut off names; a name that is a stage's is that
stage. "axes" (a layout, or several) is needed only where the shape is not enough:
B batch, T new positions, S all positions, H heads, D = C/H, C width, F inner
width, V vocabulary, numbers, merged axes in parentheses: "B T (H D)". "split" is
the axis along which the stages of "to" lie, "pad" one that may be too long and
is cut. Without "split", several stages in "to" are each of those that has the file's shape.

Exit status: 0 all within tolerance, 1 a divergence was found, 2 nothing could be
judged (bad usage, a file that cannot be read, nothing to compare).`),
		Example: a.text(`
  {} compare --golden goldens/synthetic-tiny/hello/float64 --candidate my-dump
  {} compare --golden goldens/synthetic-tiny/hello/candle --candidate my-dump --require-all --verbose
  {} compare --golden goldens/synthetic-tiny/hello/float64 --candidate my-dump --model synthetic-tiny
  {} compare --golden goldens/synthetic-tiny/hello --candidate my-dump
  {} compare --candidate my-dump --model synthetic-tiny
  {} compare --golden goldens/gpt2/hello/float64 --candidate hooks --map transformers
  {} compare --golden their-dump --candidate my-dump --json - | jq .first_divergence`),
	}
	f := c.Flags()
	f.StringVar(&o.golden, "golden", "", "`DIR` of the dump to compare with")
	f.StringVar(&o.candidate, "candidate", "", "`DIR` of the dump to judge")
	f.StringVar(&o.model, "model", "", "replay each stage with this model: a `NAME`, or a folder with config.json and model.safetensors")
	f.StringVar(&o.mapping, "map", "", "read the candidate's names by the map in `FILE`, or by a ready one: "+strings.Join(maps.Names(), ", "))
	f.BoolVar(&o.RequireAll, "require-all", false, "fail when the candidate lacks a stage that the golden has")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print each stage that was compared")
	a.judges(c, func(c *cobra.Command, p *progress) (*judgement, error) {
		switch {
		case o.candidate == "":
			return nil, need(c, "--candidate DIR")
		case o.golden == "" && o.model == "":
			return nil, need(c, "--golden DIR, or --model NAME to judge the candidate by itself,")
		case o.golden == "" && o.RequireAll:
			return nil, usage(c, "compare: --require-all asks for what a golden has; --golden DIR is needed")
		}
		return a.compare(c.Context(), o, p)
	})
	return c
}

func (a *app) compare(ctx context.Context, o compareOptions, p *progress) (*judgement, error) {
	c := diagnose.Comparison{CompareOptions: o.CompareOptions}
	c.Progress = func(done, all int) { fmt.Fprintf(p, "replaying stage %d of %d", done, all) }
	defer func() {
		if c.Model != nil {
			c.Model.Close()
		}
	}()
	view, err := a.openComparison(&c, o)
	if err != nil {
		return nil, err
	}
	r, err := diagnose.Compare(ctx, c)
	p.clear()
	if err != nil {
		return nil, err
	}
	a.notes(append(r.Notes, view.Notes()...))
	options := report.Options{
		Verbose: o.verbose, Label: gpt2.Label, Closer: a.closer(o, c.Goldens),
		Causes: func(stage string) []string {
			s, _ := c.Schedule.Stage(stage)
			return verify.Info(s.Checkpoint).Causes
		},
	}
	return &judgement{r, r.Passed(), func(w io.Writer, s report.Style) error {
		options.Style = s
		if err := report.Write(w, r.Report, options); err != nil {
			return err
		}
		return writeMore(report.NewWriter(w, s), r)
	}}, nil
}

// closer returns the command that looks closer than o, or "".
func (a *app) closer(o compareOptions, goldens []diagnose.EngineResult) string {
	if o.model != "" && o.verbose {
		return ""
	}
	command := a.program + " compare"
	add := func(flag, value string) {
		if value != "" {
			command += flag + quote(value)
		}
	}
	add(" --golden ", o.golden)
	add(" --candidate ", o.candidate)
	add(" --map ", o.mapping)
	if o.model != "" {
		return command + " --model " + quote(o.model) + " --verbose"
	}
	if man := goldens[0].Source.Manifest(); man != nil && man.Model.Name != "" {
		return command + " --model " + quote(man.Model.Name)
	}
	return command + " --model MODEL"
}

// maxViolations is how many violations are printed one by one.
const maxViolations = 10

// writeMore writes what the report itself does not say.
func writeMore(w *report.Writer, a *diagnose.Result) error {
	switch {
	case a.Tokens == nil:
		fmt.Fprintln(w, "\nno golden was compared: each stage was judged on its own inputs alone")
	case a.Tokens.String() != "":
		fmt.Fprintf(w, "\n%s\n", a.Tokens)
	}
	if len(a.Violations) > 0 && a.Replayed == nil {
		fmt.Fprintf(w, "\nthe dump contradicts itself at %d of %s checked, whatever the golden:\n", len(a.Violations), words.Count(a.Checked, "place"))
		for i, v := range a.Violations {
			if i == maxViolations {
				fmt.Fprintf(w, "  and %d more\n", len(a.Violations)-i)
				break
			}
			fmt.Fprintf(w, "  step %d, stage %s: %s: %s\n", v.Step, v.Stage, v.Rule, v.Detail)
		}
	}
	if a.Quorum != nil { // how far the candidate is from each engine of the golden
		fmt.Fprintln(w)
		t := report.NewTable("", "")
		for _, v := range a.Engines {
			bad := 0
			for i := range v.Report.Stages {
				if v.Report.Stages[i].Status.Diverges() {
					bad++
				}
			}
			t.Row("against "+v.Engine+":", fmt.Sprintf("%d of %s outside tolerance", bad, words.Count(v.Report.Compared, "tensor")))
		}
		w.Table(t)
		for _, line := range a.Quorum.Lines() {
			fmt.Fprintln(w, line)
		}
	}
	return w.Flush()
}
