package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"checkpoint12/harness/report"
	"checkpoint12/harness/selftest"
	"checkpoint12/harness/verify"
)

func (a *app) verifyCommand() *cobra.Command {
	o := verify.Options{Command: a.program}
	var verbose bool
	c := &cobra.Command{
		Use:   "verify",
		Short: "run the twelve checkpoints of the Go model against its goldens and figures",
		Long: a.text(`
Runs the Go GPT-2 on every case that has goldens of the model, and compares each
stage with each engine's golden, in the order of the checkpoints
(CHECKPOINTS.md). A checkpoint for which nothing was compared is "not checked",
never passed; the report then has the command that makes the missing goldens.

The released models are checked by published figures too: the weights first, so
that a wrong file is named before any stage is blamed, then checkpoints 8 to 12.

Goldens and figures are found by the model's name or, for a folder, by the SHA-256
of its weights. Without --goldens they are looked for in a folder goldens, here or
above. Where that folder has an inventory.json, they must be as it lists them.`),
		Example: a.text(`
  {} verify
  {} verify --model gpt2-medium
  {} verify --model path/to/folder --json report.json
  {} verify --json - | jq '.checkpoints[] | select(.verdict == "fail")'`),
	}
	f := c.Flags()
	f.StringVar(&o.Model, "model", "synthetic-tiny", modelHelp)
	f.StringVar(&o.Goldens, "goldens", "",
		"`DIR` that holds the goldens, as MODEL/CASE/ENGINE (default: goldens, here or above)")
	f.BoolVarP(&verbose, "verbose", "v", false, "print each stage that was compared, and each figure with its source")
	a.judges(c, func(c *cobra.Command, p *progress) (*judgement, error) {
		var err error
		if o.Goldens, err = a.findGoldens(o.Goldens); err != nil {
			return nil, err
		}
		o.Progress = p
		r, err := verify.Verify(c.Context(), o)
		if err != nil {
			return nil, err
		}
		return &judgement{r, !r.Failed(), func(w io.Writer, s report.Style) error {
			return r.WriteText(w, s, verbose)
		}}, nil
	})
	return c
}

func (a *app) selftestCommand() *cobra.Command {
	var o selftest.Options
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
raise no alarm. harness/selftest/README.md has more.`),
		Example: a.text(`
  {} selftest
  {} selftest --quick
  {} selftest --json - | jq .wrong`),
	}
	f := c.Flags()
	f.StringVar(&o.Goldens, "goldens", "",
		"`DIR` that holds the goldens, as MODEL/CASE/ENGINE (default: goldens, here or above)")
	f.BoolVar(&o.Quick, "quick", false, "one layer and step for each stage, few pairs, one case of each correct engine")
	a.judges(c, func(c *cobra.Command, p *progress) (*judgement, error) {
		var err error
		if o.Goldens, err = a.findGoldens(o.Goldens); err != nil {
			return nil, err
		}
		o.Progress = func(done, all int) { fmt.Fprintf(p, "run %d of %d", done, all) }
		m, err := selftest.Run(c.Context(), o)
		if err != nil {
			return nil, err
		}
		return &judgement{m, m.Passed(), m.WriteText}, nil
	})
	return c
}
