package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"checkpoint12/harness/selftest"
)

func (a *app) selftestCommand() *cobra.Command {
	var o selftest.Options
	c := &cobra.Command{
		Use:   "selftest",
		Short: "plant every known fault at every stage and print the detection matrix",
		Long: a.text(`
Proves what compare claims. It plants each fault of the catalogue in runs of the
Go model on ` + selftest.Model + `: in every stage where it can sit, at the first, the
middle and the last layer, at the prompt and at a decode step, alone and in pairs.
Each run is compared, replayed and explained as "compare --model" does it, and the
matrix says how often

  seen    the run failed
  stage   exactly the stages in which a fault was planted were named
  cause   the fault that was planted was named there

Runs of correct engines, with other numbers of threads and orders of summation, must
raise no alarm. A fault that changes nothing at a place is listed with the reason;
faults that nothing at a place tells apart are listed as named together.

Exit status: 0 all seen, 1 something went unseen, was named wrong, or a correct
engine raised an alarm, 2 nothing could be judged (no goldens).`),
		Example: a.text(`
  {} selftest
  {} selftest --quick
  {} selftest --json - | jq .wrong`),
	}
	f := c.Flags()
	f.StringVar(&o.Goldens, "goldens", goldensFolder, "`DIR` with the goldens, MODEL/CASE/ENGINE")
	f.BoolVar(&o.Quick, "quick", false, "one layer and step for each stage, few pairs, one case of each correct engine")
	a.judges(c, func(c *cobra.Command, p *progress) (*judgement, error) {
		var err error
		if o.Goldens, err = a.findGoldens(c); err != nil {
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
