package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/gpt2/maps"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
	"checkpoint12/harness/verify"
)

type compareOptions struct {
	golden, candidate string
	model             string
	dtype             gpt2.Precision
	mapping           string // of the candidate
	goldenMapping     string
	bounds            string // file of rules
	allowUnknown      bool
	verbose           bool
	page              bool                          // is asked for
	again             func(drop ...string) []string // the command's arguments, but for those of reports and of other flags
	harness.CompareOptions
}

func (a *app) compareCommand() *cobra.Command {
	var o compareOptions
	c := &cobra.Command{
		Use:   "compare",
		Short: "compare a dump, from any engine in any language, with a golden",
		Long: a.text(`
Compares each stage of the candidate with the golden's, in execution order over
all steps, and names the first one outside its tolerance (CHECKPOINTS.md):
|got - want| <= abs + rel * max|want|. The candidate is a folder, which needs no
manifest and may hold a subset; other layouts are recognised by their shapes:

  DIR/tokens.npy             ids [B, prompt + new], int64
  DIR/step_00/STAGE.npy      the prompt, float32
  DIR/step_01/STAGE.npy      the first new token, and so on

In the place of a step's folder there may be step_00.safetensors or step_00.npz, and in
the place of DIR one such file, whose names are tokens and step_00/STAGE.

An engine may as well feed one token at a time, have no cache, or run in other steps:
rows are compared by position. What the candidate lacks is listed as missing, and
positions fed different tokens are skipped. Either fails only under --require-all.

With --model, the model that both engines ran, each stage is also computed again
from the candidate's own inputs. That finds every stage whose own computation is
wrong, rather than inheriting an error, and names the fault if it is a known one.
It needs no --golden. Without --model only stages that need no weights are replayed:
one that the rest of the dump contradicts fails, whatever the golden.

--golden may be the folder of a case, with the goldens of several engines. The
report is then of float64's, or else of the first engine's by name; an engine that
stands alone against the candidate and the others is named instead of it.

DIR/attention_mask.npy, int64 [B, N] as tokens.npy, is 1 for a token and 0 for padding,
which is compared with nothing. Each row of a padded batch, or of another batch than the
golden's, is compared with the golden row of the same tokens. --golden may then be a
folder of cases, in any of which these may be.

DIR/weights/NAME.npy, or DIR/weights.safetensors, are weights as the engine uses them,
dequantised. They are compared with the model's first: a rounding or a quantisation is
named and fails nothing, anything else fails. The dump is then judged on them.

--bounds says where the engine is known to deviate, and why that is all right: other
tolerances, and stages whose fault is accepted, with all that only inherits from it.

--dtype says in which precision the engine is meant to compute. Each stage then has the
rounding bound of that precision, and the golden's tolerance is widened by what the
same rounding amounts to in a run of the model.

How to read the report, and the format of --map's FILE, are in harness/README.md.`),
		Example: a.text(`
  {} compare --golden goldens/synthetic-tiny/hello/float64 --candidate my-dump
  {} compare --golden goldens/synthetic-tiny/hello/float64 --candidate my-dump \
    --model synthetic-tiny
  {} compare --golden goldens/synthetic-tiny --candidate padded-batch
  {} compare --candidate my-dump --model synthetic-tiny
  {} compare --golden goldens/synthetic-tiny/hello/float64 --candidate my-bf16-dump \
    --model synthetic-tiny --dtype bf16
  {} compare --golden goldens/gpt2/hello/float64 --candidate hooks --map transformers
  {} compare --golden goldens/synthetic-tiny/hello --candidate llama-dump \
    --model synthetic-tiny --bounds harness/bounds/llama.cpp.json
  {} compare --golden their-dump --candidate my-dump --json - | jq .first_divergence`),
	}
	f := c.Flags()
	f.StringVar(&o.golden, "golden", "", "`DIR` of the dump to compare with")
	f.StringVar(&o.candidate, "candidate", "", "`DIR` of the dump to judge")
	f.StringVar(&o.model, "model", "", "replay each stage with this model: "+modelHelp)
	dtypeFlag(f, &o.dtype)
	f.StringVar(&o.mapping, "map", "",
		"read the candidate's names by the map in `FILE`, or by a built-in one: "+strings.Join(maps.Names(), ", "))
	f.StringVar(&o.goldenMapping, "golden-map", "", "read the golden's names by such a map: `FILE` or a built-in one")
	boundsFlag(f, &o.bounds)
	f.BoolVar(&o.allowUnknown, "allow-unknown", false, "judge a dump of which more names are unknown than known")
	f.BoolVar(&o.RequireAll, "require-all", false, "fail when a stage that the golden has is missing or skipped")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print each stage that was compared")
	a.judges(c, judged, func(c *cobra.Command, p *progress) (*judgement, error) {
		err := need(c, "candidate")
		switch {
		case err != nil:
			return nil, err
		case o.golden == "" && o.model == "":
			return nil, usage(c, "compare: --golden DIR, or --model NAME to judge the candidate by itself, is needed")
		case o.model == "" && !o.dtype.IsFloat32():
			return nil, usage(c, "compare: --dtype %s needs the model that ran: give --model NAME", o.dtype.Name)
		case o.golden == "" && o.goldenMapping != "":
			return nil, usage(c, "compare: --golden-map needs a golden: give --golden DIR")
		case o.golden == "" && o.RequireAll:
			return nil, usage(c, "compare: --require-all needs a golden: give --golden DIR")
		}
		if o.Bounds, err = readBounds(c.Flags(), o.bounds); err != nil {
			return nil, err
		}
		o.page = c.Flags().Changed(asHTML.flag)
		o.again = func(drop ...string) []string { return without(a.again, c, drop...) }
		return a.compare(c.Context(), o, p)
	})
	return c
}

