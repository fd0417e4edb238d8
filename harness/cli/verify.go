package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"checkpoint12/harness/pictures"
	"checkpoint12/harness/report"
	"checkpoint12/harness/selftest"
	"checkpoint12/harness/selftest/unlisted"
	"checkpoint12/harness/verify"
	"checkpoint12/harness/verify/engine"
)

func (a *app) verifyCommand() *cobra.Command {
	o := verify.Options{Command: a.program}
	var text verify.TextOptions
	var bounds string
	c := &cobra.Command{
		Use:   "verify",
		Short: "run the twelve checkpoints of the Go model, or of any engine, against goldens and figures",
		Long: a.text(`
Runs the Go GPT-2 on every case that has goldens of the model, and compares each
stage with each engine's golden, in the order of the checkpoints
(CHECKPOINTS.md). A checkpoint for which nothing was compared is "not checked",
never passed; the report then has the command that makes the missing goldens.

The released models are checked by published figures too: the weights first, so
that a wrong file is named before any stage is blamed, then checkpoints 8 to 12.

Goldens and figures are found by the model's name or, for a folder, by the SHA-256
of its weights. Without --goldens they are looked for in a folder goldens, here or
above. Where that folder has an inventory.json, they must be as it lists them.

--bounds has rules on where the model, or the engine, is known to deviate: what they
accept fails no checkpoint, and is listed. Figures know no rules.

` + engineHelp),
		Example: a.text(`
  {} verify
  {} verify --model gpt2-medium
  {} verify --model path/to/folder --json report.json
  {} verify --engine 'my-engine {model} {tokens} {out} {new}'
  {} verify --json - | jq '.checkpoints[] | select(.verdict == "fail")'`),
	}
	f := c.Flags()
	f.StringVar(&o.Model, "model", "synthetic-tiny", modelHelp)
	f.StringVar(&o.Goldens, "goldens", "",
		"`DIR` that holds the goldens, as MODEL/CASE/ENGINE (default: goldens, here or above)")
	f.BoolVar(&text.Engines, "engines", false, "print a line for each engine of the goldens too")
	boundsFlag(f, &bounds)
	f.BoolVarP(&text.Verbose, "verbose", "v", false, "print each stage that was compared, and each figure with its source")
	a.judges(c, judged, func(c *cobra.Command, p *progress) (*judgement, error) {
		var err error
		if o.Goldens, err = a.findGoldens(o.Goldens); err != nil {
			return nil, err
		}
		if o.Bounds, err = readBounds(c.Flags(), bounds); err != nil {
			return nil, err
		}
		o.Progress, o.Line = p, a.line(without(a.again, c, "keep")...)
		var album *pictures.Album
		if c.Flags().Changed(asHTML.flag) {
			album = pictures.NewAlbum()
			o.Judged = album.Add
		}
		r, err := verify.Verify(c.Context(), o)
		if err != nil {
			return nil, err
		}
		p.clear()
		a.notes(r.Notes())
		j := &judgement{report: r, passed: !r.Failed(), ci: r.CI, text: func(w io.Writer, s report.Style) error {
			text.Style = s
			return r.WriteText(w, text)
		}, err: r.Err()}
		if album != nil {
			j.page = album.Page(r, pictures.Options{Version: version(), Line: a.line(a.args...)})
		}
		return j, nil
	})
	engineFlags(c, &o)
	return c
}

// engineHelp is the part of verify's help that is about --engine.
const engineHelp = `--engine judges your own engine in the place of the Go model: it runs CMD for each
case, and judges the dump that CMD writes as "compare --model" does it. CMD is split
into words as a shell does, but no shell runs it; in the words, and in environment
variables such as CHECKPOINT12_OUT, it gets

  {model}         a folder with config.json and model.safetensors
  {tokens}        int64 .npy [B, N]: prompt, ids to feed after it, the last choice
  {mask}          int64 .npy [B, N]: 1 for each token
  {prompt} {new}  how many of the N are prompt, how many tokens to choose
  {dtype}         f32, or what --dtype asks for
  {out}           an empty folder for the dump

Exit status 0 says that the dump is there, 77 that the engine cannot do this case,
which fails nothing. Any other is an error of that case; the others still run.
harness/README.md has more.`

