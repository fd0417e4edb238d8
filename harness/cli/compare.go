package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/maps"
	"checkpoint12/harness/report"
	"checkpoint12/harness/verify"
)

type compareOptions struct {
	golden, candidate string
	model, mapping    string
	requireAll        bool
	json              string
	verbose           bool
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

with the tolerances of the twelve checkpoints. The candidate is a folder:

  DIR/tokens.npy             ids [B, prompt + new], int64
  DIR/step_00/STAGE.npy      the prompt, float32
  DIR/step_01/STAGE.npy      the first new token, and so on

It needs no manifest and may hold a subset: what the golden has and it lacks is
listed as missing, and fails only under --require-all. A file whose name is no
stage is named on stderr. A step for which the two were fed different tokens is
skipped. CHECKPOINTS.md lists the stages, README.md shows how to write them.

With --model, the model that both engines ran, each stage is also computed again
from the candidate's own inputs. That tells a stage whose own computation is wrong
from one that only inherits an error, finds all of the former, even where the
tokens differ, and names the fault where it is a known one. Inputs that the
candidate lacks are computed from those it has. With --model alone, without
--golden, the candidate is compared with no other engine.

Without --model the stages that need no weights are replayed all the same: a dump
whose cache, masked scores, probabilities, activations, residual sums or tokens do
not follow from its own stages contradicts itself. The report also counts the tokens
that are certified: their margin is more than twice the largest difference of the
logits.

--golden may be the folder of a case, such as goldens/synthetic-tiny/hello, with
the goldens of several engines. The report is then of float64's, or else of the
first engine's by name; and an engine that stands alone against the candidate and
the others is named instead of the candidate.

A tensor of another layout (positions before heads, merged heads, transposed, no
batch axis) is recognised by its shape, read in the golden's order, and a note
says so; so is a large negative number for -inf at masked scores.

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
	f.BoolVar(&o.requireAll, "require-all", false, "fail when the candidate lacks a stage that the golden has")
	f.StringVar(&o.json, "json", "", "write the report as JSON to `FILE`; - is stdout, which then has nothing else")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print each stage that was compared")
	c.RunE = func(c *cobra.Command, _ []string) error {
		switch {
		case o.candidate == "":
			return need(c, "--candidate DIR")
		case o.golden == "" && o.model == "":
			return need(c, "--golden DIR, or --model NAME to judge the candidate by itself,")
		case o.golden == "" && o.requireAll:
			return &hintError{errors.New("compare: --require-all asks for what a golden has; --golden DIR is needed"), c.CommandPath() + " --help"}
		}
		return a.compare(c.Context(), o)
	}
	return c
}

func (a *app) compare(ctx context.Context, o compareOptions) error {
	out, err := openJSON(o.json)
	if err != nil {
		return err
	}
	defer out.discard()
	c, err := a.openComparison(ctx, o)
	if err != nil {
		return err
	}
	defer c.close(ctx)
	answer, err := a.answer(ctx, c, o)
	if err != nil {
		return err
	}
	a.notes(answer.Notes)
	return out.finish(a.stdout, answer, answer.Passed(), func() error {
		if err := report.Write(a.stdout, answer.Report, a.reportOptions(c, o)); err != nil {
			return err
		}
		return writeMore(report.NewWriter(a.stdout, style(a.stdout)), answer)
	})
}

// answer compares and, where there is a model, replays and explains.
func (a *app) answer(ctx context.Context, c *comparison, o compareOptions) (*diagnose.Result, error) {
	progress := a.progress()
	defer progress.clear()
	c.RequireAll = o.requireAll
	c.Progress = func(done, all int) { progress.step("replaying stage", done, all) }
	return wait(ctx, func() (*diagnose.Result, error) {
		answer, err := diagnose.Compare(ctx, c.Comparison)
		if err == nil {
			answer.Notes = append(answer.Notes, c.view.Notes()...)
		}
		return answer, err
	})
}

// reportOptions returns how the report is written.
func (a *app) reportOptions(c *comparison, o compareOptions) report.Options {
	return report.Options{
		Style: style(a.stdout), Verbose: o.verbose, Label: gpt2.Label,
		Causes: func(stage string) []string {
			s, _ := c.Schedule.Stage(stage)
			return verify.Info(s.Checkpoint).Causes
		},
		Closer: func(int, string) string {
			command := a.program + " compare"
			if o.golden != "" {
				command += " --golden " + quote(o.golden)
			}
			command += " --candidate " + quote(o.candidate)
			if o.mapping != "" {
				command += " --map " + quote(o.mapping)
			}
			var man *harness.Manifest
			if c.golden() != nil {
				man = c.golden().Manifest()
			}
			switch {
			case o.model != "" && o.verbose:
				return ""
			case o.model != "":
				return command + " --model " + quote(o.model) + " --verbose"
			case man != nil && man.Model.Name != "":
				return command + " --model " + quote(man.Model.Name)
			}
			return command + " --model MODEL"
		},
	}
}