// boundsFlag adds the flag of a file of rules.
func boundsFlag(f *pflag.FlagSet, path *string) {
	f.StringVar(path, "bounds", "", "take other tolerances, and accept known deviations, by the rules in `FILE`")
}

// readBounds reads the file of --bounds, if it is given. A fault of a rule has a name that a
// report may have.
func readBounds(f *pflag.FlagSet, path string) (b *harness.Bounds, err error) {
	if !f.Changed("bounds") {
		return nil, nil
	}
	if b, err = harness.ReadBounds(path); err != nil {
		return nil, fmt.Errorf("--bounds %w", err)
	}
	names := faults.Names()
	for i, r := range b.Rules {
		if r.Fault == "" || slices.Contains(names, r.Fault) {
			continue
		}
		err := fmt.Errorf("--bounds %s: rule %d (stages %.80q): no fault is called %.80q", path, i+1, r.Stages, r.Fault)
		if near := words.Nearest(r.Fault, max(2, len(r.Fault)/3), names); near != "" {
			return nil, fmt.Errorf("%w; did you mean %q?", err, near)
		}
		return nil, fmt.Errorf(`%w: give a name as the report has it, or leave "fault" out`, err)
	}
	return b, nil
}

// dtypeFlag adds the flag of the precision that an engine is meant to compute in.
func dtypeFlag(f *pflag.FlagSet, p *gpt2.Precision) {
	*p = gpt2.Float32
	f.Var(p, "dtype", "judge an engine that computes in `TYPE`: f32, tf32, f16 or bf16")
}

func (a *app) compare(ctx context.Context, o compareOptions, p *progress) (*judgement, error) {
	c := diagnose.Comparison{CompareOptions: o.CompareOptions, Precision: o.dtype}
	c.Progress = func(done, all int) {
		fmt.Fprintf(p, "replaying stage %d of %d", done, all)
		if done == all {
			p.begin("searching for the cause of what is wrong: the fewer stages a dump has, the longer it takes")
		}
	}
	defer func() {
		c.Close()
		if c.Model != nil {
			c.Given().Close()
		}
	}()
	views, err := a.openComparison(ctx, &c, o)
	if err != nil {
		return nil, err
	}
	var r *diagnose.Result
	err = c.Given().Guard(func() (err error) {
		r, err = diagnose.Compare(ctx, c)
		return err
	})
	p.clear()
	if err == nil {
		err = o.Bounds.CheckUsed(r.Report)
	}
	if err != nil {
		return nil, err
	}
	a.notes(r.Notes)
	for _, v := range views {
		a.notes(v.Notes())
	}
	options := report.Options{
		Verbose: o.verbose, Label: gpt2.Label, Closer: a.closer(o, c.Goldens, r.Narrow),
		Causes: func(stages []string) []string {
			s, _ := c.Schedule.Stage(stages[0])
			return verify.Info(s.Checkpoint).CausesAt(stages...)
		},
	}
	forCI := &compared{r, o.candidate, c.Schedule, options}
	j := &judgement{report: r, passed: r.Passed(), ci: forCI.ci}
	if o.page {
		p.begin("drawing the page")
		if j.page, err = a.comparisonPage(r, &c, o.golden, options); err != nil {
			return nil, err
		}
		p.clear()
	}
	j.text = func(w io.Writer, s report.Style) error {
		options.Style = s
		if err := report.Write(w, r.Report, options); err != nil {
			return err
		}
		return writeMore(report.NewWriter(w, s), r)
	}
	return j, nil
}

// closer returns the command that looks closer than o, or words for it, or "".
func (a *app) closer(o compareOptions, goldens []diagnose.EngineResult, narrow *harness.Narrow) report.Text {
	args := o.again()
	if narrow != nil && narrow.DType != "" {
		args = append(o.again("dtype"), "--dtype", narrow.DType) // in the place of what was asked for
	}
	switch {
	case narrow != nil && narrow.DType == "":
		return ""
	case narrow != nil && o.model != "":
	case o.model != "" && o.verbose:
		return ""
	case o.model != "":
		args = append(args, "--verbose")
	default:
		man := goldens[0].Source.Manifest()
		if man == nil || man.Model.Name == "" {
			return "the same command with --model and the model that both ran"
		}
		args = append(args, "--model", man.Model.Name)
	}
	return report.Unbroken(a.line(args...))
}

// writeMore writes what the report itself does not say.
func writeMore(w *report.Writer, a *diagnose.Result) error {
	if a.Tokens != nil && a.Tokens.String() != "" {
		w.Printf("\n%s\n", a.Tokens)
	}
	if len(a.Violations) > 0 && len(a.Introduced) == 0 {
		w.Printf("\nthe dump contradicts itself at %d of %s checked, whatever the golden:\n",
			len(a.Violations), words.Count(a.Checked, "place"))
		for i, v := range a.Violations {
			if i == 10 {
				w.Printf("  and %d more\n", len(a.Violations)-i)
				break
			}
			w.Printf("  step %d, stage %s: %s: %s\n", v.Step, v.Stage, v.Rule, v.Detail)
		}
	}
	if a.Quorum != nil { // how far the candidate is from each engine of the golden
		w.Printf("\n")
		t := report.NewTable("", "")
		for _, v := range a.Engines {
			bad := 0
			for i := range v.Report.Stages {
				if v.Report.Stages[i].Status.Diverges() {
					bad++
				}
			}
			t.Row("against "+v.Engine+":",
				fmt.Sprintf("%d of %s outside tolerance", bad, words.Count(v.Report.Compared, "tensor")))
		}
		w.Table(t)
		for _, line := range a.Quorum.Lines() {
			w.Printf("%s\n", line)
		}
	}
	return w.Flush()
}