// engineFlags adds the flags of an engine to judge, which ends when the command does: an
// interrupt leaves the judging behind, but no engine.
func engineFlags(c *cobra.Command, o *verify.Options) {
	var command, keep string
	var timeout time.Duration
	f := c.Flags()
	f.StringVar(&command, "engine", "", "judge the engine that `CMD` runs")
	f.DurationVar(&timeout, "timeout", 10*time.Minute, "end a run of the engine after `D`")
	f.StringVar(&keep, "keep", "", "keep each case's tokens, mask and dump, and the model, in the new folder `DIR`")
	dtypeFlag(f, &o.Precision)
	f.BoolVar(&o.RequireAll, "require-all", false, "fail when an engine's dump lacks a stage that a golden has")
	judge := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if !c.Flag("engine").Changed {
			for _, name := range []string{"timeout", "keep", "require-all", "dtype"} {
				if c.Flag(name).Changed {
					return usage(c, "verify: --%s needs an engine: give --engine CMD", name)
				}
			}
			return judge(c, args)
		}
		words, err := engine.Parse(command)
		switch {
		case err != nil:
			return usage(c, "verify: --engine %s: %w", command, err)
		case timeout <= 0:
			return usage(c, "verify: --timeout %s: want more than 0", timeout)
		}
		if err := besideInputs(c, keep); err != nil {
			return fmt.Errorf("--keep %s: %w", keep, err)
		}
		o.Engine = &engine.Runner{Command: words, Timeout: timeout, Keep: keep}
		defer o.Engine.Close()
		return judge(c, args)
	}
}

func (a *app) selftestCommand() *cobra.Command {
	var o selftest.Options
	var beyond bool
	c := &cobra.Command{
		Use:   "selftest",
		Short: "plant every known fault at every stage and print the detection matrix",
		Long: a.text(`
Tests what compare claims. It plants each fault of the catalogue in runs of the
Go model on ` + selftest.Model + `, in every stage where it can sit, alone and in
pairs. Each run is judged as "compare --model" does it, and the matrix says how often

  seen    the run failed
  stage   exactly the stages in which a fault was planted were named
  cause   the fault that was planted was named there

Runs of correct engines, with other numbers of threads and orders of summation, must
raise no alarm. harness/selftest/README.md has more.

--unlisted plants faults that the catalogue does not have in small models of odd
shapes, from full dumps and from those of modules' outputs, and says of how many the
first answer has the words that a useful one contains, written down beforehand. It
needs no goldens.`),
		Example: a.text(`
  {} selftest
  {} selftest --quick
  {} selftest --dtype bf16
  {} selftest --json - | jq .wrong
  {} selftest --unlisted`),
	}
	f := c.Flags()
	f.StringVar(&o.Goldens, "goldens", "",
		"`DIR` that holds the goldens, as MODEL/CASE/ENGINE (default: goldens, here or above)")
	dtypeFlag(f, &o.Precision)
	f.Lookup("dtype").Usage = "plant faults in runs that compute in `TYPE`: f32, tf32, f16 or bf16"
	f.BoolVar(&o.Quick, "quick", false, "one layer and step for each stage, few pairs, one case of each correct engine")
	f.BoolVar(&beyond, "unlisted", false, "plant faults that are in no catalogue, and say how many are explained")
	a.judges(c, []format{asJSON}, func(c *cobra.Command, p *progress) (*judgement, error) {
		o.Progress = func(done, all int) { fmt.Fprintf(p, "run %d of %d", done, all) }
		if beyond {
			for _, name := range []string{"goldens", "dtype", "quick"} {
				if c.Flag(name).Changed {
					return nil, usage(c, "selftest: --%s says nothing of --unlisted, which has models of its own: leave one out", name)
				}
			}
			m, err := unlisted.Run(c.Context(), o.Progress)
			if err != nil {
				return nil, err
			}
			return &judgement{report: m, passed: m.Passed(), text: m.WriteText}, nil
		}
		var err error
		if o.Goldens, err = a.findGoldens(o.Goldens); err != nil {
			return nil, err
		}
		m, err := selftest.Run(c.Context(), o)
		if err != nil {
			return nil, err
		}
		return &judgement{report: m, passed: m.Passed(), text: m.WriteText}, nil
	})
	return c
}
